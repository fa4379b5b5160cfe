//! Who calls it, when, and how often; and what it leaves to the next serving.

use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use postbox_server::StartError;
use tokio::sync::Notify;

use super::{HOUR, with_init};
use crate::common::*;
use crate::contract;

contract! {
    async fn v4_shutdown_without_serving_returns_at_once_and_changes_nothing(world: World) {
        let server = world.bind(echo()).await;
        let handle = server.handle();
        let addresses = handle.addresses();
        handle.shutdown().await;
        assert!(handle.is_listening() && !handle.is_serving());
        assert_eq!(handle.addresses(), addresses);

        let server = TestServer::start(server).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("serves").await, "serves");
        handle.shutdown().await;
        server.serving.await.unwrap().unwrap();
        handle.shutdown().await; // again
        assert!(handle.is_listening());
        assert_eq!(handle.addresses(), addresses);

        let server = TestServer::start(server.server).await;
        assert_eq!(peer.ask("serves again").await, "serves again");
        handle.close().await;
        handle.shutdown().await; // closed
        server.serving.await.unwrap().unwrap();
    }

    async fn v4_it_does_not_wait_for_a_serving_that_was_never_polled(world: World) {
        let server = world.bind(echo()).await;
        let handle = server.handle();
        let held = server.serve_forever();
        handle.shutdown().await;
        assert!(handle.is_listening() && !handle.is_serving());
        assert_eq!(handle.started().await, Err(StartError::Ended));

        // It is over, whatever becomes of its future: another can begin.
        let server = TestServer::start(server).await;
        held.await.unwrap();
        assert!(handle.is_serving());
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("serves").await, "serves");
        server.stop().await.unwrap();
    }

    async fn v4_concurrent_shutdowns_all_return(world: World) {
        let server = world.serve(echo()).await;
        let mut shutdowns = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let handle = server.handle.clone();
            shutdowns.spawn(async move { handle.shutdown().await });
        }
        while let Some(returned) = shutdowns.join_next().await {
            returned.unwrap();
        }
        server.stop().await.unwrap();
    }

    async fn v4_a_shutdown_that_comes_while_another_waits_returns_with_it(world: World) {
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let go = Arc::clone(&goes);
                async move {
                    client.send(requests.recv().await?).await?;
                    go.notified().await;
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("busy").await, "busy");
        let handle = server.handle.clone();
        let (mut first, mut second) = (pin!(handle.shutdown()), pin!(handle.shutdown()));
        begin(&mut first).await;
        begin(&mut second).await;
        go.notify_one();
        second.await;
        first.await;
        assert_eq!(handle.stats().handlers_returned, 1);
        server.stop().await.unwrap();
    }

    async fn v4_shutdown_works_from_a_task_and_from_a_thread(world: World) {
        let mut server = world.bind(echo()).await;
        for way in 0..2 {
            let test = TestServer::start(server).await;
            let handle = test.handle.clone();
            let ended = if way == 0 {
                tokio::spawn(async move { handle.shutdown().await })
            } else {
                tokio::task::spawn_blocking(move || {
                    let thread = std::thread::spawn(move || handle.blocking_shutdown());
                    thread.join().unwrap();
                })
            };
            ended.await.unwrap();
            test.serving.await.unwrap().unwrap();
            server = test.server;
        }
    }

    async fn v4_once_begun_it_goes_on_if_its_caller_gives_up(world: World) {
        let server = world.serve(echo()).await;
        let handle = server.handle.clone();
        let _ = poll_once(&mut pin!(handle.shutdown())).await;
        server.serving.await.unwrap().unwrap();
    }

    async fn v4_it_returns_when_serving_has_ended(world: World) {
        let ended = Arc::new(AtomicUsize::new(0));
        let ends = Arc::clone(&ended);
        let server = world
            .serve(with_init(move |service| {
                let ends = Arc::clone(&ends);
                service.on_exit_async(move || async move {
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    ends.store(1, Ordering::SeqCst);
                });
                Box::pin(async { Ok(()) })
            }))
            .await;
        let handle = server.handle.clone();
        handle.shutdown().await;
        assert_eq!(ended.load(Ordering::SeqCst), 1);
        assert!(!handle.is_serving());
        // It can be served again right then.
        let again = TestServer::start(server.server).await;
        server.serving.await.unwrap().unwrap();
        again.stop().await.unwrap();
    }

    async fn v4_shutdown_right_after_a_datagram_was_sent_returns_at_once(world: World) {
        let server = world.serve(echo().grace(HOUR)).await;
        let peer = world.peer(server.addr).await;
        peer.send("x").await;
        server.handle.shutdown().await;
        server.stop().await.unwrap();
    }

    async fn v4_shutdown_during_service_init_cancels_it(world: World) {
        let entered = Arc::new(Notify::new());
        let exited = Arc::new(Mutex::new(Vec::new()));
        let (enters, exits) = (Arc::clone(&entered), Arc::clone(&exited));
        let server = world
            .bind(with_init(move |service| {
                let (entered, first, second, never) = (
                    Arc::clone(&enters),
                    Arc::clone(&exits),
                    Arc::clone(&exits),
                    Arc::clone(&exits),
                );
                service.on_exit(move || first.lock().unwrap().push("first"));
                service.on_exit(move || second.lock().unwrap().push("second"));
                Box::pin(async move {
                    entered.notify_one();
                    pending::<()>().await;
                    never.lock().unwrap().push("never");
                    Ok(())
                })
            }))
            .await;
        let handle = server.handle();
        let serving = tokio::spawn(server.serve_forever());
        let starter = handle.clone();
        let started = tokio::spawn(async move { starter.started().await });
        entered.notified().await;
        handle.shutdown().await;
        assert_eq!(*exited.lock().unwrap(), ["second", "first"]);
        serving.await.unwrap().unwrap();
        assert_eq!(started.await.unwrap(), Err(StartError::Ended));
        assert!(handle.is_listening());
    }

    async fn v4_concurrent_shutdowns_during_service_init_all_return(world: World) {
        let entered = Arc::new(Notify::new());
        let enters = Arc::clone(&entered);
        let server = world
            .bind(with_init(move |_| {
                let entered = Arc::clone(&enters);
                Box::pin(async move {
                    entered.notify_one();
                    pending().await
                })
            }))
            .await;
        let serving = tokio::spawn(server.serve_forever());
        entered.notified().await;
        let mut shutdowns = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let handle = server.handle();
            shutdowns.spawn(async move { handle.shutdown().await });
        }
        while let Some(returned) = shutdowns.join_next().await {
            returned.unwrap();
        }
        serving.await.unwrap().unwrap();
    }

    async fn v4_service_init_may_itself_shut_down(world: World) {
        let server = world
            .bind(with_init(|service| {
                let handle = service.handle();
                Box::pin(async move {
                    handle.shutdown().await;
                    Ok(())
                })
            }))
            .await;
        server.serve_forever().await.unwrap();
    }
}
