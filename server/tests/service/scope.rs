//! The service around the handlers: its initialization, and what that is given.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use postbox_server::ShutdownToken;
use postbox_server::{ServeError, ServerHandle, Spawner, StartError};
use tokio::sync::Notify;

use crate::common::service::*;
use crate::common::*;
use crate::contract;

contract! {
    async fn s1_service_init_runs_once_per_serving_before_the_first_datagram_is_handled(world: World) {
        let (journal, gate) = (Journal::default(), Arc::new(Notify::new()));
        let (init, handled, open) = (journal.clone(), journal.clone(), Arc::clone(&gate));
        let builder = server_with_init(
            move |_| {
                let (init, open) = (init.clone(), Arc::clone(&open));
                Box::pin(async move {
                    init.add("init begins");
                    open.notified().await;
                    init.add("init ends");
                    Ok(())
                })
            },
            move |client, mut requests| {
                handled.add("handle");
                async move {
                    client.send(requests.recv().await?).await?;
                    Ok(())
                }
            },
        );
        let server = world.bind(builder.workers(2)).await;
        let handle = server.handle();
        let (early, late) = (world.peer(handle.addresses()[0]).await, world.peer(handle.addresses()[0]).await);
        early.send("early").await;
        for serving in 1..=2 {
            let run = tokio::spawn(server.serve_forever());
            let begun = ["init begins", "init ends", "handle", "handle"].repeat(serving - 1);
            journal.wait_for_count(begun.len() + 1).await;
            late.send("late").await;
            // Whoever would handle them now has every chance to.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(journal.entries(), [&begun[..], &["init begins"]].concat());
            gate.notify_one();
            assert_eq!(early.recv_text().await, "early");
            assert_eq!(late.recv_text().await, "late");
            let all = ["init begins", "init ends", "handle", "handle"].repeat(serving);
            assert_eq!(journal.entries(), all);
            handle.shutdown().await;
            run.await.unwrap().unwrap();
            early.send("early").await;
        }
    }

    async fn s1_background_tasks_run_while_the_service_does(world: World) {
        let (ask, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (asked, answered) = (Arc::clone(&ask), Arc::clone(&answer));
        let builder = echo_with_init(move |service| {
            let (asked, answered) = (Arc::clone(&asked), Arc::clone(&answered));
            service.spawn(async move {
                loop {
                    asked.notified().await;
                    answered.notify_one();
                }
            });
            Box::pin(async { Ok(()) })
        });
        let server = world.serve(builder).await;
        for _ in 0..3 {
            ask.notify_one();
            answer.notified().await;
        }
        server.stop().await.unwrap();
    }

    async fn s1_a_spawner_can_be_cloned_and_kept_for_the_handlers(world: World) {
        let kept = Arc::new(OnceLock::<Spawner>::new());
        let spawner = Arc::clone(&kept);
        let builder = server_with_init(
            move |service| {
                kept.set(service.spawner()).unwrap();
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                let spawner = Spawner::clone(spawner.get().unwrap());
                async move {
                    let request = requests.recv().await?;
                    spawner.spawn(async move { client.send(request).await });
                    Ok(())
                }
            },
        );
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("one").await, "one");
        assert_eq!(peer.ask("two").await, "two");
        server.stop().await.unwrap();
    }

    async fn s1_a_spawner_starts_nothing_after_serving_has_stopped(world: World) {
        let kept = Arc::new(Mutex::new(None));
        let spawner = Arc::clone(&kept);
        let server = world.serve(echo_with_init(move |service| {
            *kept.lock().unwrap() = Some(service.spawner());
            Box::pin(async { Ok(()) })
        })).await;
        server.stop().await.unwrap();
        let journal = Journal::default();
        let (polled, dropped) = (journal.clone(), journal.on_drop("dropped"));
        let spawner = spawner.lock().unwrap().take().unwrap();
        spawner.spawn(async move {
            let _dropped = dropped;
            polled.add("polled");
        });
        journal.wait_for("dropped").await;
        assert_eq!(journal.entries(), ["dropped"]);
    }

    async fn s1_the_shutdown_token_tells_handlers_and_tasks_of_the_shutdown(world: World) {
        let kept = Arc::new(OnceLock::<ShutdownToken>::new());
        let (token, journal) = (Arc::clone(&kept), Journal::default());
        let (task, knows) = (journal.clone(), journal.clone());
        let builder = server_with_init(
            move |service| {
                let (cancelled, task) = (service.shutdown_token(), task.clone());
                kept.set(cancelled.clone()).unwrap();
                service.spawn(async move {
                    cancelled.begun().await;
                    task.add("the task knows");
                });
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                let (token, task) = (token.get().unwrap().clone(), knows.clone());
                async move {
                    client.send(requests.recv().await?).await?;
                    token.begun().await;
                    task.wait_for("the task knows").await; // the last exit action stops it
                    client.send("goodbye".into()).await?;
                    Ok(())
                }
            },
        );
        let server = world.serve(builder.grace(HANG)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        assert_eq!(journal.entries(), [""; 0]);
        let handle = server.handle.clone();
        let stopping = tokio::spawn(async move { handle.shutdown().await });
        assert_eq!(peer.recv_text().await, "goodbye");
        stopping.await.unwrap();
        assert_eq!(journal.entries(), ["the task knows"]);
        server.stop().await.unwrap();
    }

    async fn s1_the_shutdown_token_is_cancelled_before_the_exit_actions_however_serving_ends(world: World) {
        for ends_by in ["failed init", "failed task", "shutdown", "drop"] {
            let journal = Journal::default();
            let exit = journal.clone();
            let server = world.bind(echo_with_init(move |service| {
                let (token, exit) = (service.shutdown_token(), exit.clone());
                service.on_exit(move || exit.add(format!("cancelled: {}", token.has_begun())));
                let result = if ends_by == "failed init" { Err("no".into()) } else { Ok(()) };
                if ends_by == "failed task" {
                    service.spawn(async { Err::<(), _>("no") });
                }
                Box::pin(async { result })
            })).await;
            let serving = tokio::spawn(server.serve_forever());
            match ends_by {
                "shutdown" => {
                    server.handle().started().await.unwrap();
                    server.handle().shutdown().await;
                }
                "drop" => {
                    server.handle().started().await.unwrap();
                    serving.abort();
                }
                _ => {}
            }
            journal.wait_for_count(1).await;
            assert_eq!(journal.entries(), ["cancelled: true"], "{ends_by}");
            let _ = serving.await;
        }
    }

    async fn s1_service_init_reaches_the_servers_handle(world: World) {
        let kept = Arc::new(OnceLock::<ServerHandle>::new());
        let handle = Arc::clone(&kept);
        let server = world.serve(echo_with_init(move |service| {
            kept.set(service.handle()).unwrap();
            Box::pin(async { Ok(()) })
        })).await;
        let handle = handle.get().unwrap();
        assert_eq!(handle.addresses(), [server.addr]);
        assert!(handle.is_serving());
        handle.shutdown().await;
        server.stop().await.unwrap();
    }

    async fn s3_a_failing_service_init_fails_serving_with_its_error(world: World) {
        let fails = Arc::new(AtomicUsize::new(1));
        let server = world.bind(echo_with_init(move |_| {
            let fails = fails.swap(0, Ordering::Relaxed) == 1;
            Box::pin(async move {
                tokio::task::yield_now().await;
                if fails { Err("no table for the game".into()) } else { Ok(()) }
            })
        })).await;
        let handle = server.handle();
        let peer = world.peer(handle.addresses()[0]).await;
        peer.send("early").await;
        let (served, started) = tokio::join!(server.serve_forever(), handle.started());
        let error = served.unwrap_err();
        assert!(matches!(error, ServeError::ServiceInit(_)), "{error:?}");
        assert_eq!(source(&error), "no table for the game");
        assert_eq!(started, Err(StartError::Ended));
        assert_eq!(handle.stats().received, 0, "nothing was served");
        assert!(!handle.is_serving() && handle.is_listening());

        let server = TestServer::start(server).await;
        assert_eq!(peer.recv_text().await, "early");
        server.stop().await.unwrap();
    }

    async fn s3_a_panicking_service_init_fails_serving_with_its_message(world: World) {
        struct PanicsWhenDropped;
        impl Drop for PanicsWhenDropped {
            fn drop(&mut self) {
                panic!("while dropping");
            }
        }
        let calls = AtomicUsize::new(0);
        let server = world.bind(echo_with_init(move |_| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            assert!(call != 0, "in the call");
            Box::pin(async move {
                let _guard = (call == 2).then(|| PanicsWhenDropped);
                tokio::task::yield_now().await;
                assert!(call != 1, "in the future");
                Ok(())
            })
        })).await;
        for message in ["in the call", "in the future", "while dropping"] {
            let handle = server.handle();
            let (served, started) = tokio::join!(server.serve_forever(), handle.started());
            let error = served.unwrap_err();
            assert!(matches!(error, ServeError::ServiceInit(_)), "{error:?}");
            assert_eq!(source(&error), format!("panicked: {message}"));
            assert_eq!(started, Err(StartError::Ended));
        }
        TestServer::start(server).await.stop().await.unwrap();
    }
}
