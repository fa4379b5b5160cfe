//! P6, P8 and P9 where the server meets the protocol: what cannot be said, empty datagrams, panics.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use crate::common::*;
use crate::contract;

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use postbox_protocol::{Converter, DatagramProtocol, Serializer};
use postbox_server::{
    BoxError, Client, Limits, RecvError, Requests, SendError, Server, ServerBuilder,
};

/// Raw bytes, unless they tell a step what to do: `convert:panic`, `serialize:error` and so on.
/// Both ends of the server have the two steps.
struct Told;

fn act(step: &str, text: &[u8]) -> Result<(), BoxError> {
    match std::str::from_utf8(text)
        .unwrap_or_default()
        .strip_prefix(step)
    {
        Some(":error") => Err(format!("{step} was told to fail").into()),
        Some(":panic") => panic!("{step} was told to panic"),
        Some(":odd panic") => std::panic::panic_any(42),
        _ => Ok(()),
    }
}

impl Serializer for Told {
    type Sent = Bytes;
    type Received = Bytes;

    fn serialize(&self, packet: &Bytes, datagram: &mut BytesMut) -> Result<(), BoxError> {
        assert!(datagram.is_empty(), "not an empty buffer");
        let (first, rest) = packet.split_at(packet.len() / 2);
        datagram.extend_from_slice(first);
        act("serialize", packet)?; // half-way
        datagram.extend_from_slice(rest);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Bytes, BoxError> {
        act("deserialize", datagram)?;
        Ok(Bytes::copy_from_slice(datagram))
    }
}

impl Converter for Told {
    type Sent = Bytes;
    type Received = Bytes;
    type SentDto = Bytes;
    type ReceivedDto = Bytes;

    fn convert_to_dto(&self, packet: Bytes) -> Result<Bytes, BoxError> {
        act("convert", &packet)?;
        Ok(packet)
    }

