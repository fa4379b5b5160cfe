//! Awaited by those that it waits for: handlers, background tasks, exit actions.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbox_server::ContextVar;
use tokio::sync::{Notify, Semaphore, mpsc};

use super::{HOUR, Own, with_init};
use crate::common::*;
use crate::{contract, paused};

/// Lives as long as its handler.
static LAST_WILL: ContextVar<Arc<ShutsDown>> = ContextVar::new("last will");

/// Polls a shutdown when it is dropped, and does not await it.
struct ShutsDown(Own);

impl Drop for ShutsDown {
    fn drop(&mut self) {
        let handle = self.0.handle();
        assert!(poll_now(&mut pin!(handle.shutdown())).is_pending());
    }
}

contract! {
    async fn v11_a_handler_can_wait_for_its_beginning(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                let token = client.drain_token();
                assert!(!token.has_begun());
                token.begun().await;
                client.send("bye".into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        server.handle.drain(HOUR).await;
        assert_eq!(peer.recv_text().await, "bye");
        assert_eq!(server.handle.stats().handlers_returned, 1);
        server.stop().await.unwrap();
    }

    async fn v4_a_handler_that_awaits_it_does_not_hold_the_grace(world: World) {
        let (own, go) = (Own::default(), Arc::new(Semaphore::new(0)));
        let (owns, goes) = (own.clone(), Arc::clone(&go));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let (own, go) = (owns.clone(), Arc::clone(&goes));
                async move {
                    client.send(requests.recv().await?).await?;
                    go.acquire().await?.forget();
                    own.handle().shutdown().await;
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        own.set(&server.handle);
        // Two of them: each waits, and for nobody.
        for _ in 0..2 {
            assert_eq!(world.peer(server.addr).await.ask("busy").await, "busy");
        }
        go.add_permits(2);
        server.serving.await.unwrap().unwrap();
        assert_eq!(server.handle.stats().handlers_cancelled, 2);
    }

    async fn v4_handlers_that_await_it_do_not_hold_it_also_when_others_do(world: World) {
        let (own, go) = (Own::default(), Arc::new(Notify::new()));
        let (owns, goes) = (own.clone(), Arc::clone(&go));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let (own, go) = (owns.clone(), Arc::clone(&goes));
                async move {
                    let request = requests.recv().await?;
                    client.send(request.clone()).await?;
                    if request == "stop" {
                        own.handle().shutdown().await;
                    } else {
                        requests.recv().await.unwrap_err();
                        client.send("told".into()).await?;
                        go.notified().await;
                        client.send("goodbye".into()).await?;
                    }
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        own.set(&server.handle);
        let (waits, stops) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(waits.ask("waits").await, "waits");
        assert_eq!(stops.ask("stop").await, "stop");
        assert_eq!(waits.recv_text().await, "told");
        go.notify_one(); // the last one that is waited for
        server.serving.await.unwrap().unwrap();
        assert_eq!(waits.recv_text().await, "goodbye");
        let stats = server.handle.stats();
        assert_eq!((stats.handlers_returned, stats.handlers_cancelled), (1, 1));
    }

    async fn v4_a_handler_that_no_longer_awaits_it_has_its_grace(world: World) {
        let (own, go) = (Own::default(), Arc::new(Notify::new()));
        let (owns, goes) = (own.clone(), Arc::clone(&go));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let (own, go) = (owns.clone(), Arc::clone(&goes));
                async move {
                    client.send(requests.recv().await?).await?;
                    begin(&mut pin!(own.handle().shutdown())).await;
                    let (mut gone, mut polls) = (pin!(go.notified()), 0);
                    poll_fn(|cx| {
                        polls += 1;
                        if polls == 2 {
                            client.try_send("polled as it closes".into()).unwrap();
                        }
                        gone.as_mut().poll(cx)
                    })
                    .await;
                    client.send("goodbye".into()).await?;
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        own.set(&server.handle);
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("stop").await, "stop");
        assert_eq!(peer.recv_text().await, "polled as it closes");
        go.notify_one();
        server.serving.await.unwrap().unwrap();
        assert_eq!(peer.recv_text().await, "goodbye");
        assert_eq!(server.handle.stats().handlers_returned, 1);
    }

    async fn v4_a_handler_whose_end_awaits_it_costs_no_other_its_grace(world: World) {
        let (own, go) = (Own::default(), Arc::new(Notify::new()));
        let (owns, goes) = (own.clone(), Arc::clone(&go));
        let builder = raw_server(move |client, mut requests| {
            let (own, go) = (owns.clone(), Arc::clone(&goes));
            async move {
                let request = requests.recv().await?;
                client.send(request.clone()).await?;
                if request == "ends first" {
                    LAST_WILL.set(Arc::new(ShutsDown(own)));
                    requests.recv().await.unwrap_err();
                } else {
                    requests.recv().await.unwrap_err();
                    client.send("told".into()).await?;
                    go.notified().await;
                    client.send("goodbye".into()).await?;
                }
                Ok(())
            }
        });
        let server = world.serve(builder.grace(HOUR)).await;
        own.set(&server.handle);
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(first.ask("ends first").await, "ends first");
        assert_eq!(second.ask("waits").await, "waits");
        begin(&mut pin!(server.handle.shutdown())).await;
        assert_eq!(second.recv_text().await, "told");
        go.notify_one();
        server.serving.await.unwrap().unwrap();
        assert_eq!(server.handle.stats().handlers_cancelled, 0);
        assert_eq!(second.recv_text().await, "goodbye");
    }

    async fn v4_a_background_task_that_awaits_it_does_not_hold_it(world: World) {
        let server = world
            .bind(with_init(|service| {
                let handle = service.handle();
                service.spawn(async move {
                    handle.started().await.unwrap();
                    handle.shutdown().await;
                });
                Box::pin(async { Ok(()) })
            }))
            .await;
        server.serve_forever().await.unwrap();
    }

    async fn v4_an_exit_action_that_calls_it_does_not_deadlock(world: World) {
        let (said, mut says) = mpsc::unbounded_channel();
        let server = world
            .serve(with_init(move |service| {
                let (sync, asynchronous) = (service.handle(), service.handle());
                let (said, says) = (said.clone(), said.clone());
                service.on_exit(move || {
                    sync.blocking_shutdown();
                    said.send("sync").unwrap();
                });
                service.on_exit_async(move || async move {
                    tokio::task::yield_now().await;
                    asynchronous.shutdown().await;
                    says.send("async").unwrap();
                });
                Box::pin(async { Ok(()) })
            }))
            .await;
        server.handle.shutdown().await;
        assert_eq!(says.recv().await, Some("async"));
        assert_eq!(says.recv().await, Some("sync"));
        server.stop().await.unwrap();
    }

    async fn v4_a_handler_that_never_yields_is_named_in_the_log(world: World) {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (entered, has_entered) = std::sync::mpsc::channel::<()>();
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let (held, entered) = (Arc::clone(&held), entered.clone());
                async move {
                    let request = requests.recv().await?;
                    if request == "waits" {
                        client.send(request).await?;
                        requests.recv().await.unwrap_err();
                        return Ok(());
                    }
                    entered.send(())?;
                    let _ = held.lock().unwrap().recv(); // the thread itself waits
                    Ok(())
                }
            }).grace(Duration::ZERO))
            .await;
        let (waits, peer) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(waits.ask("waits").await, "waits"); // which is not holding it
        // Watches from a thread of its own: on one thread, this task waits as well.
        let (logs, handle) = (world.logs.clone(), server.handle.clone());
        let watching = std::thread::spawn(move || {
            has_entered.recv().unwrap();
            let shutdown = std::thread::spawn(move || handle.blocking_shutdown());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let records = runtime.unwrap().block_on(logs.wait_for_held());
            hold.send(()).unwrap();
            shutdown.join().unwrap();
            records
        });
        peer.send("x").await;
        let records = tokio::task::spawn_blocking(|| watching.join().unwrap()).await.unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].level, tracing::Level::WARN);
        assert!(records[0].fields.contains(&format!("client={}", peer.addr())), "{records:?}");
        server.serving.await.unwrap().unwrap();
    }

    async fn v4_serving_again_first_handles_what_the_kernel_kept(world: World) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let go = Arc::new(Notify::new());
        let (sees, goes) = (Arc::clone(&seen), Arc::clone(&go));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let (seen, go) = (Arc::clone(&sees), Arc::clone(&goes));
                async move {
                    let request = requests.recv().await?;
                    seen.lock().unwrap().push(request.clone());
                    client.send(request.clone()).await?;
                    if request == "busy" {
                        requests.recv().await.unwrap_err();
                        client.send("told".into()).await?;
                        go.notified().await;
                    }
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        let handle = server.handle.clone();
        let peers = [world.peer(server.addr).await, world.peer(server.addr).await];
        assert_eq!(peers[0].ask("busy").await, "busy");
        let mut shutdown = pin!(handle.shutdown());
        begin(&mut shutdown).await;
        assert_eq!(peers[0].recv_text().await, "told");
        // Within the grace: a server that shuts down takes nothing more out of the socket.
        peers[0].send("in the grace").await;
        peers[1].send("in the grace, too").await;
        go.notify_one();
        shutdown.await;
        server.serving.await.unwrap().unwrap();
        peers[1].send("in between").await;
        assert_eq!(handle.stats().received, 1);

        let server = TestServer::start(server.server).await;
        assert_eq!(peers[0].recv_text().await, "in the grace");
        assert_eq!(peers[1].recv_text().await, "in the grace, too");
        assert_eq!(peers[1].recv_text().await, "in between");
        assert_eq!(peers[0].ask("later").await, "later");
        assert_eq!(
            *seen.lock().unwrap(),
            ["busy", "in the grace", "in the grace, too", "in between", "later"]
        );
        server.stop().await.unwrap();
    }
}

