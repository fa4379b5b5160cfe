//! H11: what becomes of the errors that handlers return.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbox_codec_json::JsonSerializer;
use postbox_protocol::{BoxError, DatagramParseError, DatagramProtocol};
use postbox_server::{Limits, RecvError, SendError, Server, ServerBuilder};
use tracing::Level;

use crate::common::*;
use crate::{contract, paused};

/// An error with a cause.
#[derive(Debug)]
struct Outer(&'static str, BoxError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.1)
    }
}

/// Echoes, and fails with `error` if told to.
fn fails_with(error: impl Fn() -> BoxError + Send + Sync + 'static) -> ServerBuilder {
    let error = Arc::new(error);
    raw_server(move |client, mut requests| {
        let error = Arc::clone(&error);
        async move {
            let request = requests.recv().await?;
            if request == "fail" {
                return Err(error());
            }
            client.send(request).await?;
            Ok(())
        }
    })
}

/// One client's handler fails and is logged; the server and every client go on.
async fn is_logged(world: World, builder: ServerBuilder, message: &str) {
    let server = world.serve(builder).await;
    let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
    assert_eq!(other.ask("before").await, "before");
    peer.send("fail").await;
    assert_eq!(other.ask("after").await, "after");
    assert_eq!(peer.ask("again").await, "again");
    let expected = Record {
        level: Level::ERROR,
        message: message.into(),
        fields: format!("client={} suppressed=0 ", peer.addr()),
    };
    assert_eq!(world.logs.take(), [expected]);
    assert_eq!(server.handle.stats().handlers_failed, 1);
    server.stop().await.unwrap();
}

contract! {
    async fn h11_a_handler_error_is_logged_once_with_the_clients_address_and_its_causes(world: World) {
        let error = || Outer("it failed", Outer("for this", "because of that".into()).into()).into();
        let message = "handler failed: it failed: for this: because of that";
        is_logged(world, fails_with(error), message).await;
    }

    async fn h11_an_io_error_of_a_handler_is_logged_like_any_other_and_serving_goes_on(world: World) {
        let error = || io::Error::new(io::ErrorKind::ConnectionReset, "by the database").into();
        is_logged(world, fails_with(error), "handler failed: by the database").await;
    }

    async fn h11_errors_of_ours_that_are_not_closed_are_errors_like_any_other(world: World) {
        let error = || SendError::Full.into();
        is_logged(world.clone(), fails_with(error), "handler failed: the outbox is full").await;
        let crash = || RecvError::Crashed { message: "no idea".into() };
        let error = move || Outer("it failed", crash().into()).into();
        let message = "protocol crashed: it failed: the protocol panicked while decoding: no idea";
        is_logged(world, fails_with(error), message).await;
    }

    async fn h11_an_error_that_panics_when_it_is_told_or_dropped_ends_nothing(world: World) {
        let server = world.serve(fails_with(|| Box::new(Rude))).await;
        let peer = world.peer(server.addr).await;
        peer.send("fail").await;
        assert_eq!(peer.ask("again").await, "again");
        let logged = world.logs.take();
        let messages: Vec<_> = logged.iter().map(|record| &record.message[..]).collect();
        let expected = [
            "handler failed: (its text panicked: no manners)",
            "handler panicked when dropped: nor when it leaves",
        ];
        assert_eq!(messages, expected);
        assert!(logged.iter().all(|record| record.fields.contains(&peer.addr().to_string())));
        server.stop().await.unwrap();
    }
}

/// An error that panics wherever it can.
#[derive(Debug)]
struct Rude;

impl fmt::Display for Rude {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no manners");
    }
}

impl Error for Rude {}

impl Drop for Rude {
    fn drop(&mut self) {
        panic!("nor when it leaves");
    }
}

/// A handler's requests, used by the next one: they answer closed. `wrap` is what it makes of that.
fn uses_closed_requests(wrap: fn(RecvError) -> BoxError) -> ServerBuilder {
    let kept = Arc::new(Mutex::new(None));
    raw_server(move |client, mut requests| {
        let kept = Arc::clone(&kept);
        async move {
            let request = requests.recv().await?;
            if request == "keep" {
                client.send(request).await?;
                *kept.lock().unwrap() = Some(requests);
                return Ok(());
            }
            let taken = kept.lock().unwrap().take();
            if let Some(mut closed) = taken {
                closed.recv().await.map_err(wrap)?;
            }
            client.send(request).await?;
            Ok(())
        }
    })
}