    fn create_from_dto(&self, dto: Bytes) -> Result<Bytes, BoxError> {
        act("create", &dto)?;
        Ok(dto)
    }
}

fn told<F, Fut>(handle: F) -> ServerBuilder
where
    F: Fn(Client<Bytes>, Requests<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let protocol = DatagramProtocol::new(Told).with_converter(Told);
    Server::builder_fn(protocol, boxed(handle))
}

/// Sends what it is asked, and answers how that went.
fn says_how() -> ServerBuilder {
    told(|client, mut requests| async move {
        loop {
            let request = requests.recv().await?;
            let answer = match client.send(request).await {
                Ok(()) => continue,
                Err(SendError::Make(error)) => format!("make {}", error.is_convert()),
                Err(SendError::Crashed { message }) => format!("crashed {message}"),
                Err(other) => format!("{other:?}"),
            };
            client.send(answer.into()).await?;
        }
    })
}

contract! {
    async fn p6_an_encode_failure_is_the_answer_of_send_and_later_sends_work(world: World) {
        let server = world.serve(says_how()).await;
        let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(peer.ask("serialize:error").await, "make false");
        assert_eq!(peer.ask("convert:error").await, "make true");
        assert_eq!(peer.ask("later").await, "later");
        assert_eq!(other.ask("somebody else").await, "somebody else");
        let handle = server.handle.clone();
        server.stop().await.unwrap(); // an answer may be here before it is counted
        assert_eq!((handle.stats().sent, handle.stats().send_errors), (4, 0));
    }

    async fn p6_an_encode_failure_is_the_answer_of_try_send_too(world: World) {
        let server = world
            .serve(told(|client, mut requests| async move {
                let request = requests.recv().await?;
                let failed = matches!(client.try_send(request), Err(SendError::Make(_)));
                client.try_send(format!("failed: {failed}").into())?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("serialize:error").await, "failed: true");
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(peer.recv_text().await, "failed: false");
        server.stop().await.unwrap();
    }

    async fn p6_what_a_serializer_wrote_before_it_failed_is_in_no_other_answer(world: World) {
        let server = world.serve(says_how()).await;
        let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for told in ["serialize:error", "serialize:panic", "serialize:odd panic"] {
            assert!(peer.ask(told).await.starts_with(if told.ends_with('r') { "make" } else { "crashed" }));
            assert_eq!(other.ask("whole").await, "whole");
            assert_eq!(peer.ask("whole too").await, "whole too");
        }
        server.stop().await.unwrap();
    }

    async fn p6_a_packet_too_large_for_a_datagram_is_the_answer_of_send(world: World) {
        for (addr, most) in [("127.0.0.1:0", 65_507), ("[::1]:0", 65_527)] {
            check_limit(&world, echo_of_len(), addr, most).await;
        }
    }

    async fn p6_the_users_smaller_limit_holds_for_both_families(world: World) {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let limits = Limits::default().send_datagram(1_200);
            check_limit(&world, echo_of_len().limits(limits), addr, 1_200).await;
        }
    }

    async fn p6_a_larger_limit_of_the_user_is_no_limit_at_all(world: World) {
        for (addr, most) in [("127.0.0.1:0", 65_507), ("[::1]:0", 65_527)] {
            let limits = Limits::default().send_datagram(usize::MAX);
            check_limit(&world, echo_of_len().limits(limits), addr, most).await;
        }
    }

    async fn p8_an_empty_datagram_is_delivered_and_answered(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let request = requests.recv().await?;
                client.send(format!("{} bytes", request.len()).into()).await?;
                client.send(Bytes::new()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        for _ in 0..3 {
            assert_eq!(peer.ask("").await, "0 bytes");
            assert_eq!(peer.recv_text().await, "");
        }
        server.stop().await.unwrap();
    }

    async fn p8_empty_datagrams_keep_their_place_among_others(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let mut lens = Vec::new();
                while lens.len() < 7 {
                    lens.push(requests.recv().await?.len());
                }
                client.send(format!("{lens:?}").into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        for text in ["", "a", "", "", "bb", "c"] {
            peer.send(text).await;
        }
        assert_eq!(peer.ask("").await, "[0, 1, 0, 0, 2, 1, 0]");
        assert_eq!(server.handle.stats().received, 7);
        server.stop().await.unwrap();
    }

    async fn p9_a_panic_in_deserialize_is_an_error_that_the_handler_can_answer(world: World) {
        check_decode_panics(&world, "deserialize").await;
    }

    async fn p9_a_panic_in_a_converter_is_an_error_that_the_handler_can_answer(world: World) {
        check_decode_panics(&world, "create").await;
    }

    async fn p9_a_panic_while_decoding_in_another_task_is_an_error_there(world: World) {
        let server = world
            .serve(told(|client, mut requests| async move {
                client.send("ready".into()).await?;
                let answer = tokio::spawn(async move { crashed(requests.recv().await) }).await?;
                client.send(answer).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("deserialize:panic").await, "ready");
        assert_eq!(peer.recv_text().await, "crashed: deserialize was told to panic");
        server.stop().await.unwrap();
    }

    async fn p9_a_panic_in_serialize_is_the_answer_of_send(world: World) {
        let server = world.serve(says_how()).await;
        let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for step in ["serialize", "convert"] {
            let answer = peer.ask(format!("{step}:panic")).await;
            assert_eq!(answer, format!("crashed {step} was told to panic"));
            let answer = peer.ask(format!("{step}:odd panic")).await;
            assert_eq!(answer, "crashed a panic without a message");
            assert_eq!(other.ask("goes on").await, "goes on");
        }
        server.stop().await.unwrap();
    }

    async fn p9_a_panic_in_serialize_is_the_answer_of_try_send_and_of_a_send_in_a_thread(world: World) {
        let server = world
            .serve(told(|client, mut requests| async move {
                let request = requests.recv().await?;
                let thread = client.clone();
                let here = matches!(client.try_send(request.clone()), Err(SendError::Crashed { .. }));
                let there = std::thread::spawn(move || thread.try_send(request));
                let there = matches!(there.join().unwrap(), Err(SendError::Crashed { .. }));
                client.send(format!("{here} {there}").into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("serialize:panic").await, "true true");
        server.stop().await.unwrap();
    }

    async fn p9_an_unhandled_crash_is_logged_once_and_the_server_goes_on(world: World) {
        for (step, side, crashed) in [
            ("deserialize", "decoding", 1),
            ("create", "decoding", 1),
            ("serialize", "encoding", 0),
            ("convert", "encoding", 0),
        ] {
            let server = world
                .serve(told(|client, mut requests| async move {
                    client.send(requests.recv().await?).await?;
                    Ok(())
                }))
                .await;
            let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
            peer.send(format!("{step}:panic")).await;
            let records = world.logs.wait_for(1).await;
            assert_eq!(records.len(), 1, "{records:?}");
            assert_eq!(records[0].level, tracing::Level::ERROR);
            assert!(records[0].fields.contains(&format!("client={}", peer.addr())), "{records:?}");
            let cause = format!("the protocol panicked while {side}: {step} was told to panic");
            assert!(records[0].message.contains(&cause), "{records:?}");
            assert_eq!(other.ask("goes on").await, "goes on");
            assert_eq!(peer.ask("so does this one").await, "so does this one");
            let stats = server.handle.stats();
            assert_eq!((stats.handlers_failed, stats.handlers_panicked), (1, 0));
            assert_eq!((stats.crashed, stats.malformed), (crashed, 0));
            server.stop().await.unwrap();
        }
    }
}

/// How a receive ended, as an answer.
fn crashed(result: Result<Bytes, RecvError>) -> Bytes {
    match result {
        Ok(request) => request,
        Err(RecvError::Crashed { message }) => format!("crashed: {message}").into(),
        Err(RecvError::Closed) => "closed".into(),
        Err(other) => format!("{other:?}").into(),
    }
}

async fn check_decode_panics(world: &World, step: &str) {
    let server = world
        .serve(told(|client, mut requests| async move {
            loop {
                let answer = crashed(requests.recv().await);
                if answer == "closed" {
                    return Ok(());
                }
                client.send(answer).await?;
            }
        }))
        .await;
    let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
    assert_eq!(peer.ask("before").await, "before");
    for _ in 0..2 {
        let answer = peer.ask(format!("{step}:panic")).await;
        assert_eq!(answer, format!("crashed: {step} was told to panic"));
        let answer = peer.ask(format!("{step}:odd panic")).await;
        assert_eq!(answer, "crashed: a panic without a message");
        assert_eq!(peer.ask("the same handler").await, "the same handler");
        assert_eq!(other.ask("somebody else").await, "somebody else");
    }
    let stats = server.handle.stats();
    assert_eq!(stats.handed_out, stats.received);
    server.stop().await.unwrap();
}

/// Answers with as many bytes as it is asked for, or says how long that may be.
fn echo_of_len() -> ServerBuilder {
    raw_server(|client, mut requests| async move {
        let len: usize = String::from_utf8(requests.recv().await?.to_vec())?.parse()?;
        let datagram = Bytes::from(vec![7; len]);
        let sent = [
            client.send_datagram(&datagram).await,
            client.try_send(datagram.clone()),
            client.send(datagram).await,
        ];
        for result in sent {
            match result {
                Ok(()) => {}
                Err(SendError::TooLarge {
                    len: too_large,
                    limit,
                }) => {
                    assert_eq!(too_large, len);
                    client.send(format!("at most {limit}").into()).await?;
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    })
}

async fn check_limit(world: &World, builder: ServerBuilder, addr: &str, most: usize) {
    let addr: SocketAddr = addr.parse().unwrap();
    let server = TestServer::start(world.bind_to(builder, addr).await).await;
    let peer = world.peer(server.addr).await;
    for (len, fits) in [(most, true), (most + 1, false), (most, true)] {
        peer.send(len.to_string()).await;
        for _ in 0..3 {
            let answer = peer.recv().await;
            if fits {
                assert_eq!(answer.len(), len);
                assert!(answer.iter().all(|byte| *byte == 7));
            } else {
                assert_eq!(answer, format!("at most {most}").into_bytes());
            }
        }
    }
    let handle = server.handle.clone();
    server.stop().await.unwrap();
    assert_eq!(handle.stats().send_errors, 0);
}

#[cfg(target_os = "linux")]
contract! {
    on udp, plain;
    async fn p6_a_v4_mapped_client_has_the_limit_of_ipv4(world: World) {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        socket.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let builder = echo_of_len().plain_transport(world.kind == Kind::Plain);
        let server = TestServer::start(builder.from_sockets([socket.into()]).unwrap()).await;
        let to: SocketAddr = ([127, 0, 0, 1], server.addr.port()).into();
        let peer = world.peer(to).await;
        for _ in 0..3 {
            peer.send("65508").await;
            assert_eq!(peer.recv_text().await, "at most 65507");
        }
        server.stop().await.unwrap();
    }
}
