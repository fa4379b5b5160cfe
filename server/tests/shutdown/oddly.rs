//! V11: what users with odd timing, and strangers, do to a drain.

use std::net::{Shutdown, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postbox_server::Client;
use socket2::SockRef;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::drain::newcomers_are_dropped;
use super::{HOUR, Own};
use crate::common::service::Journal;
use crate::common::*;
use crate::{contract, paused};

contract! {
    async fn v11_once_begun_it_goes_on_if_its_caller_gives_up(world: World) {
        let server = world.serve(echo()).await;
        {
            let mut drain = pin!(server.handle.drain(HOUR));
            assert!(poll_once(&mut drain).await.is_pending());
        }
        server.serving.await.unwrap().unwrap();
        assert!(server.handle.is_listening());
    }

    async fn v11_before_serving_it_changes_nothing(world: World) {
        let server = world.bind(echo()).await;
        server.handle().drain(HOUR).await;
        server.handle().hand_over(HOUR).await;
        assert!(!server.handle().is_draining());
        let server = TestServer::start(server).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("serves").await, "serves");
        server.stop().await.unwrap();
    }

    async fn v11_many_at_once_all_return_when_serving_has_ended(world: World) {
        let server = world.serve(echo()).await;
        let mut calls = Vec::new();
        for within in [HOUR, Duration::MAX, HOUR] {
            let (one, two) = (server.handle.clone(), server.handle.clone());
            calls.push(tokio::spawn(async move { one.drain(within).await }));
            calls.push(tokio::spawn(async move { two.hand_over(within).await }));
        }
        for call in calls {
            call.await.unwrap();
        }
        server.serving.await.unwrap().unwrap();
    }

    async fn v11_a_task_of_a_client_that_awaits_it_does_not_hold_it(world: World) {
        let own = Own::default();
        let known = own.clone();
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let own = known.clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    client.spawner().spawn(async move { own.handle().drain(HOUR).await })?;
                    Ok(())
                }
            }))
            .await;
        own.set(&server.handle);
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("stop").await, "stop");
        server.serving.await.unwrap().unwrap();
        assert_eq!(server.handle.stats().client_tasks, 0);
    }

    /// One that has waited, and then does something else, is waited for.
    async fn v11_a_task_that_awaits_it_no_more_holds_it(world: World) {
        let (own, go, journal) = (Own::default(), Arc::new(Notify::new()), Journal::default());
        let (known, goes, entries) = (own.clone(), Arc::clone(&go), journal.clone());
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let (own, go, journal) = (known.clone(), Arc::clone(&goes), entries.clone());
                async move {
                    client.send(requests.recv().await?).await?;
                    let later = client.clone();
                    client.spawner().spawn(async move {
                        {
                            let handle = own.handle();
                            let mut drain = pin!(handle.drain(HOUR));
                            assert!(poll_once(&mut drain).await.is_pending());
                        }
                        tokio::task::yield_now().await;
                        journal.add("does something else");
                        go.notified().await;
                        later.send("done".into()).await
                    })?;
                    client.send(requests.recv().await?).await?;
                    Ok(())
                }
            }))
            .await;
        own.set(&server.handle);
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("stop").await, "stop");
        journal.wait_for("does something else").await;
        // Until now its handler holds the drain.
        assert_eq!(peer.ask("end").await, "end");
        server.stats_where(|stats| stats.handlers_returned == 1).await;
        for _ in 0..100 {
            tokio::task::yield_now().await; // it has every chance to end
        }
        assert!(server.handle.is_serving());
        go.notify_one();
        assert_eq!(peer.recv_text().await, "done");
        server.serving.await.unwrap().unwrap();
        assert_eq!(server.handle.stats().tasks_cancelled, 0);
    }

    /// Else a client that always has a question open would hold it to its deadline.
    async fn v11_what_comes_behind_a_running_handler_begins_no_other(world: World) {
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let server = world
            .serve(raw_server(move |client: Client<Bytes>, mut requests| {
                let go = Arc::clone(&goes);
                async move {
                    let request = requests.recv().await?;
                    client.send("looks it up".into()).await?;
                    go.notified().await;
                    client.send(request).await?;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("one").await, "looks it up");
        peer.send("two").await;
        server.queued(1).await;
        let handle = server.handle.clone();
        let drain = tokio::spawn(async move { handle.drain(HOUR).await });
        let stats = newcomers_are_dropped(&world, &server).await;
        let dropped = stats.dropped_shutdown;
        peer.send("three").await;
        server.queued(2).await;
        go.notify_waiters();
        assert_eq!(peer.recv_text().await, "one");
        assert_eq!(peer.recv_text().await, "looks it up");
        go.notify_waiters();
        assert_eq!(peer.recv_text().await, "two");
        drain.await.unwrap();
        let stats = server.handle.stats();
        assert_eq!((stats.dropped_shutdown - dropped, stats.queued), (1, 0));
        server.stop().await.unwrap();
    }

    async fn v11_on_many_sockets_conversations_go_on_and_nothing_that_came_is_lost(world: World) {
        let (tell, mut begun) = mpsc::unbounded_channel();
        let server = world
            .serve(raw_server(move |client: Client<Bytes>, mut requests| {
                let tell = tell.clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    tell.send(())?;
                    client.send(requests.recv().await?).await?;
                    Ok(())
                }
            }).workers(3))
            .await;
        let (mut talks, mut asks) = (Vec::new(), Vec::new());
        for _ in 0..12 {
            talks.push(world.peer(server.addr).await);
            asks.push(world.peer(server.addr).await);
        }
        for peer in &talks {
            assert_eq!(peer.ask("hello").await, "hello");
            begun.recv().await.unwrap();
        }
        for peer in &asks {
            peer.send("just before").await;
        }
        let handle = server.handle.clone();
        let drain = tokio::spawn(async move { handle.drain(HOUR).await });
        for peer in &asks {
            assert_eq!(peer.recv_text().await, "just before");
        }
        for peer in talks.iter().chain(&asks) {
            assert_eq!(peer.ask("goes on").await, "goes on");
        }
        drain.await.unwrap();
        let stats = server.handle.stats();
        assert_eq!((stats.received, stats.dropped(), stats.handlers_returned), (48, 0, 24));
        server.stop().await.unwrap();
    }

    on udp, plain;
    async fn v11_a_socket_that_its_user_has_shut_down_does_not_hold_it(world: World) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let users = socket.try_clone().unwrap();
        let plain = world.kind == Kind::Plain;
        let server = echo().plain_transport(plain).from_sockets([socket]).unwrap();
        let server = TestServer::start(server).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        let _ = SockRef::from(&users).shutdown(Shutdown::Read); // an error, told after the deed
        server.stats_where(|stats| stats.receive_errors > 0).await;
        server.handle.drain(HOUR).await;
        server.serving.await.unwrap().unwrap();
        world.logs.take(); // that receiving failed
    }
}

