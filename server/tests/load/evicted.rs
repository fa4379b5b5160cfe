//! L9: what the handler of an evicted client can do, and what it cannot.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{BoxError, Client, Limits, RecvError, Requests, ServerBuilder};
use tokio::sync::{Notify, mpsc};

use crate::common::service::Journal;
use crate::common::*;
use crate::contract;

/// A server with room for one client, which answers its first datagram, and then does `act` with
/// what its next receive answers.
fn one_client<F, Fut>(act: F) -> ServerBuilder
where
    F: Fn(Client<Bytes>, Requests<Bytes>, Result<Bytes, RecvError>) -> Fut,
    F: Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let builder = raw_server(move |client, mut requests| {
        let act = act.clone();
        async move {
            client.send(requests.recv().await?).await?;
            let answered = requests.recv().await;
            act(client, requests, answered).await
        }
    });
    builder.limits(Limits::default().clients(1).grace(Duration::ZERO))
}

/// Two clients, of which the second drives the first out.
async fn evict(world: &World, server: &TestServer) -> (Peer, Peer) {
    let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
    assert_eq!(first.ask("first").await, "first");
    assert_eq!(second.ask("second").await, "second");
    (first, second)
}

/// How the handlers of a server that was stopped ended: returned, failed, panicked, cancelled,
/// evicted.
async fn ends(server: TestServer) -> [u64; 5] {
    let handle = server.handle.clone();
    server.stop().await.unwrap();
    let stats = handle.stats();
    assert_eq!(
        stats.received,
        stats.handed_out + stats.dropped_shutdown,
        "{stats:#?}"
    );
    [
        stats.handlers_returned,
        stats.handlers_failed,
        stats.handlers_panicked,
        stats.handlers_cancelled,
        stats.handlers_evicted,
    ]
}

