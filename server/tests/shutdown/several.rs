//! A shutdown where more than one is concerned: handlers of one batch, servers within servers.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postbox_server::{BoxError, ServerHandle};
use tokio::sync::{Notify, mpsc};

use super::{HOUR, Own, told, with_init};
use crate::common::*;
use crate::contract;

contract! {
    // The one that began it goes on, so that nothing but the shutdown itself can tell the next one.
    async fn v4_from_its_start_no_handler_begins_though_the_one_that_began_it_goes_on(world: World) {
        let (own, begun) = (Own::default(), Arc::new(AtomicUsize::new(0)));
        let (owns, begins) = (own.clone(), Arc::clone(&begun));
        let server = world
            .bind(raw_server(move |_, _| {
                begins.fetch_add(1, Ordering::SeqCst);
                let own = owns.clone();
                async move {
                    own.handle().shutdown().await;
                    Ok(())
                }
            }))
            .await;
        own.set(&server.handle());
        let addr = server.handle().addresses()[0];
        // In one batch: they are there before anybody receives.
        for _ in 0..3 {
            world.peer(addr).await.send("x").await;
        }
        server.serve_forever().await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        let stats = server.handle().stats();
        assert_eq!((stats.received, stats.dropped_shutdown, stats.handed_out), (3, 3, 0));
        assert_eq!(stats.handlers_cancelled, 1);
    }

    async fn v4_a_handler_that_awaits_another_servers_shutdown_has_its_grace(world: World) {
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let other = world
            .serve(raw_server(move |client, mut requests| {
                let go = Arc::clone(&goes);
                async move {
                    client.send(requests.recv().await?).await?;
                    go.notified().await;
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        let holds = world.peer(other.addr).await;
        assert_eq!(holds.ask("holds the other").await, "holds the other");
        let its = other.handle.clone();
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let its = its.clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    client.send(told(requests.recv().await)).await?;
                    its.shutdown().await;
                    client.send("the other has ended".into()).await?;
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        let handle = server.handle.clone();
        let mut shutdown = pin!(handle.shutdown());
        begin(&mut shutdown).await;
        assert_eq!(peer.recv_text().await, "closed");
        // It has asked the other one to end, and waits for that: for longer than it takes to be
        // cancelled.
        while other.handle.is_serving() {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            begin(&mut shutdown).await;
            tokio::task::yield_now().await;
        }
        go.notify_one();
        shutdown.await;
        assert_eq!(peer.recv_text().await, "the other has ended");
        assert_eq!(server.handle.stats().handlers_returned, 1);
        server.stop().await.unwrap();
        other.stop().await.unwrap();
    }

    // The other server's exit actions run on the same thread, in the midst of this one's.
    async fn v4_an_exit_action_that_served_another_server_may_still_shut_down_its_own(world: World) {
        let (said, mut says) = mpsc::unbounded_channel();
        let within = world.clone();
        let server = world
            .serve(with_init(move |service| {
                let (own, said, world) = (service.handle(), said.clone(), within.clone());
                service.on_exit_async(move || async move {
                    serves_another(&world).await?;
                    own.shutdown().await;
                    own.close().await;
                    said.send("its own").unwrap();
                    Ok::<_, BoxError>(())
                });
                Box::pin(async { Ok(()) })
            }))
            .await;
        server.handle.shutdown().await;
        assert_eq!(says.recv().await, Some("its own"));
        assert!(!server.handle.is_listening());
        server.stop().await.unwrap();
    }
}

/// Serves another server for a moment, exit actions included.
async fn serves_another(world: &World) -> Result<(), BoxError> {
    let other = world
        .bind(with_init(|service| {
            let handle: ServerHandle = service.handle();
            service.on_exit(move || handle.blocking_shutdown());
            service.on_exit_async(|| async { tokio::task::yield_now().await });
            Box::pin(async { Ok(()) })
        }))
        .await;
    let handle = other.handle();
    other
        .serve_until(async move { handle.started().await })
        .await?;
    Ok(())
}

/// Where no runtime is left the exit actions run as what remains is dropped.
#[test]
fn v4_an_exit_action_that_runs_without_its_runtime_may_shut_down_its_own_server() {
    let (said, says) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let network = postbox_server::MemoryNetwork::new();
    let builder = with_init(move |service| {
        let (own, said) = (service.handle(), said.clone());
        service.on_exit(move || {
            own.blocking_shutdown();
            said.send("returned").unwrap();
        });
        Box::pin(async { Ok(()) })
    });
    let server = builder
        .bind_memory(&network, "127.0.0.1:0".parse().unwrap())
        .unwrap();
    runtime.spawn(server.serve_forever());
    runtime.block_on(server.handle().started()).unwrap();
    // In a thread of its own: one that waits for itself would never come back.
    std::thread::spawn(move || drop(runtime));
    let returned = says.recv_timeout(HANG);
    assert_eq!(returned, Ok("returned"));
}