paused! {
    async fn v11_receive_errors_that_do_not_end_do_not_hold_it(world: World) {
        let server = world.serve(echo()).await;
        let broken = || std::io::ErrorKind::OutOfMemory.into();
        world.network.fail_receives(server.addr, usize::MAX, broken);
        let begin = Instant::now();
        server.handle.drain(HOUR).await;
        assert!(begin.elapsed() < Duration::from_secs(1));
        world.network.fail_receives(server.addr, 0, broken);
        server.stop().await.unwrap();
        world.logs.take();
    }

    async fn v11_after_a_few_receive_errors_what_has_arrived_is_handled(world: World) {
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        world.network.fail_receives(server.addr, 4, || std::io::ErrorKind::OutOfMemory.into());
        peer.send("behind them").await;
        server.handle.drain(HOUR).await;
        assert_eq!(peer.recv_text().await, "behind them");
        server.stop().await.unwrap();
        world.logs.take();
    }

    async fn v11_with_no_time_at_all_it_is_a_shutdown_with_its_grace(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                tokio::time::sleep(Duration::from_millis(500)).await;
                client.send("done".into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("work").await, "work");
        server.handle.drain(Duration::ZERO).await;
        assert_eq!(peer.recv_text().await, "done");
        let logged = world.logs.take();
        assert_eq!(logged.len(), 1, "{logged:?}");
        server.stop().await.unwrap();
    }
}
