//! Exit actions: when they run, in which order, and what their failures do.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{FlushError, Limits, SendError, ServiceScope};
use tokio::sync::Notify;
use tracing::Level;

use crate::common::service::*;
use crate::common::*;
use crate::contract;

/// An exit action for the journal.
fn note(service: &mut ServiceScope, journal: &Journal, entry: &'static str) {
    let journal = journal.clone();
    service.on_exit(move || journal.add(entry));
}

contract! {
    async fn s2_exit_actions_sync_and_async_run_in_reverse_order(world: World) {
        let journal = Journal::default();
        let registered = journal.clone();
        let server = world.serve(echo_with_init(move |service| {
            let journals: [Journal; 4] = std::array::from_fn(|_| registered.clone());
            let [one, two, three, four] = journals;
            service.on_exit(move || one.add("1"));
            service.on_exit_async(move || async move {
                tokio::task::yield_now().await;
                two.add("2");
            });
            service.on_exit(move || {
                three.add("3");
                Ok::<_, std::io::Error>(())
            });
            service.on_exit_async(move || async move {
                four.add("4 begins");
                tokio::task::yield_now().await;
                four.add("4 ends");
                Ok::<_, std::io::Error>(())
            });
            Box::pin(async { Ok(()) })
        })).await;
        assert_eq!(journal.entries(), [""; 0], "not before serving stops");
        let expected = ["4 begins", "4 ends", "3", "2", "1"];
        server.handle.shutdown().await;
        assert_eq!(journal.entries(), expected);

        // Each serving registers its own.
        let server = TestServer::start(server.server).await;
        server.stop().await.unwrap();
        assert_eq!(journal.entries(), [expected, expected].concat());
    }

    async fn s2_exit_actions_run_after_the_last_handler_ended(world: World) {
        let journal = Journal::default();
        let (exit, handler) = (journal.clone(), journal.clone());
        let builder = server_with_init(
            move |service| {
                note(service, &exit, "exit");
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                let ended = handler.on_drop("handler ended");
                async move {
                    let _ended = ended;
                    let request = requests.recv().await?;
                    client.send(request.clone()).await?;
                    if request == "polite" {
                        assert!(requests.recv().await.is_err());
                        for _ in 0..50 {
                            tokio::task::yield_now().await;
                        }
                        return Ok(());
                    }
                    std::future::pending().await // and has to be cancelled
                }
            },
        );
        let builder = builder.workers(2).grace(Duration::from_millis(20));
        let server = world.serve(builder).await;
        let mut peers = Vec::new();
        for text in ["polite", "stubborn", "polite", "stubborn"] {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask(text).await, text);
            peers.push(peer);
        }
        server.stop().await.unwrap();
        let ended = "handler ended";
        assert_eq!(journal.entries(), [ended, ended, ended, ended, "exit"]);
    }

    async fn s2_exit_actions_run_when_service_init_fails_half_way(world: World) {
        for ends_by in ["error", "panic", "panic before the future", "shutdown"] {
            let journal = Journal::default();
            let registered = journal.clone();
            let server = world.bind(echo_with_init(move |service| {
                let journal = registered.clone();
                if ends_by == "panic before the future" {
                    note(service, &journal, "1");
                    note(service, &journal, "2");
                    panic!("half way");
                }
                Box::pin(async move {
                    note(service, &journal, "1");
                    tokio::task::yield_now().await;
                    note(service, &journal, "2");
                    match ends_by {
                        "error" => return Err("half way".into()),
                        "panic" => panic!("half way"),
                        _ => service.handle().shutdown().await,
                    }
                    note(service, &journal, "3");
                    Ok(())
                })
            })).await;
            assert_eq!(server.serve_forever().await.is_ok(), ends_by == "shutdown");
            assert_eq!(journal.entries(), ["2", "1"], "{ends_by}");
        }
    }

    async fn s2_background_tasks_are_stopped_by_an_exit_action_at_the_place_of_the_first_spawn(world: World) {
        for by_spawner in [false, true] {
            let journal = Journal::default();
            let registered = journal.clone();
            let server = world.serve(echo_with_init(move |service| {
                let journal = registered.clone();
                Box::pin(async move {
                    let spawner = by_spawner.then(|| {
                        note(service, &journal, "before");
                        service.spawner()
                    });
                    if spawner.is_none() {
                        note(service, &journal, "before");
                        let ended = journal.on_drop("task ended");
                        service.spawn(async move {
                            let _ended = ended;
                            std::future::pending::<()>().await;
                        });
                    }
                    note(service, &journal, "between");
                    let ended = journal.on_drop("task ended");
                    service.spawn(async move {
                        let _ended = ended;
                        std::future::pending::<()>().await;
                    });
                    note(service, &journal, "after");
                    if let Some(spawner) = spawner {
                        let ended = journal.on_drop("task ended");
                        spawner.spawn(async move {
                            let _ended = ended;
                            std::future::pending::<()>().await;
                        });
                    }
                    Ok(())
                })
            })).await;
            server.stop().await.unwrap();
            let expected = ["after", "between", "task ended", "task ended", "before"];
            assert_eq!(journal.entries(), expected);
        }
    }

    async fn s2_a_failing_or_panicking_exit_action_is_logged_and_the_others_run(world: World) {
        struct PanicsWhenDropped;
        impl Future for PanicsWhenDropped {
            type Output = ();
            fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
                Poll::Ready(())
            }
        }
        impl Drop for PanicsWhenDropped {
            fn drop(&mut self) {
                panic!("in the drop");
            }
        }
        let journal = Journal::default();
        let registered = journal.clone();
        let server = world.serve(echo_with_init(move |service| {
            note(service, &registered, "last");
            service.on_exit_async(|| PanicsWhenDropped);
            service.on_exit_async(|| async {
                tokio::task::yield_now().await;
                panic!("in the future")
            });
            service.on_exit_async(|| -> std::future::Ready<()> { panic!("before the future") });
            service.on_exit_async(|| async { Err::<(), _>("failed async") });
            note(service, &registered, "middle");
            service.on_exit(|| panic!("in the call"));
            service.on_exit(|| Err::<(), _>("failed sync"));
            note(service, &registered, "first");
            Box::pin(async { Ok(()) })
        })).await;
        server.stop().await.unwrap();
        assert_eq!(journal.entries(), ["first", "middle", "last"]);
        let logs = world.logs.take();
        assert!(logs.iter().all(|record| record.level == Level::ERROR));
        let texts: Vec<_> = logs.iter().map(|record| &record.message[..]).collect();
        let expected = [
            "failed sync",
            "panicked: in the call",
            "failed async",
            "panicked: before the future",
            "panicked: in the future",
            "panicked: in the drop",
        ];
        assert_eq!(texts, expected.map(|text| format!("an exit action failed: {text}")));
    }

    async fn s2_an_exit_action_that_takes_too_long_is_logged_and_the_others_run(world: World) {
        let journal = Journal::default();
        let registered = journal.clone();
        let builder = echo_with_init(move |service| {
            note(service, &registered, "sync");
            let ready = registered.clone();
            service.on_exit_async(move || async move { ready.add("ready at once") });
            for _ in 0..2 {
                let dropped = registered.on_drop("dropped");
                service.on_exit_async(move || async move {
                    let _dropped = dropped;
                    std::future::pending::<()>().await;
                });
            }
            Box::pin(async { Ok(()) })
        });
        let exit = Duration::from_millis(20);
        let server = world.serve(builder.limits(Limits::default().exit(exit))).await;
        let begin = std::time::Instant::now();
        server.stop().await.unwrap();
        assert!(begin.elapsed() >= exit, "never early");
        assert_eq!(journal.entries(), ["dropped", "dropped", "ready at once", "sync"]);
        let late = "an exit action failed: exit actions did not end within 20ms";
        let texts: Vec<_> = world.logs.take().into_iter().map(|record| record.message).collect();
        assert_eq!(texts, [late, late]);
    }

    async fn s2_every_client_is_closed_when_exit_actions_run(world: World) {
        let kept = Arc::new(Mutex::new(None));
        let (client, journal) = (Arc::clone(&kept), Journal::default());
        let exits = journal.clone();
        let builder = server_with_init(
            move |service| {
                let (client, exits) = (Arc::clone(&client), exits.clone());
                service.on_exit_async(move || async move {
                    let client: postbox_server::Client<Bytes> = client.lock().unwrap().take().unwrap();
                    let sent = client.send("late".into()).await;
                    assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
                    let sent = client.send_datagram("late").await;
                    assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
                    let sent = client.try_send("late".into());
                    assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
                    let flushed = client.flush().await;
                    assert!(matches!(flushed, Err(FlushError::Closed)), "{flushed:?}");
                    assert!(client.is_closing());
                    exits.add("closed");
                });
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                *kept.lock().unwrap() = Some(client.clone());
                async move {
                    client.send(requests.recv().await?).await?;
                    requests.recv().await?;
                    Ok(())
                }
            },
        );
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        server.stop().await.unwrap();
        assert_eq!(journal.entries(), ["closed"]);
        assert!(peer.is_quiet());
    }
}

