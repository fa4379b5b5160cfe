//! The serving future is dropped: a shutdown without grace, on a runtime that goes on.

use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use postbox_server::ShutdownToken;
use postbox_server::{Client, SendError, ServeError, Spawner, StartError};
use tokio::sync::Notify;

use crate::common::service::*;
use crate::common::*;
use crate::contract;

/// What ends by itself, in the order in which it has to.
const ENDED: [&str; 6] = [
    "handler dropped",
    "async begins",
    "async ends",
    "task dropped",
    "client closed",
    "sync",
];

/// A server with all that a serving can leave: a handler that waits, a task, exit actions of both
/// kinds.
fn busy(journal: &Journal) -> postbox_server::ServerBuilder {
    let (registered, handler) = (journal.clone(), journal.clone());
    let kept = Arc::new(Mutex::new(None::<Client<Bytes>>));
    let client = Arc::clone(&kept);
    server_with_init(
        move |service| {
            let [sync, closed, begins] = std::array::from_fn(|_| registered.clone());
            let client = Arc::clone(&client);
            service.on_exit(move || sync.add("sync"));
            service.on_exit(move || {
                let client = client.lock().unwrap().take().unwrap();
                let sent = client.try_send("late".into());
                assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
                closed.add("client closed");
            });
            let dropped = registered.on_drop("task dropped");
            service.spawn(async move {
                let _dropped = dropped;
                std::future::pending::<()>().await;
            });
            service.on_exit_async(move || async move {
                begins.add("async begins");
                tokio::task::yield_now().await;
                begins.add("async ends");
            });
            Box::pin(async { Ok(()) })
        },
        move |client, mut requests| {
            let dropped = handler.on_drop("handler dropped");
            *kept.lock().unwrap() = Some(client.clone());
            async move {
                let _dropped = dropped;
                client.send(requests.recv().await?).await?;
                requests.recv().await?; // without grace it is not told
                client.send("goodbye".into()).await?;
                Ok(())
            }
        },
    )
}

