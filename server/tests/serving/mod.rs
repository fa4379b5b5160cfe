//! V2, V3, V6, V8 and V9: serving, from the call on, in the background, on several workers.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod background;
mod ending;
#[cfg(all(unix, feature = "signal"))]
mod signal;
mod started;
#[cfg(all(target_os = "linux", feature = "systemd", feature = "signal"))]
mod systemd;
mod turns;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use postbox_server::{BindError, Client, ServeError};
use tokio::sync::Notify;

use crate::common::service::*;
use crate::common::*;
use crate::contract;

contract! {
    async fn v2_a_runtime_without_time_is_a_panic_of_the_call_and_nothing_was_served(world: World) {
        let journal = Journal::default();
        let begun = journal.clone();
        let server = world.bind(echo_with_init(move |_| {
            begun.add("begun");
            Box::pin(async { Ok(()) })
        })).await;
        let serving = server.serve_forever();
        let without_time = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            runtime.unwrap().block_on(serving)
        });
        assert!(without_time.join().is_err(), "it panics");
        assert_eq!(journal.entries(), [""; 0]);
        // On a whole runtime it serves.
        let server = TestServer::start(server).await;
        assert_eq!(world.peer(server.addr).await.ask("hello").await, "hello");
        assert_eq!(journal.entries(), ["begun"]);
        server.stop().await.unwrap();
    }

    async fn v2_a_second_serve_forever_answers_already_running(world: World) {
        let server = world.serve(echo()).await;
        let second = server.server.serve_forever().await;
        assert!(matches!(second, Err(ServeError::AlreadyRunning)), "{second:?}");
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("still").await, "still");
        server.stop().await.unwrap();
    }

    async fn v2_serving_begins_at_the_call_with_nobody_awaiting_started(world: World) {
        let server = world.bind(echo()).await;
        let first = server.serve_forever(); // not polled yet
        let second = server.serve_forever().await;
        assert!(matches!(second, Err(ServeError::AlreadyRunning)), "{second:?}");
        // A shutdown ends the serving that was called, not one that is polled later.
        let handle = server.handle();
        let (shutdown, first) = tokio::join!(handle.shutdown(), first);
        let ((), ()) = (shutdown, first.unwrap());
        // A call that is dropped unpolled leaves nothing behind.
        drop(server.serve_forever());
        TestServer::start(server).await.stop().await.unwrap();
    }

    async fn v2_serve_forever_after_close_answers_closed(world: World) {
        let server = world.bind(echo()).await;
        server.close().await;
        let served = server.serve_forever().await;
        assert!(matches!(served, Err(ServeError::Closed)), "{served:?}");
    }

    async fn v2_serve_forever_runs_until_shutdown_and_serve_until_until_its_signal(world: World) {
        let server = world.bind(echo()).await;
        let (stop, handle) = (Arc::new(Notify::new()), server.handle());
        let signal = Arc::clone(&stop);
        let serving = tokio::spawn(server.serve_until(async move { signal.notified().await }));
        handle.started().await.unwrap();
        let peer = world.peer(handle.addresses()[0]).await;
        assert_eq!(peer.ask("x").await, "x");
        assert!(!serving.is_finished());
        stop.notify_one();
        serving.await.unwrap().unwrap();
        assert!(!handle.is_serving() && handle.is_listening());
    }

    async fn v6_is_serving_and_is_listening_tell_where_the_server_is(world: World) {
        let server = world.bind(echo()).await;
        let handle = server.handle();
        assert!(handle.is_listening() && !handle.is_serving());
        let server = TestServer::start(server).await;
        assert!(handle.is_listening() && handle.is_serving());
        handle.shutdown().await;
        assert!(handle.is_listening() && !handle.is_serving());
        server.serving.await.unwrap().unwrap();
        server.server.close().await;
        assert!(!handle.is_listening() && !handle.is_serving());
    }

    async fn v6_from_its_start_a_shutdown_is_no_serving(world: World) {
        let own = Arc::new(Mutex::new(None::<postbox_server::ServerHandle>));
        let known = Arc::clone(&own);
        let server = world.serve(raw_server(move |client, mut requests| {
            let handle = known.lock().unwrap().clone().unwrap();
            async move {
                requests.recv().await?;
                let before = handle.is_serving();
                let mut shutdown = Box::pin(handle.shutdown());
                let _ = poll_once(&mut shutdown).await;
                let after = handle.is_serving();
                let mut started = Box::pin(handle.started());
                let started = poll_once(&mut started).await.is_ready();
                client.send(format!("{before} {after} {started}").into()).await?;
                Ok(())
            }
        })).await;
        *own.lock().unwrap() = Some(server.handle.clone());
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("shut down").await, "true false false");
        server.stop().await.unwrap();
    }

    async fn v6_addresses_are_empty_when_not_listening(world: World) {
        let server = world.serve(echo()).await;
        assert_eq!(server.handle.addresses(), [server.addr]);
        server.server.close().await;
        assert_eq!(server.handle.addresses(), []);
        server.serving.await.unwrap().unwrap();
    }

    async fn v9_each_client_stays_on_one_worker_and_keeps_its_order(world: World) {
        if world.kind == Kind::Plain && !cfg!(target_os = "linux") {
            return; // one socket a port
        }
        // A client is one server socket and one remote address: were it on two workers, it would
        // have two handlers, and two equal addresses would be unequal clients.
        let seen: Arc<Mutex<HashMap<SocketAddr, Vec<Client<Bytes>>>>> = Arc::default();
        let clients = Arc::clone(&seen);
        let builder = raw_server(move |client: Client<Bytes>, mut requests| {
            let clients = Arc::clone(&clients);
            async move {
                clients.lock().unwrap().entry(client.remote_addr()).or_default().push(client.clone());
                loop {
                    let request = requests.recv().await?;
                    client.send(request.clone()).await?;
                    if request[0] == 9 {
                        return Ok(());
                    }
                }
            }
        });
        let server = world.bind(builder.workers(3)).await;
        let addr = server.handle().addresses()[0];
        let mut peers = Vec::new();
        for _ in 0..60 {
            let peer = world.peer(addr).await;
            peer.send([0]).await; // before serving begins
            peers.push(peer);
        }
        let server = TestServer::start(server).await;
        for step in 1..10_u8 {
            for peer in &peers {
                peer.send([step]).await;
            }
            for peer in &peers {
                assert_eq!(peer.recv().await, [step - 1]);
            }
        }
        for peer in &peers {
            assert_eq!(peer.recv().await, [9]);
        }
        for (remote, runs) in seen.lock().unwrap().iter() {
            assert_eq!(runs.len(), 1, "{remote} had one handler only");
        }
        assert_eq!(server.handle.stats().handed_out, 600);
        server.stop().await.unwrap();
    }

    on udp, plain;
    async fn v9_a_port_in_use_is_an_error_whatever_the_number_of_workers(world: World) {
        let server = world.bind(echo()).await;
        let addr = server.handle().addresses()[0];
        for workers in [1, 2] {
            let second = echo().workers(workers).plain_transport(world.kind == Kind::Plain);
            match second.bind(addr).await {
                Err(BindError::Bind { addr: failed, source }) => {
                    assert_eq!(failed, addr);
                    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    on udp, plain;
    async fn v9_reuse_port_lets_several_servers_share_a_port(world: World) {
        let plain = world.kind == Kind::Plain;
        let first = world.bind(echo().reuse_port(true)).await;
        let addr = first.handle().addresses()[0];
        let second = echo().reuse_port(true).plain_transport(plain).bind(addr).await.unwrap();
        assert_eq!(second.handle().addresses(), [addr]);
    }
}