contract! {
    async fn l9_h6_an_evicted_handler_is_told_and_its_last_answer_leaves(world: World) {
        let server = world.serve(one_client(|client, _, answered| async move {
            if let Err(RecvError::Evicted) = answered {
                client.send("come again later".into()).await?;
            }
            Ok(())
        })).await;
        let (first, _second) = evict(&world, &server).await;
        assert_eq!(first.recv_text().await, "come again later");
        assert_eq!(ends(server).await, [1, 0, 0, 0, 1]);
    }

    async fn l9_an_evicted_handler_that_returns_the_error_is_no_error_in_the_log(world: World) {
        let server = world.serve(one_client(|_, _, answered| async move {
            answered?;
            Ok(())
        })).await;
        let (first, _second) = evict(&world, &server).await;
        let addr = first.addr().to_string();
        let told = world.logs.take_debug();
        let told: Vec<_> = told.iter().filter(|record| record.fields.contains(&addr)).collect();
        assert!(told.len() == 1 && told[0].message.contains("evicted"), "{told:#?}");
        assert_eq!(ends(server).await, [0, 1, 0, 0, 1]);
    }

    async fn l9_an_evicted_handler_that_fails_otherwise_is_logged_like_any_other(world: World) {
        let server = world.serve(one_client(|_, _, answered| async move {
            match answered {
                Err(RecvError::Evicted) => Err("no time to save".into()),
                _ => Ok(()),
            }
        })).await;
        let (_first, _second) = evict(&world, &server).await;
        let records = world.logs.wait_for(1).await;
        assert!(records[0].message.contains("no time to save"), "{records:?}");
        assert_eq!(ends(server).await, [1, 0, 0, 0, 1]);
    }

    async fn l9_an_evicted_handler_that_panics_is_counted_and_logged_as_that(world: World) {
        let server = world.serve(one_client(|_, _, answered| async move {
            assert!(!matches!(answered, Err(RecvError::Evicted)), "not me");
            Ok(())
        })).await;
        let (_first, _second) = evict(&world, &server).await;
        let records = world.logs.wait_for(1).await;
        assert!(records[0].message.contains("not me"), "{records:?}");
        assert_eq!(ends(server).await, [1, 0, 1, 0, 0]);
    }

    async fn l9_an_evicted_handler_that_waits_again_is_cancelled_where_it_is(world: World) {
        let journal = Journal::default();
        let tell = journal.clone();
        let server = world.serve(one_client(move |client, mut requests, answered| {
            let journal = tell.clone();
            async move {
                let _dropped = journal.on_drop("dropped");
                let mut answered = answered;
                while let Err(RecvError::Evicted) = answered {
                    journal.add("evicted");
                    client.send("once".into()).await?;
                    answered = requests.recv().await;
                }
                Ok(())
            }
        })).await;
        let (first, second) = evict(&world, &server).await;
        assert_eq!(journal.entries(), ["evicted", "dropped"]);
        assert_eq!(first.recv_text().await, "once");
        // Nothing of the old run is left in the new one's place.
        second.send("more").await;
        server.stats_where(|stats| stats.waiting_clients == 0).await;
        assert_eq!(ends(server).await, [1, 0, 0, 0, 1]);
    }

    async fn l9_a_destructor_of_an_evicted_handler_may_panic(world: World) {
        struct Rude;
        impl Drop for Rude {
            fn drop(&mut self) {
                panic!("not like that");
            }
        }
        let server = world.serve(one_client(|_, mut requests, answered| async move {
            if answered.is_err() {
                let _rude = Rude;
                let _ = requests.recv().await;
            }
            Ok(())
        })).await;
        let (_first, second) = evict(&world, &server).await;
        let records = world.logs.wait_for(1).await;
        assert!(records[0].message.contains("not like that"), "{records:?}");
        second.send("more").await;
        server.stats_where(|stats| stats.waiting_clients == 0).await;
        assert_eq!(ends(server).await, [1, 0, 0, 0, 1]);
    }

    async fn l9_what_is_kept_of_an_evicted_handler_can_push_but_not_receive(world: World) {
        let (give, mut taken) = mpsc::unbounded_channel();
        let server = world.serve(one_client(move |client, requests, answered| {
            let give = give.clone();
            async move {
                if answered.is_err() {
                    give.send((client, requests))?;
                }
                Ok(())
            }
        })).await;
        let (first, second) = evict(&world, &server).await;
        let (client, mut requests) = taken.recv().await.unwrap();
        client.send("pushed".into()).await.unwrap();
        assert_eq!(first.recv_text().await, "pushed");
        assert!(matches!(requests.recv().await, Err(RecvError::Closed)));
        // Not even what is in its place now, or in that of its client.
        second.send("more").await;
        server.stats_where(|stats| stats.waiting_clients == 0).await;
        assert_eq!(first.ask("again").await, "again");
        assert!(matches!(requests.recv().await, Err(RecvError::Closed)));
        assert_eq!(client.remote_addr(), first.addr());
        server.stop().await.unwrap();
    }

    async fn l9_a_stream_of_requests_is_told_and_goes_no_further(world: World) {
        let journal = Journal::default();
        let tell = journal.clone();
        let builder = raw_server(move |client, mut requests| {
            let journal = tell.clone();
            async move {
                let _dropped = journal.on_drop("dropped");
                while let Some(item) = next(&mut requests).await {
                    match item {
                        Ok(request) => client.send(request).await?,
                        Err(error) => journal.add(format!("{error:?}")),
                    }
                }
                Ok(())
            }
        });
        let limits = Limits::default().clients(1);
        let server = world.serve(builder.limits(limits)).await;
        let (_first, second) = evict(&world, &server).await;
        assert_eq!(journal.entries(), ["Evicted", "dropped"]);
        assert_eq!(second.ask("more").await, "more");
        assert_eq!(ends(server).await, [1, 0, 0, 0, 1]);
    }

    /// The stream's receive outlives its polls.
    async fn l9_a_handler_that_has_left_its_stream_for_something_else_stays(world: World) {
        let gate = Arc::new(Notify::new());
        let opens = Arc::clone(&gate);
        let builder = raw_server(move |client, mut requests| {
            let gate = Arc::clone(&opens);
            async move {
                client.send(requests.recv().await?).await?;
                begin(&mut std::pin::pin!(next(&mut requests))).await;
                gate.notified().await;
                while let Some(item) = next(&mut requests).await {
                    client.send(item?).await?;
                }
                Ok(())
            }
        });
        let server = world.serve(builder.limits(Limits::default().clients(1))).await;
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(first.ask("hello").await, "hello");
        for count in 1..=2 {
            second.send("let me in").await;
            let stats = server.stats_where(|stats| stats.dropped_clients_bound == count).await;
            assert_eq!((stats.handlers_evicted, stats.waiting_clients), (0, 1));
        }
        gate.notify_one();
        assert_eq!(first.ask("more").await, "more");
        assert_eq!(second.ask("again").await, "again");
        assert_eq!(server.handle.stats().handlers_evicted, 1);
        gate.notify_one();
        server.stop().await.unwrap();
    }

    async fn l9_an_evicted_handler_that_shuts_the_server_down_has_its_grace(world: World) {
        let journal = Journal::default();
        let tell = journal.clone();
        let handle = Arc::new(Mutex::new(None::<postbox_server::ServerHandle>));
        let given = Arc::clone(&handle);
        let builder = one_client(move |_, _, answered| {
            let (journal, handle) = (tell.clone(), given.lock().unwrap().clone().unwrap());
            async move {
                if let Err(RecvError::Evicted) = answered {
                    let mut shutdown = std::pin::pin!(handle.shutdown());
                    begin(&mut shutdown).await;
                    journal.add("evicted");
                    tokio::task::yield_now().await;
                    journal.add("goes on");
                }
                Ok(())
            }
        });
        let server = world.bind(builder.grace(HANG)).await;
        *handle.lock().unwrap() = Some(server.handle());
        let server = TestServer::start(server).await;
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(first.ask("first").await, "first");
        second.send("second").await;
        journal.wait_for("evicted").await;
        let handle = server.handle.clone();
        assert_eq!(ends(server).await, [1, 0, 0, 0, 0]);
        assert_eq!(journal.entries(), ["evicted", "goes on"]);
        assert_eq!(handle.stats().dropped_shutdown, 1);
    }
}

