//! What ends serving from within: background tasks that fail, workers that die.

use std::sync::{Arc, OnceLock};

use postbox_server::{RecvError, ServeError, Spawner, StartError};
use tokio::sync::Notify;

use crate::common::service::*;
use crate::common::*;
use crate::contract;

contract! {
    async fn s4_a_background_task_that_fails_or_panics_ends_serving_with_its_error(world: World) {
        for panics in [false, true] {
            let fail = Arc::new(Notify::new());
            let failing = Arc::clone(&fail);
            let builder = server_with_init(
                move |service| {
                    let failing = Arc::clone(&failing);
                    service.spawn(async {}); // one that ends well ends nothing
                    service.spawn(async move {
                        failing.notified().await;
                        assert!(!panics, "lost a screw");
                        Err::<(), _>("lost the database")
                    });
                    Box::pin(async { Ok(()) })
                },
                |client, mut requests| async move {
                    client.send(requests.recv().await?).await?;
                    // As at any shutdown, handlers are told, and may say goodbye.
                    if let Err(RecvError::Closed) = requests.recv().await {
                        client.send("goodbye".into()).await?;
                    }
                    Ok(())
                },
            );
            let server = world.serve(builder.grace(HANG)).await;
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("hello").await, "hello");
            fail.notify_one();
            assert_eq!(peer.recv_text().await, "goodbye");
            let error = server.serving.await.unwrap().unwrap_err();
            assert!(matches!(error, ServeError::BackgroundTask(_)), "{error:?}");
            let text = if panics { "panicked: lost a screw" } else { "lost the database" };
            assert_eq!(source(&error), text);
            assert!(!server.handle.is_serving());
        }
    }

    async fn s4_a_task_of_a_handlers_spawner_that_fails_ends_serving_too(world: World) {
        let kept = Arc::new(OnceLock::<Spawner>::new());
        let spawner = Arc::clone(&kept);
        let builder = server_with_init(
            move |service| {
                kept.set(service.spawner()).unwrap();
                Box::pin(async { Ok(()) })
            },
            move |_, _| {
                spawner.get().unwrap().spawn(async { Err::<(), _>("from a handler") });
                async { Ok(()) }
            },
        );
        let server = world.serve(builder).await;
        world.peer(server.addr).await.send("x").await;
        let error = server.serving.await.unwrap().unwrap_err();
        assert_eq!(source(&error), "from a handler");
    }

    async fn s4_a_background_task_that_fails_during_service_init_ends_it(world: World) {
        let journal = Journal::default();
        let exit = journal.clone();
        let server = world.bind(echo_with_init(move |service| {
            let exit = exit.clone();
            Box::pin(async move {
                service.on_exit(move || exit.add("exit"));
                service.spawn(async { Err::<(), _>("lost the database") });
                std::future::pending().await // for what that task was to bring
            })
        })).await;
        let handle = server.handle();
        let (served, started) = tokio::join!(server.serve_forever(), handle.started());
        let error = served.unwrap_err();
        assert!(matches!(error, ServeError::BackgroundTask(_)), "{error:?}");
        assert_eq!(source(&error), "lost the database");
        assert_eq!(started, Err(StartError::Ended));
        assert_eq!(journal.entries(), ["exit"]);
    }

    async fn s4_a_background_task_that_fails_after_serving_began_to_end_is_logged(world: World) {
        for shutdown in [true, false] {
            let server = world.bind(echo_with_init(move |service| {
                let (late, spawner) = (Arc::new(Notify::new()), service.spawner());
                let (stopped, tell) = (service.shutdown_token(), Arc::clone(&late));
                service.spawn(async move {
                    stopped.begun().await;
                    tell.notify_one();
                    Err::<(), _>("at the end")
                });
                service.on_exit_async(move || async move {
                    late.notified().await;
                    let tell = Arc::clone(&late);
                    spawner.spawn(async move {
                        tell.notify_one();
                        Err::<(), _>("at the exit")
                    });
                    late.notified().await;
                });
                if !shutdown {
                    service.spawn(async { Err::<(), _>("first") });
                }
                Box::pin(async { Ok(()) })
            })).await;
            let serving = tokio::spawn(server.serve_forever());
            if shutdown {
                server.handle().started().await.unwrap();
                server.handle().shutdown().await;
            }
            let ended = serving.await.unwrap();
            assert_eq!(ended.map_err(|error| source(&error)), if shutdown { Ok(()) } else { Err("first".into()) });
            let logs = world.logs.wait_for(2).await;
            let mut texts: Vec<_> = logs.iter().map(|record| &record.message[..]).collect();
            texts.sort_unstable();
            let what = "a background task failed: ";
            assert_eq!(texts, [format!("{what}at the end"), format!("{what}at the exit")]);
        }
    }

    async fn s4_keep_serving_makes_a_failed_background_task_a_logged_error(world: World) {
        let builder = echo_with_init(|service| {
            let spawner = service.spawner().keep_serving();
            spawner.spawn(async { Err::<(), _>("lost the database") });
            spawner.spawn(async { panic!("lost a screw") });
            Box::pin(async { Ok(()) })
        });
        let server = world.serve(builder).await;
        let mut logs = world.logs.wait_for(2).await;
        logs.sort_by(|a, b| a.message.cmp(&b.message));
        let texts: Vec<_> = logs.iter().map(|record| &record.message[..]).collect();
        let what = "a background task failed: ";
        assert_eq!(texts, [format!("{what}lost the database"), format!("{what}panicked: lost a screw")]);
        assert!(logs.iter().all(|record| record.level == tracing::Level::ERROR));
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("still").await, "still");
        server.stop().await.unwrap();
    }
}

contract! {
    on memory;
    async fn s4_a_worker_that_dies_ends_serving_with_an_error(world: World) {
        let journal = Journal::default();
        let (exit, ended) = (journal.clone(), journal.clone());
        let builder = server_with_init(
            move |service| {
                let exit = exit.clone();
                service.on_exit(move || exit.add("exit"));
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                let ended = ended.on_drop("handler ended");
                async move {
                    let _ended = ended;
                    client.send(requests.recv().await?).await?;
                    requests.recv().await?;
                    Ok(())
                }
            },
        );
        let server = world.serve(builder.workers(3)).await;
        let mut peers = Vec::new();
        for _ in 0..20 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("x").await, "x");
            peers.push(peer);
        }
        world.network.panic_at_receive(server.addr);
        let error = server.serving.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "a worker died: receiving was told to panic");
        // Never half a server: nobody is served any more, and everything was ended in order.
        let expected = [vec!["handler ended"; 20], vec!["exit"]].concat();
        assert_eq!(journal.entries(), expected);
        assert!(!server.handle.is_serving());

        let server = TestServer::start(server.server).await;
        assert_eq!(peers[0].ask("again").await, "again");
        server.stop().await.unwrap();
    }
}
