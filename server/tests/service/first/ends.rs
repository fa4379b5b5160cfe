//! It answers closed once its serving has ended, however that ended.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use postbox_server::{Client, FlushError, MemoryNetwork, SendError};
use tokio::sync::Notify;

use super::{Kept, keeps_clients};
use crate::common::service::*;
use crate::common::*;
use crate::contract;

async fn assert_closed(client: &Client<Bytes>) {
    assert!(client.is_closing());
    let sent = client.send("late".into()).await;
    assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
    let sent = client.try_send("late".into());
    assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
    let flushed = client.flush().await;
    assert!(matches!(flushed, Err(FlushError::Closed)), "{flushed:?}");
}

contract! {
    async fn h17_after_its_serving_it_answers_closed_in_a_later_one_too(world: World) {
        let (builder, kept, mut given) = keeps_clients();
        let server = world.bind(builder).await;
        let handle = server.handle();
        let addr = handle.addresses()[0];
        let peer = world.peer(addr).await;
        let mut earlier = None;
        for _ in 0..2 {
            let serving = tokio::spawn(server.serve_forever());
            handle.started().await.unwrap();
            let client = kept.clients().to(peer.addr()).unwrap();
            client.send("first".into()).await.unwrap();
            assert_eq!(peer.recv_text().await, "first");
            assert_eq!(peer.ask("hello").await, "hello");
            assert!(given.recv().await.unwrap() == client);
            if let Some(earlier) = &earlier {
                assert_closed(earlier).await;
                assert!(*earlier == client, "the same client all the same");
            }
            let clients = kept.clients();
            handle.shutdown().await;
            serving.await.unwrap().unwrap();
            assert_closed(&client).await;
            // What makes clients makes closed ones.
            assert_closed(&clients.to(peer.addr()).unwrap()).await;
            earlier = Some(client);
        }
    }

    async fn h17_it_is_closed_when_the_exit_actions_run_however_serving_ends(world: World) {
        for ends_by in ["failed init", "panicked init", "failed task", "shutdown", "shutdown in init", "drop", "drop in init"] {
            let peer = world.peer("127.0.0.1:9".parse().unwrap()).await;
            let (to, journal, kept) = (peer.addr(), Journal::default(), Kept::default());
            let (told, keep) = (journal.clone(), kept.clone());
            let begun = Arc::new(Notify::new());
            let begins = Arc::clone(&begun);
            let server = world.bind(echo_with_init(move |service| {
                let clients = service.clients::<Bytes>().unwrap();
                let client = clients.to(to).unwrap();
                keep.keep(clients);
                let (told, exit, begins) = (told.clone(), client.clone(), Arc::clone(&begins));
                service.on_exit(move || {
                    let sent = exit.try_send("late".into());
                    told.add(format!("{sent:?}"));
                });
                if ends_by == "failed task" {
                    service.spawn(async { Err::<(), _>("no") });
                }
                Box::pin(async move {
                    client.send("in time".into()).await?;
                    client.flush().await?;
                    begins.notify_one();
                    assert!(ends_by != "panicked init", "no");
                    match ends_by {
                        "failed init" => Err("no".into()),
                        "shutdown in init" | "drop in init" => std::future::pending().await,
                        _ => Ok(()),
                    }
                })
            })).await;
            let handle = server.handle();
            let serving = tokio::spawn(server.serve_forever());
            if ends_by != "failed task" {
                begun.notified().await;
                assert_eq!(peer.recv_from().await.0, b"in time", "{ends_by}");
            }
            match ends_by {
                "shutdown" => {
                    handle.started().await.unwrap();
                    handle.shutdown().await;
                }
                "shutdown in init" => handle.shutdown().await,
                "drop" => {
                    handle.started().await.unwrap();
                    serving.abort();
                }
                "drop in init" => serving.abort(),
                _ => {}
            }
            journal.wait_for_count(1).await;
            assert_eq!(journal.entries(), ["Err(Closed)"], "{ends_by}");
            let _ = serving.await;
            assert_closed(&kept.clients().to(to).unwrap()).await;
        }
    }
}

#[test]
fn h17_it_is_closed_where_its_worker_never_ran() {
    let logs = Logs::default();
    let dispatch = tracing::Dispatch::new(logs.clone());
    tracing::dispatcher::with_default(&dispatch, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let kept = Kept::default();
        let keep = kept.clone();
        let to = "127.0.0.1:9".parse().unwrap();
        let server = echo_with_init(move |service| {
            let clients = service.clients::<Bytes>().unwrap();
            keep.keep(clients.clone());
            Box::pin(async move {
                clients.to(to)?.send("early".into()).await?;
                std::future::pending().await
            })
        });
        let network = MemoryNetwork::new();
        let server = server.bind_memory(&network, "127.0.0.1:0".parse().unwrap());
        let server = server.unwrap();
        let mut serving = server.serve_forever();
        let client = runtime.block_on(async {
            assert!(poll_once(&mut serving).await.is_pending());
            kept.clients().to(to).unwrap()
        });
        let mut flush = Box::pin(client.flush());
        assert!(poll_now(&mut flush).is_pending());
        drop(runtime); // before the worker was polled for the first time
        let flushed = poll_now(&mut flush);
        assert!(
            matches!(flushed, Poll::Ready(Err(FlushError::Closed))),
            "{flushed:?}"
        );
        block_on(assert_closed(&client));
        let stats = server.handle().stats();
        assert_eq!((stats.sent, stats.answers_abandoned), (0, 1));
        let lost = logs.take_lost();
        let given_up = |record: &Record| record.message.starts_with("answers given up");
        assert!(lost.iter().any(given_up), "{lost:?}");
    });
}