contract! {
    async fn v10_dropping_serving_in_select_is_a_shutdown_without_grace(world: World) {
        let journal = Journal::default();
        let server = world.bind(busy(&journal).grace(HANG)).await;
        let handle = server.handle();
        let peer = world.peer(handle.addresses()[0]).await;
        tokio::select! {
            _ = server.serve_forever() => panic!("nobody stops it"),
            answer = peer.ask("hello") => assert_eq!(answer, "hello"),
        }
        assert!(!handle.is_serving(), "from that moment on");
        handle.shutdown().await; // waits for the cleaning up
        assert_eq!(journal.entries(), ENDED);
        assert!(handle.is_listening());
        assert!(peer.is_quiet());
        let stats = handle.stats();
        assert_eq!((stats.handlers_cancelled, stats.received, stats.accounted()), (1, 1, 1));

        let server = TestServer::start(server).await;
        assert_eq!(peer.ask("again").await, "again");
        server.stop().await.unwrap();
        let twice = [&ENDED[..], &ENDED[..]].concat();
        assert_eq!(journal.entries().len(), twice.len(), "each serving ends what it started");
    }

    async fn v10_aborting_the_serving_task_is_a_shutdown_without_grace(world: World) {
        let journal = Journal::default();
        let server = world.serve(busy(&journal).workers(2)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        server.serving.abort();
        assert!(server.serving.await.unwrap_err().is_cancelled());
        server.handle.shutdown().await;
        assert_eq!(journal.entries(), ENDED);
    }

    async fn v10_a_shutdown_waits_for_its_own_serving_whatever_is_called_after_it(world: World) {
        let journal = Journal::default();
        let (registered, gate) = (journal.clone(), Arc::new(Notify::new()));
        let open = Arc::clone(&gate);
        let server = world.serve(echo_with_init(move |service| {
            let (journal, open) = (registered.clone(), Arc::clone(&open));
            service.on_exit_async(move || async move {
                open.notified().await;
                journal.add("ended");
            });
            Box::pin(async { Ok(()) })
        })).await;
        let handle = server.handle.clone();
        server.serving.abort();
        assert!(server.serving.await.unwrap_err().is_cancelled());
        let mut shutdown = Box::pin(handle.shutdown());
        assert!(poll_once(&mut shutdown).await.is_pending());
        for _ in 0..3 {
            drop(server.server.serve_forever());
            assert!(poll_once(&mut shutdown).await.is_pending(), "the first one has not ended");
        }
        assert_eq!(journal.entries(), [""; 0]);
        gate.notify_one();
        shutdown.await;
        assert_eq!(journal.entries(), ["ended"]);
        let server = TestServer::start(server.server).await;
        gate.notify_one();
        server.stop().await.unwrap();
    }

    async fn v10_dropping_ends_what_waits_for_the_server(world: World) {
        let server = world.serve(busy(&Journal::default())).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        let handle = server.handle.clone();
        let mut shutdown = Box::pin(handle.shutdown());
        server.serving.abort();
        if poll_once(&mut shutdown).await.is_pending() {
            shutdown.await;
        }
        assert_eq!(server.handle.started().await, Err(StartError::Ended));
        server.handle.close().await;
        assert_eq!(server.handle.started().await, Err(StartError::Closed));
    }

    async fn v10_serving_can_begin_again_at_once(world: World) {
        let journal = Journal::default();
        let (exit, handled) = (journal.clone(), journal.clone());
        let gate = Arc::new(Notify::new());
        let open = Arc::clone(&gate);
        let builder = server_with_init(
            move |service| {
                let (exit, open) = (exit.clone(), Arc::clone(&open));
                exit.add("init");
                service.on_exit_async(move || async move {
                    open.notified().await;
                    exit.add("exit");
                });
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                handled.add("handle");
                async move {
                    client.send(requests.recv().await?).await?;
                    Ok(())
                }
            },
        );
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        server.serving.abort();
        let _ = server.serving.await;
        // The first is still cleaning up, and its exit action waits.
        let handle = server.handle.clone();
        let again = tokio::spawn(server.server.serve_forever());
        let mut started = Box::pin(handle.started());
        assert!(poll_once(&mut started).await.is_pending());
        assert!(matches!(server.server.serve_forever().await, Err(ServeError::AlreadyRunning)));
        peer.send("early").await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert_eq!(journal.entries(), ["init"], "the second waits for the first to end");
        gate.notify_one();
        assert_eq!(started.await, Ok(()), "it is the second that this waits for");
        assert_eq!(peer.recv_text().await, "early");
        assert_eq!(journal.entries(), ["init", "exit", "init", "handle"]);
        gate.notify_one();
        handle.shutdown().await;
        again.await.unwrap().unwrap();
    }

    async fn v10_a_serving_that_waits_for_an_earlier_one_can_be_dropped_or_shut_down(world: World) {
        let gate = Arc::new(Notify::new());
        let open = Arc::clone(&gate);
        let server = world.serve(echo_with_init(move |service| {
            let open = Arc::clone(&open);
            service.on_exit_async(move || async move { open.notified().await });
            Box::pin(async { Ok(()) })
        })).await;
        server.serving.abort();
        let _ = server.serving.await;
        let handle = server.handle;
        for polled in [false, true] {
            let mut waiting = Box::pin(server.server.serve_forever());
            assert!(!polled || poll_once(&mut waiting).await.is_pending());
        }
        let waiting = tokio::spawn(server.server.serve_forever());
        let mut shutdown = Box::pin(handle.shutdown());
        assert!(poll_once(&mut shutdown).await.is_pending());
        gate.notify_one();
        shutdown.await;
        waiting.await.unwrap().unwrap();

        gate.notify_one();
        TestServer::start(server.server).await.stop().await.unwrap();
    }

    async fn v10_a_serving_that_was_never_polled_can_be_dropped(world: World) {
        let server = world.bind(busy(&Journal::default())).await;
        let serving = server.serve_forever();
        let mut started = Box::pin({
            let handle = server.handle();
            async move { handle.started().await }
        });
        assert!(poll_once(&mut started).await.is_pending());
        drop(serving);
        assert_eq!(started.await, Err(StartError::Ended));
        let (handle, serving) = (server.handle(), server.serve_forever());
        handle.close().await;
        drop(serving);
        assert!(!handle.is_listening());
    }

    async fn v4_a_serving_that_was_shut_down_unpolled_takes_no_other_ones_place(world: World) {
        let server = world.bind(echo()).await;
        let (handle, unpolled) = (server.handle(), server.serve_forever());
        handle.shutdown().await;
        let serving = server.serve_forever();
        unpolled.await.unwrap();
        let serving = tokio::spawn(serving);
        handle.started().await.unwrap();
        let peer = world.peer(handle.addresses()[0]).await;
        assert_eq!(peer.ask("served").await, "served");
        handle.shutdown().await;
        serving.await.unwrap().unwrap();
    }

    async fn v10_a_dropped_service_init_runs_the_exit_actions_so_far(world: World) {
        let journal = Journal::default();
        let registered = journal.clone();
        let server = world.bind(echo_with_init(move |service| {
            let journal = registered.clone();
            Box::pin(async move {
                let exit = journal.clone();
                service.on_exit(move || exit.add("sync"));
                let exit = journal.clone();
                service.on_exit_async(move || async move { exit.add("async") });
                let _dropped = journal.on_drop("init dropped");
                std::future::pending().await
            })
        })).await;
        let mut serving = Box::pin(server.serve_forever());
        assert!(poll_once(&mut serving).await.is_pending());
        drop(serving);
        server.handle().shutdown().await;
        assert_eq!(journal.entries(), ["init dropped", "async", "sync"]);
    }

    async fn v10_an_exit_action_goes_on_where_the_drop_found_it(world: World) {
        let journal = Journal::default();
        let (registered, gate) = (journal.clone(), Arc::new(Notify::new()));
        let open = Arc::clone(&gate);
        let server = world.bind(echo_with_init(move |service| {
            let (journal, open, last) = (registered.clone(), Arc::clone(&open), registered.clone());
            service.on_exit(move || last.add("last"));
            service.on_exit_async(move || async move {
                journal.add("begins");
                open.notified().await;
                journal.add("ends");
            });
            Box::pin(async { Ok(()) })
        })).await;
        let handle = server.handle();
        let mut serving = Box::pin(server.serve_forever());
        let stopping = tokio::spawn({
            let handle = handle.clone();
            async move {
                handle.started().await.unwrap();
                handle.shutdown().await;
            }
        });
        tokio::select! {
            _ = &mut serving => panic!("the exit action waits"),
            () = journal.wait_for("begins") => {}
        }
        drop(serving);
        gate.notify_one();
        stopping.await.unwrap();
        assert_eq!(journal.entries(), ["begins", "ends", "last"]);
    }

    async fn v10_dropping_the_server_and_its_serving_frees_the_port(world: World) {
        let server = world.serve_alone(busy(&Journal::default())).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        server.serving.abort();
        drop(server.server);
        server.handle.close().await;
        let again = world.bind_to(echo(), server.addr).await;
        let server = TestServer::start(again).await;
        assert_eq!(peer.ask("new").await, "new");
        server.stop().await.unwrap();
        world.logs.take(); // whether it still served then
    }

    async fn v10_the_shutdown_token_and_the_spawner_of_a_dropped_serving(world: World) {
        let kept = Arc::new(OnceLock::<(ShutdownToken, Spawner)>::new());
        let keep = Arc::clone(&kept);
        let server = world.serve(echo_with_init(move |service| {
            keep.set((service.shutdown_token(), service.spawner())).unwrap();
            Box::pin(async { Ok(()) })
        })).await;
        let (token, spawner) = kept.get().unwrap();
        let waiting = tokio::spawn({
            let token = token.clone();
            async move { token.begun().await }
        });
        server.serving.abort();
        waiting.await.unwrap();
        server.handle.shutdown().await;
        let journal = Journal::default();
        let (polled, dropped) = (journal.clone(), journal.on_drop("dropped"));
        spawner.spawn(async move {
            let _dropped = dropped;
            polled.add("polled");
        });
        journal.wait_for("dropped").await;
        assert_eq!(journal.entries(), ["dropped"]);
    }
}
