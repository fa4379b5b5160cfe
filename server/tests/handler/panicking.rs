//! H12: what becomes of the panics of handlers, wherever they happen.

use std::panic::panic_any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use postbox_protocol::BoxError;
use postbox_server::{BoxedHandler, Client, ContextVar, Server, ServerBuilder, handler_fn};
use tokio::sync::Notify;
use tracing::Level;

use crate::common::*;
use crate::contract;

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// Panics with another of its kind when it is dropped.
struct Hydra;

impl Drop for Hydra {
    fn drop(&mut self) {
        panic_any(Self);
    }
}

/// A handler that panics in its first poll, or not, and when it is dropped.
struct Rude {
    polled: Option<&'static str>,
    _dropped: Bomb,
}

impl Future for Rude {
    type Output = Result<(), BoxError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.polled {
            Some(message) => panic!("{message}"),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Echoes, but does `rude` first if told to.
fn rude(rude: fn(Client<Bytes>)) -> ServerBuilder {
    raw_server(move |client, mut requests| async move {
        let request = requests.recv().await?;
        if request == "rude" {
            rude(client.clone());
        }
        client.send(request).await?;
        Ok(())
    })
}

/// How the log tells a panic with this message.
fn told(message: &str) -> String {
    match message {
        "in drop" => format!("handler panicked when dropped: {message}"),
        "its variable" => format!("a context variable panicked when dropped: {message}"),
        _ => format!("handler panicked: {message}"),
    }
}

/// One client's first handler panics; that is logged with its address, and all go on.
async fn is_logged(world: &World, builder: ServerBuilder, messages: &[&str]) {
    let server = world.serve(builder).await;
    let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
    peer.send("rude").await;
    assert_eq!(other.ask("other").await, "other");
    assert_eq!(peer.ask("again").await, "again");
    let expected: Vec<_> = messages
        .iter()
        .map(|message| Record {
            level: Level::ERROR,
            message: told(message),
            fields: format!("client={} suppressed=0 ", peer.addr()),
        })
        .collect();
    assert_eq!(world.logs.take(), expected);
    server.stop().await.unwrap();
}

/// The same for a handler that is made by hand; the others echo.
async fn future_is_logged(world: &World, first: fn(Client<Bytes>) -> Rude, messages: &[&str]) {
    is_logged(world, raw_server(rude_once(first)), messages).await;
}

/// A handler whose first future is made by hand; the others echo.
fn rude_once(first: fn(Client<Bytes>) -> Rude) -> Boxed {
    let first = std::sync::Mutex::new(Some(first));
    Box::new(move |client, mut requests| {
        let made = first.lock().unwrap().take();
        match made {
            Some(first) => Box::pin(first(client)),
            None => Box::pin(async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }),
        }
    })
}

static RUDE: ContextVar<Arc<Bomb>> = ContextVar::new("a value that panics when dropped");

contract! {
    async fn h12_a_panic_in_a_handler_is_logged_once_with_its_message(world: World) {
        is_logged(&world, rude(|_| panic!("a literal")), &["a literal"]).await;
        let client = |client: Client<Bytes>| panic!("a text with {}", client.remote_addr().ip());
        is_logged(&world, rude(client), &["a text with 127.0.0.1"]).await;
    }

    async fn h12_a_panic_after_the_handler_has_waited_is_logged(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            let request = requests.recv().await?;
            tokio::task::yield_now().await;
            if request == "rude" {
                panic!("later");
            }
            client.send(request).await?;
            Ok(())
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        peer.send("rude").await;
        let logged = world.logs.wait_for(1).await;
        assert_eq!(logged[0].message, "handler panicked: later");
        assert_eq!(peer.ask("again").await, "again");
        server.stop().await.unwrap();
    }

    async fn h12_a_panic_before_the_handlers_future_exists_is_logged(world: World) {
        let rude = std::sync::Mutex::new(true);
        let builder = raw_server(move |client, mut requests| {
            if std::mem::take(&mut *rude.lock().unwrap_or_else(|e| e.into_inner())) {
                panic!("in handle itself");
            }
            async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        });
        is_logged(&world, builder, &["in handle itself"]).await;
    }

    async fn h12_a_panic_in_dropping_a_handler_is_logged(world: World) {
        let make = |_| Rude { polled: None, _dropped: Bomb("in drop") };
        future_is_logged(&world, make, &["in drop"]).await;
    }

    async fn h12_the_panics_of_a_handler_and_of_dropping_it_are_both_logged(world: World) {
        let make = |_| Rude { polled: Some("in poll"), _dropped: Bomb("in drop") };
        future_is_logged(&world, make, &["in poll", "in drop"]).await;
        // And a context variable of it.
        let make = |_| {
            RUDE.set(Arc::new(Bomb("its variable")));
            Rude { polled: Some("in poll"), _dropped: Bomb("in drop") }
        };
        future_is_logged(&world, make, &["in poll", "in drop", "its variable"]).await;
    }

    async fn h12_both_panics_of_a_boxed_handler_are_logged(world: World) {
        let make = |_| Rude { polled: Some("in poll"), _dropped: Bomb("in drop") };
        let handler = BoxedHandler::new(handler_fn(rude_once(make)));
        is_logged(&world, Server::builder(raw(), handler), &["in poll", "in drop"]).await;
    }

    async fn h12_the_panic_of_a_variable_is_logged_behind_the_error_of_its_handler(world: World) {
        let server = world
            .serve(raw_server(|_, mut requests| async move {
                RUDE.set(Arc::new(Bomb("its variable")));
                requests.recv().await?;
                Err("it failed".into())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("x").await;
        let expected = ["handler failed: it failed".into(), told("its variable")];
        let expected = expected.map(|message| Record {
            level: Level::ERROR,
            message,
            fields: format!("client={} suppressed=0 ", peer.addr()),
        });
        assert_eq!(world.logs.wait_for(2).await, expected);
        server.stop().await.unwrap();
    }

    async fn h12_panics_with_other_payloads_than_text_are_logged(world: World) {
        is_logged(&world, rude(|_| panic_any(42)), &["a panic without a message"]).await;
        is_logged(&world, rude(|_| panic_any(String::from("owned"))), &["owned"]).await;
    }

    async fn h12_a_payload_that_panics_when_dropped_ends_nothing(world: World) {
        let message = "a panic without a message (and dropping its payload: tick)";
        is_logged(&world, rude(|_| panic_any(Bomb("tick"))), &[message]).await;
        let message = "a panic without a message (and dropping its payload: a panic without a message)";
        is_logged(&world, rude(|_| panic_any(Hydra)), &[message]).await;
    }

    async fn h12_a_panic_in_cancelling_a_handler_is_logged_and_the_shutdown_goes_on(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let bomb = Bomb("cancelled");
                client.send(requests.recv().await?).await?;
                std::future::pending::<()>().await;
                drop(bomb);
                Ok(())
            }).grace(std::time::Duration::ZERO))
            .await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        one.ask("x").await;
        two.ask("x").await;
        let cancelled = server.handle.clone();
        server.stop().await.unwrap();
        let logged = world.logs.take();
        let messages: Vec<_> = logged.iter().map(|record| &record.message[..]).collect();
        let text = "handler panicked when dropped";
        assert_eq!(messages, [format!("{text}: cancelled"), format!("{text}: 1 more")]);
        for client in [one, two] {
            let client = format!("client={} ", client.addr());
            assert!(logged.iter().any(|record| record.fields.contains(&client)), "{logged:?}");
        }
        assert_eq!(cancelled.stats().handlers_cancelled, 2);
    }

    async fn h12_a_panic_in_a_handler_dropped_with_its_server_is_logged(world: World) {
        let dropped = Arc::new(Notify::new());
        let tell = Arc::clone(&dropped);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let tell = Arc::clone(&tell);
                async move {
                    let bomb = (Bomb("dropped"), CallOnDrop(tell));
                    client.send(requests.recv().await?).await?;
                    std::future::pending::<()>().await;
                    drop(bomb);
                    Ok(())
                }
            }))
            .await;
        world.peer(server.addr).await.ask("x").await;
        server.serving.abort();
        dropped.notified().await;
        let logged = world.logs.wait_for(1).await;
        assert_eq!(logged[0].message, "handler panicked when dropped: dropped");
    }

    async fn h12_panics_are_counted_and_leave_nothing_behind(world: World) {
        let server = world.serve(rude(|_| panic!("again and again"))).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..30 {
            peer.send("rude").await;
        }
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(world.logs.take().len(), 1);
        let stats = server.stats_where(|stats| stats.handlers_returned == 1).await;
        assert_eq!((stats.handlers_panicked, stats.waiting_clients), (30, 0));
        assert_eq!((stats.handed_out, stats.discarded), (31, 0));
        server.stop().await.unwrap();
        assert_eq!(world.logs.take()[0].message, "handler panicked: 29 more");
    }
}

struct CallOnDrop(Arc<Notify>);

impl Drop for CallOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