paused! {
    async fn v4_a_handler_that_awaits_it_costs_no_time(world: World) {
        let own = Own::default();
        let owns = own.clone();
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let own = owns.clone();
                async move {
                    let request = requests.recv().await?;
                    client.send(request.clone()).await?;
                    match &request[..] {
                        b"stop" => own.handle().shutdown().await,
                        b"joined" => {
                            // Woken for another reason meanwhile, it still waits for the shutdown.
                            let sleep = tokio::time::sleep(Duration::from_millis(1));
                            let handle = own.handle();
                            tokio::join!(handle.shutdown(), sleep);
                        }
                        _ => tokio::time::sleep(Duration::from_millis(300)).await,
                    }
                    Ok(())
                }
            }))
            .await;
        own.set(&server.handle);
        let mut server = server;
        for (first, expected) in [("stop", 0), ("joined", 0), ("sleeps", 300)] {
            let begin = tokio::time::Instant::now();
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask(first).await, first);
            if first == "sleeps" {
                let peer = world.peer(server.addr).await;
                assert_eq!(peer.ask("stop").await, "stop");
            }
            server.serving.await.unwrap().unwrap();
            assert_eq!(begin.elapsed().as_millis(), expected, "{first}");
            server = TestServer::start(server.server).await;
        }
        server.stop().await.unwrap();
    }
}