async fn is_one_warning(world: World, builder: ServerBuilder, message: &str) {
    let server = world.serve(builder).await;
    let peer = world.peer(server.addr).await;
    for _ in 0..3 {
        assert_eq!(peer.ask("keep").await, "keep");
        peer.send("use").await;
        assert_eq!(peer.ask("again").await, "again");
    }
    let expected = Record {
        level: Level::WARN,
        message: message.into(),
        fields: format!("client={} suppressed=0 ", peer.addr()),
    };
    assert_eq!(world.logs.take(), [expected]);
    assert_eq!(server.handle.stats().handlers_failed, 3);
    server.stop().await.unwrap();
    // The others are not lost to those who want to know.
    let debug = world.logs.take_debug();
    let told = |text: &str| debug.iter().any(|record| record.message == text);
    assert!(told(message) && told("handler ended by a closed server: 1 more"));
}

const CLOSED: &str = "closed: the handler has ended or the server is shutting down";

contract! {
    async fn h11_a_returned_closed_error_is_one_warning_and_no_error(world: World) {
        let message = format!("handler ended by a closed server: {CLOSED}");
        is_one_warning(world, uses_closed_requests(BoxError::from), &message).await;
    }

    async fn h11_a_returned_closed_error_is_one_warning_whatever_the_workers(world: World) {
        let server = world.serve(uses_closed_requests(BoxError::from).workers(2)).await;
        for _ in 0..16 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("keep").await, "keep");
            peer.send("use").await;
            assert_eq!(peer.ask("keep").await, "keep");
        }
        let logged = world.logs.take();
        assert_eq!(logged.len(), 1, "{logged:#?}");
        assert_eq!(server.handle.stats().handlers_failed, 16);
        server.stop().await.unwrap();
    }

    async fn h11_a_closed_error_deep_in_the_chain_is_one_warning_and_no_error(world: World) {
        let wrap = |closed| Outer("it failed", Outer("for this", BoxError::from(closed)).into()).into();
        let message = format!("handler ended by a closed server: it failed: for this: {CLOSED}");
        is_one_warning(world, uses_closed_requests(wrap), &message).await;
    }

    async fn h11_a_send_to_a_closed_server_is_one_warning_and_no_error(world: World) {
        let kept = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&kept);
        let gone = world
            .serve(raw_server(move |client, mut requests| {
                *keep.lock().unwrap() = Some(client.clone());
                async move {
                    client.send(requests.recv().await?).await?;
                    Ok(())
                }
            }))
            .await;
        world.peer(gone.addr).await.ask("x").await;
        gone.stop().await.unwrap();
        let server = world
            .serve(raw_server(move |_, mut requests| {
                let closed = kept.lock().unwrap().clone().unwrap();
                async move {
                    closed.send(requests.recv().await?).await?;
                    Ok(())
                }
            }))
            .await;
        world.peer(server.addr).await.send("x").await;
        let logged = world.logs.wait_for(1).await;
        assert_eq!(logged[0].level, Level::WARN);
        assert!(logged[0].message.ends_with("closed: the server has stopped serving"));
        server.stop().await.unwrap();
    }

    async fn h11_a_closed_error_during_a_shutdown_is_for_debugging_only(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                loop {
                    client.send(requests.recv().await?).await?;
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        world.logs.take_debug();
        server.stop().await.unwrap();
        assert_eq!(world.logs.take(), []);
        let told = world.logs.take_debug();
        let expected = Record {
            level: Level::DEBUG,
            message: format!("handler ended by the shutdown: {CLOSED}"),
            fields: format!("client={} suppressed=0 ", peer.addr()),
        };
        assert!(told.contains(&expected), "{told:?}");
    }

    async fn h11_a_returned_parse_error_is_a_warning(world: World) {
        let protocol = DatagramProtocol::new(JsonSerializer::<u32>::new());
        let server = world
            .serve(Server::builder_fn(protocol, |client, mut requests| async move {
                let number = requests.recv().await.map_err(|e| Outer("cannot add one", e.into()))?;
                client.send(number + 1).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("no number").await;
        assert_eq!(peer.ask("1").await, "2");
        let logged = world.logs.take();
        assert_eq!(logged.len(), 1);
        assert_eq!(logged[0].level, Level::WARN);
        assert!(logged[0].message.starts_with(
            "bad datagram: cannot add one: the client's datagram is not a valid packet: \
             received a malformed datagram: "
        ));
        assert_eq!(logged[0].fields, format!("client={} suppressed=0 ", peer.addr()));
        assert_eq!(server.handle.stats().handlers_failed, 1);
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h11_a_returned_truncation_is_a_warning(world: World) {
        let limits = Limits::default().receive_datagram(10);
        let server = world.serve(echo().limits(limits)).await;
        let peer = world.peer(server.addr).await;
        peer.send("longer than that").await;
        assert_eq!(peer.ask("short").await, "short");
        let logged = world.logs.take();
        assert_eq!(logged.len(), 1);
        assert_eq!(logged[0].level, Level::WARN);
        assert_eq!(logged[0].message, "bad datagram: the client's datagram was cut to 10 bytes");
        server.stop().await.unwrap();
    }
}

paused! {
    async fn h11_warnings_of_bad_datagrams_are_limited_and_what_was_left_out_is_counted(world: World) {
        let protocol = DatagramProtocol::new(JsonSerializer::<u32>::new());
        let server = world
            .serve(Server::builder_fn(protocol, |client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        for (bad, suppressed) in [(50, 0), (1, 49), (3, 0), (1, 2)] {
            for _ in 0..bad {
                peer.send("bad").await;
            }
            assert_eq!(peer.ask("7").await, "7");
            let logged = world.logs.take();
            assert_eq!(logged.len(), 1);
            assert!(logged[0].fields.ends_with(&format!("suppressed={suppressed} ")));
            tokio::time::sleep(Duration::from_millis(1_001)).await;
        }
        assert_eq!(server.handle.stats().handlers_failed, 55);
        server.stop().await.unwrap();
    }

    async fn h11_a_bad_datagram_of_somebody_else_is_an_error_and_limited_too(world: World) {
        // As a client in the handler tells it, which asked another server. Or taken out of the
        // error of our own receive: then strangers cause it.
        let server = world
            .serve(fails_with(|| {
                let bad = DatagramParseError::Deserialize("no number".into());
                Outer("the other server's datagram is not a valid packet", bad.into()).into()
            }))
            .await;
        let peer = world.peer(server.addr).await;
        for (bad, suppressed) in [(50, 0), (1, 49), (1, 0)] {
            for _ in 0..bad {
                peer.send("fail").await;
            }
            assert_eq!(peer.ask("again").await, "again");
            let expected = Record {
                level: Level::ERROR,
                message: "handler failed at a parse error: the other server's datagram is not a valid packet: \
                          received a malformed datagram: no number"
                    .into(),
                fields: format!("client={} suppressed={suppressed} ", peer.addr()),
            };
            assert_eq!(world.logs.take(), [expected]);
            tokio::time::sleep(Duration::from_millis(1_001)).await;
        }
        server.stop().await.unwrap();
    }

    async fn h11_warnings_of_silent_clients_are_limited_and_counted_for_themselves(world: World) {
        let protocol = DatagramProtocol::new(JsonSerializer::<u32>::new());
        let server = world
            .serve(Server::builder_fn(protocol, |_, mut requests| async move {
                requests.recv().await?;
                let second = requests.recv_timeout(Duration::from_millis(100)).await;
                second.map_err(|error| Outer("no second number", error.into()))?;
                Ok(())
            }))
            .await;
        let bad = world.peer(server.addr).await;
        let mut silent = Vec::new();
        for (more, suppressed) in [(50, 0), (1, 49), (3, 0), (1, 2)] {
            for _ in 0..more {
                let peer = world.peer(server.addr).await;
                peer.send("1").await;
                silent.push(peer);
            }
            bad.send("bad").await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            let logged = world.logs.take();
            assert_eq!(logged.len(), 2, "{logged:#?}");
            assert!(logged[0].message.starts_with("bad datagram: "));
            assert!(logged[0].fields.ends_with(" suppressed=0 "));
            assert_eq!(logged[1].level, Level::WARN);
            let message = "client fell silent: no second number: no datagram came in time";
            assert_eq!(logged[1].message, message);
            assert!(logged[1].fields.ends_with(&format!(" suppressed={suppressed} ")));
        }
        assert_eq!(server.handle.stats().handlers_failed, 59);
        server.stop().await.unwrap();
    }
}