/// With a paused clock, which only one kind of runtime has, the deadline is seen to be one for all.
#[test]
fn s2_the_deadline_is_one_for_all_exit_actions() {
    run(Kind::Memory, Rt::Current, |world| async move {
        tokio::time::pause();
        let journal = Journal::default();
        let registered = journal.clone();
        let server = world
            .serve(echo_with_init(move |service| {
                for entry in ["third", "second", "first"] {
                    let journal = registered.clone();
                    service.on_exit_async(move || async move {
                        tokio::time::sleep(Duration::from_secs(6)).await;
                        journal.add(entry);
                    });
                }
                Box::pin(async { Ok(()) })
            }))
            .await;
        let begin = tokio::time::Instant::now();
        server.stop().await.unwrap();
        assert_eq!(begin.elapsed().as_secs(), 10);
        assert_eq!(journal.entries(), ["first"]);
        assert_eq!(world.logs.take().len(), 2);
    });
}

/// Needs a second thread: a task that never yields holds the only one of the other kind of runtime.
#[test]
fn s2_a_background_task_that_never_yields_is_left_behind_at_the_deadline() {
    run(Kind::Memory, Rt::Multi, |world| async move {
        let begin = Arc::new(Notify::new());
        let [waits, blocks]: [Arc<AtomicBool>; 2] = Default::default();
        let (waiting, begins, blocked) =
            (Arc::clone(&waits), Arc::clone(&begin), Arc::clone(&blocks));
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Mutex::new(Some(released));
        let builder = echo_with_init(move |service| {
            let (waiting, begins) = (Arc::clone(&waiting), Arc::clone(&begins));
            let (blocked, released) = (Arc::clone(&blocked), released.lock().unwrap().take());
            service.spawn(async move {
                let mut begun = pin!(begins.notified());
                poll_fn(|cx| {
                    let poll = begun.as_mut().poll(cx);
                    waiting.store(true, Ordering::Release);
                    poll
                })
                .await;
                blocked.store(true, Ordering::Release);
                released.unwrap().recv().unwrap();
            });
            Box::pin(async { Ok(()) })
        });
        let exit = Duration::from_millis(20);
        let limits = Limits::default().exit(exit);
        let server = world.serve(builder.limits(limits)).await;
        // A thread that is not the runtime's does the rest, so that the one that will be blocked
        // has nothing else to do, not even this test: that would never be done.
        let handle = server.handle.clone();
        let stopping = std::thread::spawn(move || {
            while !waits.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            begin.notify_one();
            while !blocks.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            handle.blocking_shutdown();
            release
        });
        server.serving.await.unwrap().unwrap();
        let late = "an exit action failed: exit actions did not end within 20ms";
        assert_eq!(world.logs.take()[0].message, late);
        stopping.join().unwrap().send(()).unwrap();
    });
}
