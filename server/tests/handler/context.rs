//! H14: context variables in handlers, and in the tasks that they spawn.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{Client, ContextVar, inherit_context};
use tokio::sync::{Notify, oneshot};

use crate::common::*;
use crate::contract;

static CLIENT: ContextVar<SocketAddr> = ContextVar::new("client");
static TEXT: ContextVar<String> = ContextVar::new("text");

/// What a function finds that is told nothing.
fn whose() -> String {
    CLIENT
        .get()
        .map_or_else(|| "nobody's".into(), |client| client.to_string())
}

fn text() -> String {
    TEXT.get().unwrap_or_else(|| "nothing".into())
}

/// Tells what it finds when it is dropped.
#[derive(Debug)]
struct Teller(Client<Bytes>);

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.try_send(whose().into()).unwrap();
    }
}

contract! {
    async fn h14_a_value_set_in_a_handler_is_seen_by_what_it_calls_and_drops(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                assert_eq!(whose(), "nobody's");
                assert_eq!(CLIENT.get(), None);
                CLIENT.set(client.remote_addr());
                let _teller = Teller(client.clone());
                client.send([&requests.recv().await?[..], whose().as_bytes()].concat().into()).await?;
                tokio::task::yield_now().await;
                client.send([&requests.recv().await?[..], whose().as_bytes()].concat().into()).await?;
                let other = "192.0.2.1:9".parse()?;
                assert_eq!(CLIENT.get(), Some(client.remote_addr()));
                CLIENT.set(other);
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        for _ in 0..2 {
            assert_eq!(peer.ask("one ").await, format!("one {}", peer.addr()));
            assert_eq!(peer.ask("two ").await, format!("two {}", peer.addr()));
            assert_eq!(peer.recv_text().await, "192.0.2.1:9");
        }
        server.stop().await.unwrap();
    }

    // The server tells it and drops it, but it is the handler's.
    async fn h14_the_error_that_a_handler_returns_sees_its_values(world: World) {
        #[derive(Debug)]
        struct Failure(#[allow(dead_code)] Teller);
        impl std::fmt::Display for Failure {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&whose())
            }
        }
        impl std::error::Error for Failure {}
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                CLIENT.set(client.remote_addr());
                requests.recv().await?;
                Err(Failure(Teller(client)).into())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        let own = peer.addr();
        assert_eq!(peer.ask("x").await, own.to_string());
        let logged = world.logs.wait_for(1).await;
        assert_eq!(logged[0].message, format!("handler failed: {own}"));
        server.stop().await.unwrap();
    }

    // Handlers that never ran to their end see it too, when they are dropped.
    async fn h14_a_handler_that_panics_or_is_cancelled_drops_with_its_values(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                CLIENT.set(client.remote_addr());
                let teller = Teller(client.clone());
                if requests.recv().await? == "panic" {
                    panic!("told to");
                }
                client.send(Bytes::from("waits")).await?;
                std::future::pending::<()>().await;
                drop(teller);
                Ok(())
            }).grace(Duration::ZERO))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("panic").await, peer.addr().to_string());
        assert_eq!(world.logs.wait_for(1).await.len(), 1);
        assert_eq!(peer.ask("wait").await, "waits");
        server.stop().await.unwrap();
        assert_eq!(peer.recv_text().await, peer.addr().to_string());
    }

    async fn h14_no_other_client_sees_it(world: World) {
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let gate = Arc::clone(&gate);
                async move {
                    let before = text();
                    let name = String::from_utf8(requests.recv().await?.into())?;
                    if name != "silent" {
                        TEXT.set(name.clone());
                    }
                    client.send(before.into()).await?;
                    for _ in 0..3 {
                        gate.notified().await;
                        client.send(text().into()).await?;
                    }
                    Ok(())
                }
            }))
            .await;
        let mut peers = Vec::new();
        for name in ["one", "silent", "two", "three"] {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask(name).await, "nothing");
            peers.push((peer, name.replace("silent", "nothing")));
        }
        for _ in 0..3 {
            opened.notify_waiters();
            for (peer, seen) in &peers {
                assert_eq!(peer.recv_text().await, *seen);
            }
        }
        // Nor does the next handler, in the same place.
        for (peer, _) in &peers {
            assert_eq!(peer.ask("again").await, "nothing");
        }
        for _ in 0..3 {
            opened.notify_waiters();
            for (peer, _) in &peers {
                assert_eq!(peer.recv_text().await, "again");
            }
        }
        assert_eq!(text(), "nothing");
        server.stop().await.unwrap();
    }

    async fn h14_values_of_the_threads_own_are_neither_seen_nor_changed(world: World) {
        TEXT.set("the test's".into());
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let before = text();
                TEXT.set("the handler's".into());
                requests.recv().await?;
                client.send(before.into()).await?;
                Ok(())
            }))
            .await;
        assert_eq!(world.peer(server.addr).await.ask("x").await, "nothing");
        server.stop().await.unwrap();
        if world.rt == Rt::Current {
            assert_eq!(text(), "the test's"); // on the same thread all along
        }
    }

    async fn h14_the_admission_check_has_values_of_its_own(world: World) {
        let formers = Arc::new(Mutex::new(Vec::new()));
        let checked = Arc::clone(&formers);
        let builder = raw_server(|client, mut requests| async move {
            loop {
                let before = text();
                let request = requests.recv().await?;
                TEXT.set(String::from_utf8(request.into())?);
                client.send(before.into()).await?;
            }
        });
        let builder = builder.admit(move |_| {
            checked.lock().unwrap().push(TEXT.get());
            TEXT.set("the check's".into());
            true
        });
        let server = world.serve(builder).await;
        for _ in 0..2 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("one").await, "nothing");
            assert_eq!(peer.ask("two").await, "one");
        }
        let own = Some("the check's".into());
        assert_eq!(*formers.lock().unwrap(), [None, own.clone(), own.clone(), own]);
        server.stop().await.unwrap();
    }

    async fn h14_a_spawned_task_inherits_by_one_explicit_call(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                CLIENT.set(client.remote_addr());
                requests.recv().await?;
                let (go, gone) = oneshot::channel::<()>();
                let plain = tokio::spawn(async { whose() });
                let heir = tokio::spawn(inherit_context(async move {
                    let first = whose();
                    gone.await.unwrap(); // the handler has set another by now
                    TEXT.set("the task's".into());
                    (first, whose(), text())
                }));
                CLIENT.set("192.0.2.1:9".parse()?);
                let _ = go.send(());
                let (first, second, of_task) = heir.await?;
                let answer = format!("{} {first} {second} {of_task} {}", plain.await?, text());
                client.send(answer.into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        let own = peer.addr();
        assert_eq!(peer.ask("x").await, format!("nobody's {own} {own} the task's nothing"));
        server.stop().await.unwrap();
    }

    async fn h14_what_an_inheriting_task_drops_sees_its_values(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                CLIENT.set(client.remote_addr());
                requests.recv().await?;
                let teller = Teller(client.clone());
                let task = tokio::spawn(inherit_context(async move {
                    std::future::pending::<()>().await;
                    drop(teller);
                }));
                tokio::task::yield_now().await;
                task.abort();
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, peer.addr().to_string());
        server.stop().await.unwrap();
    }
}
