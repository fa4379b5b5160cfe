//! H9: answers, from wherever and whenever.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{BoxError, Client, SendError};
use tokio::sync::{Notify, oneshot};

use crate::common::*;
use crate::contract;

contract! {
    async fn h9_a_handler_answers_any_number_of_times_or_never(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let request = requests.recv().await?;
                let count: usize = std::str::from_utf8(&request)?.parse()?;
                for number in 0..count {
                    client.send(format!("{number} of {count}").into()).await?;
                }
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        for count in [0, 3, 1, 0, 200] {
            peer.send(count.to_string()).await;
            for number in 0..count {
                assert_eq!(peer.recv_text().await, format!("{number} of {count}"));
            }
        }
        assert!(peer.is_quiet());
        server.stop().await.unwrap();
    }

    // It would hold its worker, and with it all other clients.
    on memory;
    async fn h9_a_handler_that_sends_on_and_on_makes_pauses(world: World) {
        const SENDS: usize = 1_000;
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                let mut sends = pin!(async {
                    for _ in 0..SENDS {
                        client.send(Bytes::from_static(b"x")).await?;
                    }
                    Ok::<(), SendError>(())
                });
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    sends.as_mut().poll(cx)
                })
                .await?;
                assert_eq!(polls, 1 + SENDS / 128);
                client.send(Bytes::from_static(b"done")).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("begin").await;
        while peer.recv_text().await != "done" {}
        server.stop().await.unwrap();
    }

    // A pause that only one of several branches is asked for is none.
    on memory;
    async fn h9_a_handler_that_always_finds_one_of_several_ready_makes_pauses(world: World) {
        const SENDS: usize = 1_000;
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let first: usize = std::str::from_utf8(&requests.recv().await?)?.parse()?;
                let sent = AtomicUsize::new(0);
                let send = async || {
                    sent.fetch_add(1, Ordering::Relaxed);
                    client.send(Bytes::from_static(b"x")).await
                };
                let mut sends = pin!(async {
                    for _ in 0..first {
                        send().await?;
                    }
                    while sent.load(Ordering::Relaxed) < SENDS {
                        tokio::select! {
                            biased;
                            request = requests.recv() => drop(request?),
                            result = client.send(Bytes::from_static(b"x")) => result?,
                        }
                        send().await?;
                    }
                    Ok::<(), BoxError>(())
                });
                poll_fn(|cx| {
                    let before = sent.load(Ordering::Relaxed);
                    let poll = sends.as_mut().poll(cx);
                    assert!(sent.load(Ordering::Relaxed) - before <= 128);
                    poll
                })
                .await?;
                client.send(Bytes::from_static(b"done")).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        // The one that is refused is another each time.
        for first in ["0", "1", "2"] {
            peer.send(first).await;
            while peer.recv_text().await != "done" {}
        }
        server.stop().await.unwrap();
    }

    // It is polled again without a pause, as nobody else can make one.
    async fn h9_a_handler_that_blocks_until_its_answers_are_sent_goes_on(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                for number in 0..200 {
                    block_on(client.send(Bytes::from(number.to_string())))?;
                }
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("begin").await;
        for number in 0..200 {
            assert_eq!(peer.recv_text().await, number.to_string());
        }
        server.stop().await.unwrap();
    }

    // From the handler itself, another task and a plain thread, each after the one before was done.
    async fn h9_a_send_that_completed_before_another_began_leaves_first(world: World) {
        const ROUNDS: u32 = 60;
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                let (to_thread, on_thread) = mpsc::channel::<(u32, oneshot::Sender<()>)>();
                let threads = client.clone();
                std::thread::spawn(move || {
                    for (number, done) in on_thread {
                        block_on(threads.send(Bytes::from(number.to_string()))).unwrap();
                        done.send(()).unwrap();
                    }
                });
                for round in 0..ROUNDS {
                    let number = move |place: u32| Bytes::from((4 * round + place).to_string());
                    client.send(number(0)).await?;
                    let (done, is_done) = oneshot::channel();
                    to_thread.send((4 * round + 1, done))?;
                    is_done.await?;
                    client.try_send(number(2))?;
                    let tasks = client.clone();
                    tokio::spawn(async move { tasks.send(number(3)).await }).await??;
                }
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("go").await;
        for number in 0..4 * ROUNDS {
            assert_eq!(peer.recv_text().await, number.to_string());
        }
        server.stop().await.unwrap();
    }

    // The handler does not return in between.
    async fn h9_a_send_of_another_thread_keeps_its_place_between_those_of_one_poll(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                for number in 0..10 {
                    let bytes = Bytes::from((2 * number).to_string());
                    client.try_send(bytes)?;
                    let other = client.clone();
                    std::thread::spawn(move || other.try_send(Bytes::from((2 * number + 1).to_string())))
                        .join()
                        .unwrap()?;
                }
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("go").await;
        for number in 0..20 {
            assert_eq!(peer.recv_text().await, number.to_string());
        }
        server.stop().await.unwrap();
    }

    async fn h9_a_client_kept_after_its_handler_ended_is_sent_to_from_anywhere(world: World) {
        let kept: Arc<Mutex<Vec<Client<Bytes>>>> = Arc::default();
        let keep = Arc::clone(&kept);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                keep.lock().unwrap().push(client.clone());
                async move {
                    client.send(requests.recv().await?).await?;
                    Ok(())
                }
            }))
            .await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        one.ask("x").await;
        two.ask("y").await;
        server.stats_where(|stats| stats.handlers_returned == 2).await;
        let (first, second) = {
            let kept = kept.lock().unwrap();
            (kept[0].clone(), kept[1].clone())
        };
        first.send(Bytes::from("from a task")).await.unwrap();
        assert_eq!(one.recv_text().await, "from a task");
        let elsewhere = second.clone();
        tokio::task::spawn_blocking(move || {
            block_on(elsewhere.send(Bytes::from("from a thread"))).unwrap();
            elsewhere.try_send(Bytes::from("without waiting")).unwrap();
            block_on(elsewhere.flush()).unwrap();
        })
        .await
        .unwrap();
        assert_eq!(two.recv_text().await, "from a thread");
        assert_eq!(two.recv_text().await, "without waiting");
        // Its next handler runs meanwhile, and so do those of others.
        assert_eq!(two.ask("again").await, "again");
        second.send(Bytes::from("old client")).await.unwrap();
        assert_eq!(two.recv_text().await, "old client");
        assert!(one.is_quiet());
        server.stop().await.unwrap();
    }

    async fn h9_what_is_encoded_once_is_pushed_to_many(world: World) {
        let kept: Arc<Mutex<Vec<Client<Bytes>>>> = Arc::default();
        let keep = Arc::clone(&kept);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let keep = Arc::clone(&keep);
                async move {
                    client.send(requests.recv().await?).await?;
                    keep.lock().unwrap().push(client);
                    Ok(())
                }
            }))
            .await;
        let mut peers = Vec::new();
        for number in 0..5 {
            let peer = world.peer(server.addr).await;
            peer.ask(number.to_string()).await;
            peers.push(peer);
        }
        server.stats_where(|stats| stats.handlers_returned == 5).await;
        let clients = std::mem::take(&mut *kept.lock().unwrap());
        for client in &clients {
            client.send_datagram(b"to all").await.unwrap();
        }
        for peer in &peers {
            assert_eq!(peer.recv_text().await, "to all");
        }
        server.stop().await.unwrap();
    }

    async fn h9_a_send_that_is_never_polled_sends_nothing(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let request = requests.recv().await?;
                drop(client.send(Bytes::from("never")));
                drop(client.send_datagram("nor this"));
                client.send(request).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(peer.ask("y").await, "y");
        server.stop().await.unwrap();
    }

    async fn h9_a_destructor_sends_however_its_handler_ends(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let bye = Bye(client.clone());
                let request = requests.recv().await?;
                client.send(request.clone()).await?;
                match &request[..] {
                    b"return" => Ok(()),
                    b"fail" => Err("told to fail".into()),
                    b"panic" => panic!("told to panic"),
                    _ => {
                        let _bye = bye;
                        std::future::pending::<Result<(), BoxError>>().await
                    }
                }
            }).grace(Duration::ZERO))
            .await;
        let peer = world.peer(server.addr).await;
        for end in ["return", "fail", "panic"] {
            assert_eq!(peer.ask(end).await, end);
            assert_eq!(peer.recv_text().await, "bye");
        }
        assert_eq!(world.logs.wait_for(2).await.len(), 2);
        assert_eq!(peer.ask("be cancelled").await, "be cancelled");
        server.stop().await.unwrap();
        assert_eq!(peer.recv_text().await, "bye");
    }

    // Dropped without a shutdown: nothing leaves any more, and whoever sends is told.
    async fn h9_a_destructor_that_cannot_send_any_more_is_told_closed(world: World) {
        struct Last(Client<Bytes>, Arc<Mutex<Option<String>>>, Arc<Notify>);
        impl Drop for Last {
            fn drop(&mut self) {
                let answer = self.0.try_send(Bytes::from("never"));
                *self.1.lock().unwrap() = answer.err().map(|error| error.to_string());
                self.2.notify_one();
            }
        }
        let (told, dropped) = (Arc::new(Mutex::new(None)), Arc::new(Notify::new()));
        let (tells, drops) = (Arc::clone(&told), Arc::clone(&dropped));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let last = Last(client.clone(), Arc::clone(&tells), Arc::clone(&drops));
                async move {
                    client.send(requests.recv().await?).await?;
                    let _last = last;
                    std::future::pending().await
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.ask("x").await;
        server.serving.abort();
        dropped.notified().await;
        let told = told.lock().unwrap().take();
        assert_eq!(told.unwrap(), "closed: the server has stopped serving");
    }
}

struct Bye(Client<Bytes>);

impl Drop for Bye {
    fn drop(&mut self) {
        self.0.try_send(Bytes::from("bye")).unwrap();
    }
}
