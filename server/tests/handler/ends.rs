//! H4 and H5: what a handler's end means for the datagrams of its client. (`postboxes.rs` has more:
//! memory used again, long backlogs.)

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::common::*;
use crate::contract;
use postbox_server::BoxError;
use tokio::sync::{Notify, Semaphore};
use tracing::Level;

/// How a handler ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Returns,
    Fails,
    Panics,
}

impl End {
    fn result(self) -> Result<(), BoxError> {
        match self {
            Self::Returns => Ok(()),
            Self::Fails => Err("told to fail".into()),
            Self::Panics => panic!("told to panic"),
        }
    }
}

/// Whoever sends first is refused in this way; the next datagram is answered.
async fn refuses_exactly_the_first(world: World, end: End) {
    let handlers = Arc::new(AtomicUsize::new(0));
    let server = world
        .serve(raw_server(move |client, mut requests| {
            let handlers = Arc::clone(&handlers);
            async move {
                if handlers.fetch_add(1, Ordering::Relaxed) == 0 {
                    return end.result();
                }
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        }))
        .await;
    let peer = world.peer(server.addr).await;
    peer.send("refused").await;
    assert_eq!(peer.ask("answered").await, "answered");
    assert!(peer.is_quiet());
    let stats = server.handle.stats();
    assert_eq!((stats.discarded, stats.handed_out), (1, 1));
    if end != End::Returns {
        let records = world.logs.take();
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_eq!(records[0].level, Level::ERROR);
        assert!(records[0].fields.contains(&peer.addr().to_string()));
    }
    server.stop().await.unwrap();
}

/// The same with datagrams queued behind it: the handler ends when its first receive is still to
/// come.
async fn refuses_exactly_the_first_of_a_backlog(world: World, end: End) {
    let (gate, handlers) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let opened = Arc::clone(&gate);
    let server = world
        .serve(raw_server(move |client, mut requests| {
            let (gate, handlers) = (Arc::clone(&gate), Arc::clone(&handlers));
            async move {
                if handlers.fetch_add(1, Ordering::Relaxed) == 0 {
                    gate.notified().await;
                    return end.result();
                }
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        }))
        .await;
    let peer = world.peer(server.addr).await;
    for text in ["one", "two", "three"] {
        peer.send(text).await;
    }
    server.queued(3).await;
    opened.notify_one();
    assert_eq!(peer.recv_text().await, "two");
    assert_eq!(peer.recv_text().await, "three");
    assert_eq!(server.handle.stats().discarded, 1);
    if end != End::Returns {
        assert_eq!(world.logs.take().len(), 1);
    }
    server.stop().await.unwrap();
}

contract! {
    async fn h4_a_handler_that_returns_before_its_first_receive_discards_exactly_that_datagram_silently(world: World) {
        refuses_exactly_the_first(world.clone(), End::Returns).await;
        refuses_exactly_the_first_of_a_backlog(world, End::Returns).await;
    }

    async fn h4_a_handler_that_fails_before_its_first_receive_discards_exactly_that_datagram(world: World) {
        refuses_exactly_the_first(world.clone(), End::Fails).await;
        refuses_exactly_the_first_of_a_backlog(world, End::Fails).await;
    }

    async fn h4_a_handler_that_panics_before_its_first_receive_discards_exactly_that_datagram(world: World) {
        refuses_exactly_the_first(world.clone(), End::Panics).await;
        refuses_exactly_the_first_of_a_backlog(world, End::Panics).await;
    }

    async fn h4_a_client_is_refused_after_five_answers_counted_by_client_object(world: World) {
        let answers: Arc<Mutex<HashMap<_, usize>>> = Arc::default();
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let answers = Arc::clone(&answers);
                async move {
                    let before = {
                        let mut answers = answers.lock().unwrap();
                        let count = answers.entry(client.clone()).or_default();
                        *count += 1;
                        *count - 1
                    };
                    if before == 5 {
                        return Ok(());
                    }
                    client.send([&requests.recv().await?[..], b"!"].concat().into()).await?;
                    Ok(())
                }
            }))
            .await;
        let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for _ in 0..5 {
            assert_eq!(peer.ask("hello").await, "hello!");
        }
        peer.send("refused").await;
        assert_eq!(peer.ask("again").await, "again!");
        assert_eq!(other.ask("hi").await, "hi!");
        server.stop().await.unwrap();
    }

    async fn h5_a_handler_that_ends_leaves_the_next_queued_datagram_to_a_new_one(world: World) {
        let (gate, handlers) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let opened = Arc::clone(&gate);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let (gate, handlers) = (Arc::clone(&gate), Arc::clone(&handlers));
                async move {
                    let number = handlers.fetch_add(1, Ordering::Relaxed);
                    for _ in 0..2 {
                        let text = requests.recv().await?;
                        client.send(format!("{number} {}", text.len()).into()).await?;
                        gate.notified().await;
                    }
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("a").await, "0 1");
        peer.send("bb").await;
        peer.send("ccc").await;
        server.queued(2).await;
        opened.notify_one();
        assert_eq!(peer.recv_text().await, "0 2");
        opened.notify_one();
        assert_eq!(peer.recv_text().await, "1 3");
        opened.notify_one();
        server.stop().await.unwrap();
    }

    async fn h5_a_backlog_is_handled_in_arrival_order_by_successive_handlers(world: World) {
        for end in [End::Returns, End::Fails, End::Panics] {
            let gate = Arc::new(Semaphore::new(0));
            let opened = Arc::clone(&gate);
            let server = world
                .serve(raw_server(move |client, mut requests| {
                    let gate = Arc::clone(&gate);
                    async move {
                        let (one, two) = (requests.recv().await?, requests.recv().await?);
                        let _ = gate.acquire().await?;
                        client.send([one, two].concat().into()).await?;
                        end.result()
                    }
                }))
                .await;
            let peer = world.peer(server.addr).await;
            for text in "abcdefghij".chars() {
                peer.send(text.to_string()).await;
            }
            server.queued(8).await;
            opened.add_permits(1);
            for pair in ["ab", "cd", "ef", "gh", "ij"] {
                assert_eq!(peer.recv_text().await, pair);
            }
            server.stop().await.unwrap();
            let logged = world.logs.take();
            if end != End::Returns {
                assert_eq!(logged.len(), 2);
                assert!(logged[1].message.ends_with(": 4 more"), "{logged:?}");
            }
        }
    }

    // It waits in a receive, so the datagram is handed to it, and ends for another reason.
    async fn h5_a_datagram_that_an_ending_handler_did_not_take_starts_the_next(world: World) {
        let handlers = Arc::new(AtomicUsize::new(0));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let number = handlers.fetch_add(1, Ordering::Relaxed);
                async move {
                    let text = requests.recv().await?;
                    client.send([number.to_string().as_bytes(), &text[..]].concat().into()).await?;
                    let mut again = false;
                    let mut next = pin!(requests.recv());
                    poll_fn(|cx| {
                        if std::mem::replace(&mut again, true) {
                            return Poll::Ready(());
                        }
                        assert!(next.as_mut().poll(cx).is_pending());
                        Poll::Pending
                    })
                    .await;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("a").await, "0a");
        assert_eq!(peer.ask("b").await, "1b");
        assert_eq!(peer.ask("c").await, "2c");
        server.stop().await.unwrap();
    }
}
