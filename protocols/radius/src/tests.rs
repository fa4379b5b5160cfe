//! The server on a network in memory. Time is tokio's, paused.

use std::time::Duration;

use bytes::BytesMut;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use postbox::{MemoryNetwork, MemorySocket, Serializer, Stats};
use tokio::time::{Instant, timeout};

use super::wire::*;
use super::*;

const CONFIG: &str = include_str!("../example.conf");
const SERVER: &str = "192.0.2.1:1812";
const LONG_PASSWORD: &str = "battery-staple-of-more-than-sixteen-characters";

fn mac(secret: &str, bytes: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Md5>::new_from_slice(secret.as_bytes()).unwrap();
    mac.chain_update(bytes).finalize().into_bytes().to_vec()
}

/// A request as RFC 2865 section 5.2 and RFC 3579 section 3.2 have it.
fn request(identifier: u8, user: &str, password: &str, secret: &str) -> Packet {
    let authenticator = [identifier ^ 0x5a; 16];
    let mut request = Packet::new(ACCESS_REQUEST, identifier, &authenticator);
    request.push(USER_NAME, user.as_bytes());
    let mut hidden = password.as_bytes().to_vec();
    hidden.resize(password.len().next_multiple_of(16).max(16), 0);
    let mut before = authenticator.to_vec();
    for block in hidden.chunks_mut(16) {
        let pad = Md5::new()
            .chain_update(secret)
            .chain_update(&before)
            .finalize();
        block
            .iter_mut()
            .zip(pad)
            .for_each(|(byte, pad)| *byte ^= pad);
        before = block.to_vec();
    }
    request.push(USER_PASSWORD, &hidden);
    request.push(PROXY_STATE, b"first");
    request.push(PROXY_STATE, b"second");
    signed(request, secret)
}

fn signed(mut request: Packet, secret: &str) -> Packet {
    request.push(MESSAGE_AUTHENTICATOR, &[0; 16]);
    let at = request.find(MESSAGE_AUTHENTICATOR).unwrap();
    let mac = mac(secret, &request.bytes);
    request.bytes[at].copy_from_slice(&mac);
    request
}

/// Lets a client at this address talk with a server, for a minute at the most.
async fn talk(
    builder: ServerBuilder,
    client: &str,
    talk: impl AsyncFnOnce(&MemorySocket),
) -> Stats {
    let network = MemoryNetwork::new();
    let server = builder
        .bind_memory(&network, SERVER.parse().unwrap())
        .unwrap();
    let client = network.socket(client.parse().unwrap()).unwrap();
    let talking = async {
        timeout(Duration::from_secs(60), talk(&client))
            .await
            .unwrap()
    };
    server.serve_until(talking).await.unwrap();
    server.handle().stats()
}

fn example() -> ServerBuilder {
    radius(Config::parse(CONFIG).unwrap())
}

fn send(client: &MemorySocket, datagram: &[u8]) {
    client.send_to(datagram, SERVER.parse().unwrap()).unwrap();
}

async fn recv(client: &MemorySocket) -> Packet {
    RadiusSerializer
        .deserialize(&client.recv_from().await.unwrap().0)
        .unwrap()
}

/// Whether the reply is of who knows the secret, and to this request.
fn is_authentic(reply: &Packet, request: &Packet, secret: &str) -> bool {
    let mut bytes = reply.bytes.clone();
    bytes[4..20].copy_from_slice(request.authenticator());
    let digest = Md5::new()
        .chain_update(&bytes)
        .chain_update(secret)
        .finalize();
    let at = reply.find(MESSAGE_AUTHENTICATOR).unwrap();
    assert_eq!(at.start, 22, "it is the first attribute");
    bytes[at.clone()].fill(0);
    let identifies = reply.identifier() == request.identifier();
    let mac = mac(secret, &bytes);
    identifies && reply.authenticator() == &digest[..] && reply.bytes[at] == mac[..]
}

