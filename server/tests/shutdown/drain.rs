//! V11: a drain, which lets what has begun go on.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{Client, ServerBuilder, ServerHandle, Stats};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tracing::Level;

use super::{HOUR, Own, told, with_init};
use crate::common::service::*;
use crate::common::*;
use crate::{contract, paused};

/// A server whose handlers answer each request with itself, until one says *end*.
fn conversations() -> ServerBuilder {
    raw_server(|client, mut requests| async move {
        loop {
            let request = requests.recv().await?;
            client.send(request.clone()).await?;
            if request == "end" {
                return Ok(());
            }
        }
    })
}

/// Begins a drain in a task of its own.
fn begin_drain(handle: &ServerHandle, within: Duration) -> tokio::task::JoinHandle<()> {
    let handle = handle.clone();
    tokio::spawn(async move { handle.drain(within).await })
}

/// Waits until newcomers are dropped: the last that has come by then is.
pub(super) async fn newcomers_are_dropped(world: &World, server: &TestServer) -> Stats {
    loop {
        let before = server.handle.stats();
        let newcomer = world.peer(server.addr).await;
        newcomer.send("end").await;
        let seen = |stats: &Stats| stats.received > before.received;
        let stats = server.stats_where(seen).await;
        let stats = server.settled(stats.received).await;
        if stats.dropped_shutdown > 0 {
            assert!(newcomer.is_quiet());
            return stats;
        }
        newcomer.recv().await; // it has come before
    }
}