async fn next(requests: &mut Requests<Bytes>) -> Option<Result<Bytes, RecvError>> {
    std::future::poll_fn(|cx| {
        futures_core::Stream::poll_next(std::pin::Pin::new(&mut *requests), cx)
    })
    .await
}

contract! {
    on memory;
    async fn l9_an_evicted_handler_is_offered_nothing_of_the_newcomers_burst(world: World) {
        let journal = Journal::default();
        let tell = journal.clone();
        let builder = raw_server(move |client, mut requests| {
            let journal = tell.clone();
            async move {
                loop {
                    match requests.recv().await {
                        Ok(request) => client.send(request).await?,
                        Err(RecvError::Evicted) => {
                            let more = poll_now(&mut requests.recv());
                            journal.add(if matches!(more, Poll::Pending) { "none" } else { "some" });
                            return Ok(());
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        });
        let server = world.serve(builder.limits(Limits::default().clients(1))).await;
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for newcomer in [&first, &second, &first] {
            world.network.send_coalesced(newcomer.addr(), b"aabbc", 2, server.addr);
            for text in ["aa", "bb", "c"] {
                assert_eq!(newcomer.recv_text().await, text);
            }
        }
        assert_eq!(journal.entries(), ["none", "none"]);
        assert!(first.is_quiet() && second.is_quiet());
        assert_eq!(ends(server).await, [0, 1, 0, 0, 2]);
    }
}
