//! What a serving is, seen from outside, while it ends: V2, V6 and V10.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use postbox_server::{ServeError, StartError};
use tokio::sync::Notify;

use crate::common::service::{Journal, echo_with_init, server_with_init};
use crate::common::*;
use crate::contract;

const HOUR: Duration = Duration::from_secs(3600);

contract! {
    async fn v2_serve_until_ends_by_a_shutdown_with_its_grace(world: World) {
        let (journal, signal) = (Journal::default(), Arc::new(Notify::new()));
        let (exit, handler) = (journal.clone(), journal.clone());
        let builder = server_with_init(
            move |service| {
                let exit = exit.clone();
                service.on_exit(move || exit.add("exit"));
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                let handler = handler.clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    requests.recv().await.unwrap_err();
                    for _ in 0..50 {
                        tokio::task::yield_now().await;
                    }
                    client.send("goodbye".into()).await?;
                    handler.add("handler");
                    Ok(())
                }
            },
        );
        let server = world.bind(builder.grace(HOUR)).await;
        let (handle, signalled) = (server.handle(), Arc::clone(&signal));
        let serving = tokio::spawn(server.serve_until(async move { signalled.notified().await }));
        handle.started().await.unwrap();
        let peer = world.peer(handle.addresses()[0]).await;
        assert_eq!(peer.ask("hello").await, "hello");
        signal.notify_one();
        serving.await.unwrap().unwrap();
        assert_eq!(journal.entries(), ["handler", "exit"]);
        assert_eq!(peer.recv_text().await, "goodbye");
        let stats = handle.stats();
        assert_eq!((stats.handlers_returned, stats.handlers_cancelled), (1, 0));
    }

    async fn v6_a_serving_that_ends_by_a_failure_is_no_serving_from_then_on(world: World) {
        let (journal, fail) = (Journal::default(), Arc::new(Notify::new()));
        let (said, failing) = (journal.clone(), Arc::clone(&fail));
        let server = world.serve(echo_with_init(move |service| {
            let (handle, said) = (service.handle(), said.clone());
            service.on_exit(move || {
                said.add(format!("{} {}", handle.is_listening(), handle.is_serving()));
                let started = poll_now(&mut Box::pin(handle.started())).is_ready();
                said.add(format!("started: {started}"));
            });
            let fail = Arc::clone(&failing);
            service.spawn(async move {
                fail.notified().await;
                Err::<(), _>("no")
            });
            Box::pin(async { Ok(()) })
        })).await;
        fail.notify_one();
        let error = server.serving.await.unwrap().unwrap_err();
        assert!(matches!(error, ServeError::BackgroundTask(_)), "{error:?}");
        assert_eq!(journal.entries(), ["true false", "started: false"]);
        assert_eq!(server.handle.started().await, Err(StartError::Ended));
    }

    async fn v6_a_server_that_closes_has_no_addresses_while_its_handlers_still_end(world: World) {
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let server = world.serve(raw_server(move |client, mut requests| {
            let go = Arc::clone(&goes);
            async move {
                client.send(requests.recv().await?).await?;
                requests.recv().await.unwrap_err();
                client.send("ending".into()).await?;
                go.notified().await;
                Ok(())
            }
        }).grace(HOUR)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        let handle = server.handle.clone();
        let mut close = pin!(handle.close());
        begin(&mut close).await;
        assert_eq!(peer.recv_text().await, "ending");
        assert!(!server.handle.is_listening() && !server.handle.is_serving());
        assert_eq!(server.handle.addresses(), []);
        assert_eq!(server.handle.started().await, Err(StartError::Closed));
        go.notify_one();
        close.await;
        server.serving.await.unwrap().unwrap();
    }

    async fn v10_a_serving_that_waits_for_an_earlier_one_is_told_if_the_server_closes(world: World) {
        let (journal, gate) = (Journal::default(), Arc::new(Notify::new()));
        let (inits, open) = (journal.clone(), Arc::clone(&gate));
        let server = world.serve(echo_with_init(move |service| {
            inits.add("init");
            let open = Arc::clone(&open);
            service.on_exit_async(move || async move { open.notified().await });
            Box::pin(async { Ok(()) })
        })).await;
        server.serving.abort();
        let _ = server.serving.await;
        let mut waiting = Box::pin(server.server.serve_forever());
        assert!(poll_once(&mut waiting).await.is_pending());
        let waiting = tokio::spawn(waiting);
        let mut close = pin!(server.handle.close());
        begin(&mut close).await;
        gate.notify_one();
        close.await;
        let waited = waiting.await.unwrap();
        assert!(matches!(waited, Err(ServeError::Closed)), "{waited:?}");
        assert_eq!(journal.entries(), ["init"], "only the first one began");
        assert!(!server.handle.is_listening());
    }
}