/// Runs another server on this thread, within one poll of a handler.
fn run_another(world: &World) {
    tokio::task::block_in_place(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let another = world.serve(echo()).await;
            let peer = world.peer(another.addr).await;
            assert_eq!(peer.ask("another").await, "another");
            another.stop().await.unwrap();
        });
    });
}

/// Only on the multi-thread runtime may a handler block its thread.
#[test]
fn v4_a_handler_that_awaits_it_and_runs_another_server_does_not_hold_the_grace() {
    run(Kind::Memory, Rt::Multi, |world| async move {
        let (own, go) = (Own::default(), Arc::new(Notify::new()));
        let done = Arc::new(Notify::new());
        let (owns, gates, inner) = (own.clone(), [&go, &done].map(Arc::clone), world.clone());
        let builder = raw_server(move |client, mut requests| {
            let (own, [go, done], world) = (owns.clone(), gates.clone(), inner.clone());
            async move {
                let request = requests.recv().await?;
                client.send(request.clone()).await?;
                if request == "waits" {
                    requests.recv().await.unwrap_err();
                    client.send("told".into()).await?;
                    done.notified().await;
                    return Ok(());
                }
                let handle = own.handle();
                let another = async {
                    go.notified().await;
                    run_another(&world);
                    done.notify_one();
                };
                tokio::join!(biased; handle.shutdown(), another);
                Ok(())
            }
        });
        let server = world.serve(builder.grace(HOUR)).await;
        own.set(&server.handle);
        let (waits, stops) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(waits.ask("waits").await, "waits");
        assert_eq!(stops.ask("stop").await, "stop");
        assert_eq!(waits.recv_text().await, "told");
        // All have been polled by now for the shutdown.
        go.notify_one();
        server.serving.await.unwrap().unwrap();
        assert_eq!(server.handle.stats().handlers_cancelled, 1);
    });
}
