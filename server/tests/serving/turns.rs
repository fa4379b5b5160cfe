//! V6: whether the workers make turns.

use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::Requests;
use tokio::sync::Notify;

use crate::common::service::{Journal, echo_with_init};
use crate::common::*;
use crate::contract;

contract! {
    async fn v6_responds_tells_whether_datagrams_are_handled(world: World) {
        let (begun, go) = (Journal::default(), Arc::new(Notify::new()));
        let (begins, goes) = (begun.clone(), Arc::clone(&go));
        let server = world.bind(echo_with_init(move |_| {
            let (begins, goes) = (begins.clone(), Arc::clone(&goes));
            Box::pin(async move {
                begins.add("begun");
                goes.notified().await;
                Ok(())
            })
        })).await;
        let handle = server.handle();
        assert!(!handle.responds().await, "not before");
        let serving = tokio::spawn(server.serve_forever());
        begun.wait_for("begun").await;
        assert!(!handle.responds().await, "not during service_init");
        go.notify_one();
        handle.started().await.unwrap();
        for _ in 0..3 {
            assert!(handle.responds().await);
        }
        handle.shutdown().await;
        serving.await.unwrap().unwrap();
        assert!(!handle.responds().await, "not after");
    }

    async fn v6_responds_while_it_drains(world: World) {
        let journal = Journal::default();
        let (goes, go) = (Arc::new(Notify::new()), journal.clone());
        let held = Arc::clone(&goes);
        let server = world.serve(raw_server(move |client, mut requests| {
            let (held, go) = (Arc::clone(&held), go.clone());
            async move {
                client.send(requests.recv().await?).await?;
                go.add("held");
                held.notified().await;
                Ok(())
            }
        })).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        journal.wait_for("held").await;
        let mut drain = pin!(server.handle.drain(Duration::MAX));
        assert!(poll_once(&mut drain).await.is_pending());
        assert!(server.handle.responds().await);
        goes.notify_one();
        drain.await;
        server.serving.await.unwrap().unwrap();
        assert!(!server.handle.responds().await);
    }

    /// Of several workers the one is held, in a poll of a handler.
    async fn v6_while_a_handler_holds_its_worker_it_does_not_respond(world: World) {
        if world.rt == Rt::Current {
            return; // there nobody else is polled meanwhile either
        }
        let (server, free) = held(&world).await;
        let handle = server.handle.clone();
        let (mut first, mut second) = (pin!(handle.responds()), pin!(handle.responds()));
        for _ in 0..1000 {
            assert!(poll_once(&mut first).await.is_pending());
            assert!(poll_once(&mut second).await.is_pending());
            tokio::task::yield_now().await;
        }
        drop(free);
        assert!(first.await && second.await);
        server.stop().await.unwrap();
        world.logs.take(); // on a busy machine it may have held for long
    }

    async fn v6_a_shutdown_answers_who_waits_for_a_held_worker(world: World) {
        if world.rt == Rt::Current {
            return;
        }
        let (server, free) = held(&world).await;
        let handle = server.handle.clone();
        let mut responds = pin!(handle.responds());
        assert!(poll_once(&mut responds).await.is_pending());
        let mut shutdown = pin!(handle.shutdown());
        assert!(poll_once(&mut shutdown).await.is_pending());
        assert!(!responds.await);
        drop(free);
        shutdown.await;
        server.serving.await.unwrap().unwrap();
        world.logs.take();
    }
}

/// A server of two workers, one of which a handler holds until what is returned is dropped.
async fn held(world: &World) -> (TestServer, mpsc::Sender<()>) {
    let (holds, is_held) = mpsc::channel();
    let (free, is_free) = mpsc::channel::<()>();
    let both = Arc::new(Mutex::new((holds, is_free)));
    let handler = move |_, mut requests: Requests<Bytes>| {
        let both = Arc::clone(&both);
        async move {
            requests.recv().await?;
            let both = both.lock().unwrap();
            both.0.send(())?;
            let _ = both.1.recv();
            Ok(())
        }
    };
    let server = world.serve(raw_server(handler).workers(2)).await;
    assert!(server.handle.responds().await);
    world.peer(server.addr).await.send("x").await;
    tokio::task::block_in_place(|| is_held.recv_timeout(HANG).unwrap());
    (server, free)
}
