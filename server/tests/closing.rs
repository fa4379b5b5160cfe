//! V5: closing a server, for good.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use crate::common::*;
use crate::contract;

use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::service::echo_with_init;
use bytes::Bytes;
use postbox_server::{
    Client, FlushError, RecvError, Requests, SendError, ServeError, ServerHandle, StartError,
};
use tokio::sync::{Notify, mpsc};

const HOUR: Duration = Duration::from_secs(3600);

/// Binds an address that must be free, and frees it again.
async fn rebind(world: &World, addrs: &[SocketAddr]) {
    for addr in addrs {
        world.bind_to(echo(), *addr).await.close().await;
    }
}

contract! {
    async fn v5_close_does_not_wait_for_a_serving_that_was_never_polled(world: World) {
        let server = world.bind_alone(echo()).await;
        let addr = server.handle().addresses()[0];
        let held = server.serve_forever();
        server.close().await;
        let again = world.bind_to(echo(), addr).await;
        let held = held.await;
        assert!(matches!(held, Err(ServeError::Closed)), "{held:?}");
        again.close().await;
    }

    async fn v5_close_is_idempotent(world: World) {
        let server = world.bind_alone(echo()).await;
        let handle = server.handle();
        for _ in 0..3 {
            server.close().await;
            handle.close().await;
            assert!(!handle.is_listening() && !handle.is_serving());
        }
        drop(server);
        handle.close().await;
    }

    async fn v5_a_closed_server_tells_what_its_transport_could_do(world: World) {
        let server = world.bind(echo()).await;
        let handle = server.handle();
        let before = handle.capabilities();
        server.close().await;
        assert_eq!(handle.capabilities(), before);
    }

    async fn v5_close_while_serving_ends_serving_and_frees_the_port(world: World) {
        let server = world.serve_alone(echo()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        server.handle.close().await;
        rebind(&world, &[server.addr]).await;
        server.serving.await.unwrap().unwrap();
    }

    async fn v5_close_frees_the_port_of_a_server_that_never_served_or_no_longer_does(world: World) {
        let server = world.bind_alone(echo()).await;
        let addrs = server.handle().addresses();
        server.close().await;
        rebind(&world, &addrs).await;

        let server = world.serve_alone(echo()).await;
        server.handle.shutdown().await;
        server.serving.await.unwrap().unwrap();
        server.handle.close().await;
        rebind(&world, &[server.addr]).await;
    }

    async fn v5_close_frees_every_port_of_several_workers(world: World) {
        let server = world.bind_alone(echo().workers(3)).await;
        let test = TestServer::start(server).await;
        test.handle.close().await;
        rebind(&world, &[test.addr]).await;
        test.serving.await.unwrap().unwrap();
    }

    async fn v5_the_port_is_free_whatever_clients_requests_and_handles_live(world: World) {
        let (give, mut taken) = mpsc::unbounded_channel::<(Client<Bytes>, Requests<Bytes>)>();
        let server = world
            .serve_alone(raw_server(move |client, mut requests| {
                let give = give.clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    give.send((client, requests))?;
                    pending().await
                }
            }).grace(Duration::ZERO))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        let (client, mut requests) = taken.recv().await.unwrap();
        peer.send("queued").await;
        server.queued(1).await;
        let options = server.handle.sockets();
        let others: Vec<ServerHandle> = (0..3).map(|_| server.handle.clone()).collect();
        let more = (client.clone(), server.server.handle());

        server.handle.close().await;
        rebind(&world, &[server.addr]).await;

        // What still lives tells that it is over.
        assert!(matches!(client.send("late".into()).await, Err(SendError::Closed)));
        assert!(matches!(client.try_send("late".into()), Err(SendError::Closed)));
        assert!(matches!(more.0.send_datagram("late").await, Err(SendError::Closed)));
        assert!(matches!(client.flush().await, Err(FlushError::Closed)));
        assert!(matches!(requests.recv().await, Err(RecvError::Closed)));
        assert!(client.is_closing());
        for handle in &others {
            assert!(!handle.is_listening() && handle.addresses().is_empty());
            assert_eq!(handle.started().await, Err(StartError::Closed));
        }
        assert!(options.iter().all(|socket| socket.local_addr().is_err()));
        assert!(more.1.sockets().is_empty());
        server.serving.await.unwrap().unwrap();
    }

    // A thread that looks at an option has the socket in hand, for the time of a system call.
    on udp, plain;
    async fn v5_the_port_is_free_also_while_a_thread_looks_at_the_sockets_options(world: World) {
        for _ in 0..10 {
            let server = world.bind_alone(echo()).await;
            let addrs = server.handle().addresses();
            let [options] = &server.handle().sockets()[..] else { panic!("one socket") };
            let options = options.clone();
            let (looks, has_looked) = std::sync::mpsc::channel();
            let looking = std::thread::spawn(move || {
                while options.recv_buffer_size().is_ok() {
                    let _ = looks.send(());
                }
            });
            has_looked.recv().unwrap();
            server.close().await;
            rebind(&world, &addrs).await;
            looking.join().unwrap();
        }
    }

    async fn v5_a_closed_server_never_serves_again(world: World) {
        let server = world.serve_alone(echo()).await;
        server.handle.close().await;
        server.serving.await.unwrap().unwrap();
        assert!(matches!(server.server.serve_forever().await, Err(ServeError::Closed)));
        assert!(!server.handle.is_listening());
    }

    async fn v5_close_is_a_shutdown_with_its_grace(world: World) {
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let server = world
            .serve_alone(raw_server(move |client, mut requests| {
                let go = Arc::clone(&goes);
                async move {
                    client.send(requests.recv().await?).await?;
                    assert!(matches!(requests.recv().await, Err(RecvError::Closed)));
                    client.send("told".into()).await?;
                    go.notified().await;
                    client.send("goodbye".into()).await?;
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        let handle = server.handle.clone();
        let mut close = pin!(handle.close());
        begin(&mut close).await;
        assert_eq!(peer.recv_text().await, "told");
        go.notify_one();
        close.await;
        assert_eq!(peer.recv_text().await, "goodbye");
        assert_eq!(handle.stats().handlers_returned, 1);
        server.serving.await.unwrap().unwrap();
    }

    async fn v5_close_is_complete_even_if_its_caller_is_cancelled(world: World) {
        let server = world
            .serve_alone(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                requests.recv().await.unwrap_err();
                client.send("goodbye".into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        let _ = poll_once(&mut pin!(server.handle.close())).await;
        server.serving.await.unwrap().unwrap();
        assert_eq!(peer.recv_text().await, "goodbye");
        assert!(!server.handle.is_listening());
        rebind(&world, &[server.addr]).await;
        assert!(matches!(server.server.serve_forever().await, Err(ServeError::Closed)));
    }

    async fn v5_closes_and_shutdowns_at_once_all_return(world: World) {
        let server = world.serve_alone(echo()).await;
        let mut callers = tokio::task::JoinSet::new();
        for number in 0..10 {
            let handle = server.handle.clone();
            callers.spawn(async move {
                if number % 2 == 0 {
                    handle.close().await;
                } else {
                    handle.shutdown().await;
                }
            });
        }
        while let Some(returned) = callers.join_next().await {
            returned.unwrap();
        }
        rebind(&world, &[server.addr]).await;
        server.serving.await.unwrap().unwrap();
    }

    async fn v5_close_works_from_a_thread_and_from_a_handler(world: World) {
        let server = world.serve_alone(echo()).await;
        let handle = server.handle.clone();
        let closing = tokio::task::spawn_blocking(move || handle.blocking_close());
        closing.await.unwrap();
        rebind(&world, &[server.addr]).await;
        server.serving.await.unwrap().unwrap();

        let own = Arc::new(Mutex::new(None::<ServerHandle>));
        let owns = Arc::clone(&own);
        let server = world
            .serve_alone(raw_server(move |_, mut requests| {
                let handle = owns.lock().unwrap().clone().unwrap();
                async move {
                    requests.recv().await?;
                    handle.close().await; // it does not hold the grace
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        *own.lock().unwrap() = Some(server.handle.clone());
        world.peer(server.addr).await.send("x").await;
        server.serving.await.unwrap().unwrap();
        rebind(&world, &[server.addr]).await;
    }

    async fn v5_close_after_the_serving_future_was_dropped_waits_for_its_end(world: World) {
        let exited = Arc::new(AtomicUsize::new(0));
        let exits = Arc::clone(&exited);
        let server = world.serve_alone(echo_with_init(move |service| {
                let exits = Arc::clone(&exits);
                service.on_exit_async(move || async move {
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    exits.fetch_add(1, Ordering::SeqCst);
                });
                Box::pin(async { Ok(()) })
            })).await;
        server.serving.abort();
        server.serving.await.unwrap_err();
        server.handle.close().await;
        assert_eq!(exited.load(Ordering::SeqCst), 1);
        rebind(&world, &[server.addr]).await;
    }

    async fn v5_an_exit_action_that_closes_does_not_deadlock(world: World) {
        let server = world.serve_alone(echo_with_init(|service| {
                let handle = service.handle();
                service.on_exit_async(move || async move { handle.close().await });
                Box::pin(async { Ok(()) })
            })).await;
        server.handle.shutdown().await;
        server.serving.await.unwrap().unwrap();
        assert!(!server.handle.is_listening());
        rebind(&world, &[server.addr]).await;
    }

    async fn v5_close_during_service_init_cancels_it_and_closes_the_sockets(world: World) {
        let entered = Arc::new(Notify::new());
        let enters = Arc::clone(&entered);
        let server = world.bind_alone(echo_with_init(move |_| {
                enters.notify_one();
                Box::pin(pending())
            })).await;
        let (handle, addrs) = (server.handle(), server.handle().addresses());
        let serving = tokio::spawn(server.serve_forever());
        entered.notified().await;
        handle.close().await;
        rebind(&world, &addrs).await;
        serving.await.unwrap().unwrap();
    }

    async fn v5_dropping_the_server_closes_it(world: World) {
        let server = world.bind_alone(echo()).await;
        let (handle, addrs) = (server.handle(), server.handle().addresses());
        drop(server);
        assert!(!handle.is_listening());
        rebind(&world, &addrs).await;

        let server = world.serve_alone(echo()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        drop(server.server);
        assert!(!server.handle.is_listening());
        server.serving.await.unwrap().unwrap();
        let [told] = &world.logs.take()[..] else { panic!("one record") };
        // Nobody asked for it, so it is likely a mistake: a function that spawned the serving ended.
        assert_eq!(told.level, tracing::Level::WARN);
        assert_eq!(told.message, "the server was dropped while it served, so it shuts down");
        rebind(&world, &[server.addr]).await;
    }

    async fn v5_dropping_the_server_before_its_task_has_run_is_told_too(world: World) {
        let server = world.bind_alone(echo()).await;
        let serving = server.serve_forever();
        drop(server);
        let served = serving.await;
        assert!(matches!(served, Err(ServeError::Closed)), "{served:?}");
        let [told] = &world.logs.take()[..] else { panic!("one record") };
        assert_eq!(told.level, tracing::Level::WARN);
    }

    async fn v5_dropping_the_serving_and_then_the_server_is_not_told(world: World) {
        let server = world.bind_alone(echo()).await;
        drop(server.serve_forever());
        let handle = server.handle();
        drop(server);
        assert!(!handle.is_listening());

        let server = world.serve_alone(echo()).await;
        server.serving.abort();
        server.serving.await.unwrap_err();
        drop(server.server);
        server.handle.close().await;
        assert!(world.logs.take().is_empty());
    }

    async fn v5_dropping_the_server_while_it_serves_lets_handlers_end(world: World) {
        let server = world
            .serve_alone(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                requests.recv().await.unwrap_err();
                client.send("goodbye".into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        drop(server.server);
        server.serving.await.unwrap().unwrap();
        assert_eq!(peer.recv_text().await, "goodbye");
        assert_eq!(world.logs.take().len(), 1);
    }
}