contract! {
    async fn v11_conversations_go_on_and_newcomers_are_dropped_and_counted(world: World) {
        let server = world.serve(conversations()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        let drain = begin_drain(&server.handle, HOUR);
        let stats = newcomers_are_dropped(&world, &server).await;
        assert_eq!((stats.dropped_shutdown, stats.waiting_clients), (1, 1));
        assert!(server.handle.is_serving() && !drain.is_finished());
        assert_eq!(peer.ask("still there?").await, "still there?");
        assert_eq!(peer.ask("end").await, "end");
        // It ends as soon as the last conversation has.
        drain.await.unwrap();
        assert!(!server.handle.is_serving() && server.handle.is_listening());
        let stats = server.handle.stats();
        assert_eq!((stats.handlers_failed, stats.handlers_cancelled), (0, 0));
        server.stop().await.unwrap();
    }

    async fn v11_what_has_arrived_when_it_begins_is_handled(world: World) {
        let server = world.bind(conversations()).await;
        let (handle, addr) = (server.handle(), server.handle().addresses()[0]);
        let mut peers = Vec::new();
        for _ in 0..200 {
            peers.push(world.peer(addr).await);
        }
        for round in 0..5 {
            // It serves already, and nothing has told it yet of what is there.
            let mut serving = pin!(server.serve_forever());
            let mut started = pin!(handle.started());
            while poll_once(&mut started).await.is_pending() {
                let _ = poll_once(&mut serving).await;
                tokio::task::yield_now().await;
            }
            for peer in &peers {
                peer.send("end").await;
            }
            let mut drain = pin!(handle.drain(HOUR));
            let _ = poll_once(&mut drain).await;
            serving.await.unwrap();
            for (at, peer) in peers.iter().enumerate() {
                assert_eq!(peer.recv_text().await, "end", "round {round}, client {at}");
            }
        }
        let stats = handle.stats();
        assert_eq!((stats.received, stats.dropped()), (1000, 0));
    }

    async fn v11_tasks_of_clients_hold_it_and_background_tasks_do_not(world: World) {
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let builder = server_with_init(
            |service| {
                service.spawn(pending::<()>());
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                let go = Arc::clone(&goes);
                async move {
                    client.send(requests.recv().await?).await?;
                    client.clone().spawner().spawn(async move {
                        go.notified().await;
                        client.send("done".into()).await
                    })?;
                    Ok(())
                }
            },
        );
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("work").await, "work");
        server.stats_where(|stats| stats.handlers_returned == 1).await;
        let drain = begin_drain(&server.handle, HOUR);
        newcomers_are_dropped(&world, &server).await;
        assert!(!drain.is_finished());
        go.notify_waiters();
        assert_eq!(peer.recv_text().await, "done");
        drain.await.unwrap();
        assert_eq!(server.handle.stats().tasks_cancelled, 0);
        server.stop().await.unwrap();
    }

    async fn v11_where_nothing_runs_it_ends_at_once_and_the_server_can_serve_again(world: World) {
        let server = world.serve(conversations()).await;
        server.handle.drain(HOUR).await;
        server.serving.await.unwrap().unwrap();
        server.handle.drain(HOUR).await; // not serving: it changes nothing
        let server = TestServer::start(server.server).await;
        let newcomer = world.peer(server.addr).await;
        assert_eq!(newcomer.ask("end").await, "end");
        server.stop().await.unwrap();
    }

    async fn v11_during_service_init_it_is_a_shutdown(world: World) {
        let journal = Journal::default();
        let begun = journal.clone();
        let server = world.bind(with_init(move |_| {
            let begun = begun.clone();
            Box::pin(async move {
                begun.add("begun");
                pending().await
            })
        })).await;
        let handle = server.handle();
        let serving = tokio::spawn(server.serve_forever());
        journal.wait_for("begun").await;
        handle.drain(HOUR).await;
        serving.await.unwrap().unwrap();
        assert_eq!(handle.stats().received, 0);
    }

    async fn v11_a_shutdown_takes_over(world: World) {
        let server = world.serve(conversations()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        let drain = begin_drain(&server.handle, HOUR);
        newcomers_are_dropped(&world, &server).await;
        server.handle.shutdown().await;
        drain.await.unwrap();
        assert_eq!(server.handle.stats().handlers_failed, 1, "its receive answered closed");
        server.stop().await.unwrap();
    }

    async fn v11_handlers_can_learn_that_it_has_begun(world: World) {
        let journal = Journal::default();
        let begun = journal.clone();
        let builder = server_with_init(
            move |service| {
                let (token, begun) = (service.drain_token(), begun.clone());
                service.spawn(async move {
                    token.begun().await;
                    begun.add("draining");
                });
                Box::pin(async { Ok(()) })
            },
            |client, mut requests| async move {
                loop {
                    requests.recv().await?;
                    let draining = client.is_draining();
                    client.send(format!("{draining} {}", client.is_closing()).into()).await?;
                    if draining {
                        return Ok(());
                    }
                }
            },
        );
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("draining?").await, "false false");
        let drain = begin_drain(&server.handle, HOUR);
        journal.wait_for("draining").await;
        assert_eq!(peer.ask("draining?").await, "true false");
        drain.await.unwrap();
        server.stop().await.unwrap();
    }

    async fn v11_a_handler_that_awaits_it_does_not_hold_it(world: World) {
        let own = Own::default();
        let known = own.clone();
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let own = known.clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    own.handle().drain(HOUR).await;
                    Ok(())
                }
            }))
            .await;
        own.set(&server.handle);
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("stop").await, "stop");
        server.serving.await.unwrap().unwrap();
    }

    async fn v11_serve_until_drained_drains_at_its_signal(world: World) {
        let server = world.bind(conversations()).await;
        let (stop, handle) = (Arc::new(Notify::new()), server.handle());
        let signal = Arc::clone(&stop);
        let signal = async move { signal.notified().await };
        let serving = tokio::spawn(server.serve_until_drained(signal, HOUR));
        handle.started().await.unwrap();
        let peer = world.peer(handle.addresses()[0]).await;
        assert_eq!(peer.ask("hello").await, "hello");
        stop.notify_one();
        assert_eq!(peer.ask("still there?").await, "still there?");
        assert_eq!(peer.ask("end").await, "end");
        serving.await.unwrap().unwrap();
        assert_eq!(handle.stats().handlers_failed, 0);
    }

    async fn v11_a_hand_over_receives_nothing_and_leaves_it_for_the_next(world: World) {
        let server = world.serve(conversations()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        // Its conversation ends, as nothing comes any more.
        server.handle.hand_over(HOUR).await;
        server.serving.await.unwrap().unwrap();
        let before = server.handle.stats();
        assert_eq!((before.received, before.handlers_failed), (1, 1));
        for _ in 0..10 {
            peer.send("end").await;
        }
        assert_eq!(server.handle.stats().received, 1);
        let server = TestServer::start(server.server).await;
        for _ in 0..10 {
            assert_eq!(peer.recv_text().await, "end");
        }
        assert_eq!(server.handle.stats().dropped(), 0);
        server.stop().await.unwrap();
    }

    async fn v11_a_hand_over_hands_out_what_is_queued_and_then_answers_closed(world: World) {
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let (tell, mut heard) = mpsc::unbounded_channel();
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let (go, tell) = (Arc::clone(&goes), tell.clone());
                async move {
                    client.send(requests.recv().await?).await?;
                    go.notified().await;
                    for _ in 0..4 {
                        tell.send(told(requests.recv().await))?;
                    }
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("busy").await, "busy");
        peer.send("one").await;
        peer.send("two").await;
        server.queued(2).await;
        let handle = server.handle.clone();
        let hand_over = tokio::spawn(async move { handle.hand_over(HOUR).await });
        while !server.handle.is_draining() {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        for expected in ["one", "two", "closed", "closed"] {
            assert_eq!(heard.recv().await.unwrap(), expected);
        }
        hand_over.await.unwrap();
        assert_eq!(server.handle.stats().dropped(), 0);
        server.stop().await.unwrap();
    }

    async fn v11_a_hand_over_ends_a_receive_that_waits_in_another_task(world: World) {
        let (tell, mut heard) = mpsc::unbounded_channel();
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let tell = tell.clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    let task = tokio::spawn(async move { told(requests.recv().await) });
                    tell.send(task.await?)?;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        server.handle.hand_over(HOUR).await;
        assert_eq!(heard.recv().await.unwrap(), "closed");
        server.stop().await.unwrap();
    }
}

paused! {
    async fn v11_at_its_deadline_it_is_a_shutdown_and_the_log_says_so(world: World) {
        let server = world.serve(conversations()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        let begin = Instant::now();
        server.handle.drain(Duration::from_secs(2)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(2));
        let logged = world.logs.take();
        assert_eq!(logged.len(), 1, "{logged:?}");
        assert_eq!(logged[0].level, Level::WARN);
        assert_eq!(logged[0].fields, "handlers=1 tasks=0 ");
        let stats = server.handle.stats();
        assert_eq!((stats.handlers_failed, stats.handlers_cancelled), (1, 0));
        server.stop().await.unwrap();
    }

    async fn v11_a_second_drain_changes_the_deadline_to_the_earlier_one(world: World) {
        for (first, second) in [(60, 2), (2, 60)] {
            let server = world.serve(conversations()).await;
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("hello").await, "hello");
            let begin = Instant::now();
            let one = begin_drain(&server.handle, Duration::from_secs(first));
            newcomers_are_dropped(&world, &server).await;
            // Nor does it become a hand over: its conversation would end at once.
            server.handle.hand_over(Duration::from_secs(second)).await;
            one.await.unwrap();
            assert_eq!(begin.elapsed(), Duration::from_secs(2));
            world.logs.take();
            server.stop().await.unwrap();
        }
    }

    /// More may come all the time: what was there when it began ends it all the same.
    async fn v11_it_ends_however_much_more_arrives(world: World) {
        let (network, alone) = (world.network.clone(), world.alone());
        let server = world
            .serve(raw_server(move |client: Client<Bytes>, mut requests| {
                let network = network.clone();
                async move {
                    requests.recv().await?;
                    // A newcomer for each that was answered, whatever its port: not the server's own.
                    let mut from = client.remote_addr();
                    from.set_ip([127, 0, 0, 2].into());
                    from.set_port(from.port().checked_add(1).unwrap_or(1024));
                    network.send_from(from, b"more", client.local_addr().unwrap_or(alone))?;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("first").await;
        server.stats_where(|stats| stats.received > 100).await;
        server.handle.drain(HOUR).await;
        let stats = server.handle.stats();
        assert_eq!(stats.received, stats.accounted());
        server.stop().await.unwrap();
    }
}