#[tokio::test(start_paused = true)]
async fn users_are_accepted_or_rejected() {
    for (user, password, code, message) in [
        ("ann", "correct-horse", ACCESS_ACCEPT, "Hello, ann"),
        ("bob", LONG_PASSWORD, ACCESS_ACCEPT, "Hello, bob"),
        (
            "bob",
            &LONG_PASSWORD[..32],
            ACCESS_REJECT,
            "Wrong user or password",
        ),
        (
            "ann",
            "correct-horsf",
            ACCESS_REJECT,
            "Wrong user or password",
        ),
        ("ann", "", ACCESS_REJECT, "Wrong user or password"),
        ("eve", "", ACCESS_REJECT, "Wrong user or password"),
    ] {
        let stats = talk(example(), "127.0.0.1:7", async |client| {
            let request = request(9, user, password, "testing123");
            send(client, &request.bytes);
            let reply = recv(client).await;
            assert_eq!(reply.code(), code, "{user} {password}");
            assert!(is_authentic(&reply, &request, "testing123"));
            let value = |kind| &reply.bytes[reply.find(kind).unwrap()];
            assert_eq!(value(REPLY_MESSAGE), message.as_bytes());
            let states = reply.attributes().filter(|(kind, _)| *kind == PROXY_STATE);
            let states: Vec<_> = states.map(|(_, at)| &reply.bytes[at]).collect();
            assert_eq!(states, [&b"first"[..], b"second"]);
        });
        assert_eq!(stats.await.handlers_returned, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn each_client_has_a_secret_of_its_own() {
    for (address, secret) in [
        ("127.0.0.2:7", "another-secret"),
        ("[::1]:7", "a-third-secret"),
    ] {
        let network = MemoryNetwork::new();
        let server: std::net::SocketAddr = match address.starts_with('[') {
            true => "[2001:db8::1]:1812".parse().unwrap(),
            false => SERVER.parse().unwrap(),
        };
        let served = example().bind_memory(&network, server).unwrap();
        let client = network.socket(address.parse().unwrap()).unwrap();
        let talking = async {
            let wrong = request(1, "ann", "correct-horse", "testing123");
            let right = request(2, "ann", "correct-horse", secret);
            client.send_to(&wrong.bytes, server).unwrap();
            client.send_to(&right.bytes, server).unwrap();
            let reply = recv(&client).await;
            assert!(is_authentic(&reply, &right, secret));
        };
        served
            .serve_until(timeout(Duration::from_secs(60), talking))
            .await
            .unwrap();
        let stats = served.handle().stats();
        assert_eq!((stats.handlers_failed, stats.sent), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_authentic_is_never_answered() {
    let good = request(1, "ann", "correct-horse", "testing123");
    let mut unsigned = Packet::new(ACCESS_REQUEST, 2, &[0; 16]);
    unsigned.push(USER_NAME, b"ann");
    let nameless = signed(Packet::new(ACCESS_REQUEST, 3, &[0; 16]), "testing123");
    let without_password = signed(unsigned.clone(), "testing123");
    let hidden = |password: &[u8]| {
        let mut request = unsigned.clone();
        request.push(USER_PASSWORD, password);
        signed(request, "testing123")
    };
    let passwords = [hidden(b""), hidden(b"not sixteen"), hidden(&[7; 144])];
    let mut short_mac = unsigned.clone();
    short_mac.push(MESSAGE_AUTHENTICATOR, b"");
    let mut accounting = Packet::new(4, 4, good.authenticator());
    accounting.push(USER_NAME, b"ann");
    accounting.push(
        USER_PASSWORD,
        &good.bytes[good.find(USER_PASSWORD).unwrap()],
    );
    let accounting = signed(accounting, "testing123");
    let mut bad = vec![nameless, without_password, short_mac, accounting];
    bad.extend(passwords);
    bad.push(unsigned);
    for at in 4..good.bytes.len() {
        let mut changed = good.clone();
        changed.bytes[at] ^= 0x10;
        bad.push(changed);
    }
    let stats = talk(example(), "127.0.0.1:7", async |client| {
        for packet in &bad {
            send(client, &packet.bytes);
        }
        send(client, &good.bytes);
        assert_eq!(recv(client).await.code(), ACCESS_ACCEPT);
        assert!(client.try_recv_from().is_err());
    })
    .await;
    assert_eq!(stats.handlers_failed, bad.len() as u64);
    assert_eq!((stats.handlers_returned, stats.sent), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn strangers_and_what_is_no_packet_are_dropped() {
    let good = request(1, "ann", "correct-horse", "testing123");
    let stats = talk(example(), "127.0.0.3:7", async |client| {
        send(client, &good.bytes);
        assert!(
            timeout(Duration::from_secs(9), client.recv_from())
                .await
                .is_err()
        );
    })
    .await;
    assert_eq!((stats.received, stats.dropped_refused), (1, 1));

    let stats = talk(example(), "127.0.0.1:7", async |client| {
        for end in 0..good.bytes.len() {
            send(client, &good.bytes[..end]);
        }
        let mut padded = good.bytes.clone();
        padded.extend([0xff; 9]);
        send(client, &padded);
        assert_eq!(recv(client).await.code(), ACCESS_ACCEPT);
    })
    .await;
    assert_eq!(stats.malformed, good.bytes.len() as u64);
}

#[test]
fn lengths_that_are_wrong_are_errors() {
    let mut datagram = request(1, "ann", "correct-horse", "testing123").bytes;
    for length in [0, 1, 255] {
        datagram[21] = length; // of the first attribute
        assert!(RadiusSerializer.deserialize(&datagram).is_err());
    }
    let packet = |length: u16, attributes: &[u8]| {
        let mut datagram = Packet::new(ACCESS_REQUEST, 1, &[0; 16]).bytes;
        datagram.extend_from_slice(attributes);
        datagram[2..4].copy_from_slice(&length.to_be_bytes());
        RadiusSerializer.deserialize(&datagram)
    };
    // Empty attributes, and one that is odd, so that any length ends with one.
    let attributes = [&[1, 3, 7][..], &[1, 2].repeat(40_000)].concat();
    for length in [20, 23, 25, 4095] {
        assert!(packet(length, &attributes).is_ok(), "{length}");
    }
    for length in [0, 19, 21, 22, 4096, 4097, u16::MAX] {
        assert!(packet(length, &attributes).is_err(), "{length}");
    }
    assert!(packet(24, &[1, 1, 3, 7]).is_err());
    let mut packet = Packet::new(ACCESS_REQUEST, 1, &[0; 16]);
    (0..100).for_each(|_| packet.push(PROXY_STATE, &[7; 253]));
    let mut datagram = BytesMut::new();
    RadiusSerializer.serialize(&packet, &mut datagram).unwrap();
    assert_eq!(datagram.len(), 20 + 15 * 255);
    assert_eq!(RadiusSerializer.deserialize(&datagram).unwrap(), packet);
}

/// A port's 256 identifiers at once take as long as one, but not where an address has one run only.
#[tokio::test(start_paused = true)]
async fn requests_of_one_port_are_looked_up_at_once() {
    let config = || Arc::new(Config::parse(CONFIG).unwrap());
    let one_run = || {
        let config = config();
        let answer = move |question| reply(Arc::clone(&config), question);
        Server::builder_question_fn(DatagramProtocol::new(RadiusSerializer), answer).concurrency(1)
    };
    for (builder, at_least, at_most) in [
        (example(), LOOK_UP, LOOK_UP * 2),
        (one_run(), LOOK_UP * 256, LOOK_UP * 257),
    ] {
        let stats = talk(builder, "127.0.0.1:7", async |client| {
            let begin = Instant::now();
            for identifier in 0..=255 {
                let request = request(identifier, "ann", "correct-horse", "testing123");
                send(client, &request.bytes);
            }
            let mut answered = std::collections::BTreeSet::new();
            while answered.len() < 256 {
                answered.insert(recv(client).await.identifier());
            }
            let took = begin.elapsed();
            assert!(at_least <= took && took < at_most, "{took:?}");
        });
        assert_eq!(stats.await.sent, 256);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_is_looked_up_once() {
    let stats = talk(example(), "127.0.0.1:7", async |client| {
        let request = request(1, "ann", "correct-horse", "testing123");
        send(client, &request.bytes);
        send(client, &request.bytes);
        let reply = recv(client).await;
        send(client, &request.bytes);
        assert_eq!(recv(client).await, reply);
    });
    let stats = stats.await;
    assert_eq!((stats.handlers_returned, stats.sent), (1, 2));
    assert_eq!((stats.dropped_repeated, stats.answered_again), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn another_request_with_the_same_identifier_has_its_own_reply() {
    let stats = talk(example(), "127.0.0.1:7", async |client| {
        for (password, code) in [("correct-horse", ACCESS_ACCEPT), ("wrong", ACCESS_REJECT)] {
            let request = request(1, "ann", password, "testing123");
            send(client, &request.bytes);
            assert_eq!(recv(client).await.code(), code);
        }
    });
    assert_eq!(stats.await.handlers_returned, 2);
}

#[test]
fn a_config_of_something_else_is_refused() {
    for bad in [
        "client 127.0.0.1",
        "client localhost secret",
        "group ann staff",
        "user a b c",
    ] {
        assert!(Config::parse(bad).is_err(), "{bad}");
    }
    assert!(Config::parse("# nobody\n\n").is_ok());
}
