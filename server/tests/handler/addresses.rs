//! H10 and H13: who a client is, which address it asked, and the socket between.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use postbox_server::{Client, ServerBuilder};
use tokio::sync::{Notify, mpsc};

use crate::common::*;
use crate::contract;

/// A server that tells each client its addresses, and gives the client object away.
fn tells_addresses() -> (ServerBuilder, mpsc::UnboundedReceiver<Client<Bytes>>) {
    let (give, given) = mpsc::unbounded_channel();
    let builder = raw_server(move |client, mut requests| {
        give.send(client.clone()).unwrap();
        async move {
            requests.recv().await?;
            client.send(addresses(&client)).await?;
            Ok(())
        }
    });
    (builder, given)
}

fn addresses(client: &Client<Bytes>) -> Bytes {
    match client.local_addr() {
        Some(local) => format!("{} at {local}", client.remote_addr()).into(),
        None => format!("{} at an unknown address", client.remote_addr()).into(),
    }
}

/// Serves the unspecified address of a family.
async fn on_every_address(world: &World, builder: ServerBuilder, addr: &str) -> TestServer {
    let server = world.bind_to(builder, addr.parse().unwrap()).await;
    TestServer::start(server).await
}

fn at(ip: &str, server: &TestServer) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), server.addr.port())
}

/// Asks at one of the server's addresses, and returns the answer, which has to come from there.
async fn ask_at(peer: &Peer, asked: SocketAddr) -> String {
    peer.send_to("who am I", asked).await;
    let (answer, from) = peer.recv_from().await;
    assert_eq!(
        from, asked,
        "the answer leaves from the address that was asked"
    );
    String::from_utf8(answer).unwrap()
}

contract! {
    async fn h13_a_client_tells_its_remote_address_and_the_local_address_it_sent_to(world: World) {
        let (builder, _clients) = tells_addresses();
        let server = world.serve(builder).await;
        for _ in 0..3 {
            let peer = world.peer(server.addr).await;
            let answer = peer.ask("who am I").await;
            assert_eq!(answer, format!("{} at {}", peer.addr(), server.addr));
        }
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h13_on_a_wildcard_bind_answers_leave_from_the_address_that_was_asked(world: World) {
        let (builder, mut clients) = tells_addresses();
        let server = on_every_address(&world, builder, "0.0.0.0:0").await;
        let peer = world.peer_at("127.0.0.1:0".parse().unwrap(), server.addr).await;
        for ip in ["127.0.0.2", "127.0.0.1", "127.9.8.7"] {
            let asked = at(ip, &server);
            assert_eq!(ask_at(&peer, asked).await, format!("{} at {asked}", peer.addr()));
            // So does what is pushed later, from elsewhere.
            let client = clients.recv().await.unwrap();
            tokio::task::spawn_blocking(move || {
                block_on(client.send(Bytes::from("pushed"))).unwrap();
            })
            .await
            .unwrap();
            assert_eq!(peer.recv_from().await, (b"pushed".to_vec(), asked));
        }
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h13_on_a_wildcard_bind_of_ipv6_too(world: World) {
        let (builder, _clients) = tells_addresses();
        let server = on_every_address(&world, builder, "[::]:0").await;
        let asked = at("::1", &server);
        let peer = world.peer_at("[::1]:0".parse().unwrap(), server.addr).await;
        assert_eq!(ask_at(&peer, asked).await, format!("{} at {asked}", peer.addr()));
        server.stop().await.unwrap();
    }

    on plain;
    async fn h13_the_plain_transport_cannot_tell_on_a_wildcard_bind(world: World) {
        let (builder, _clients) = tells_addresses();
        let server = on_every_address(&world, builder, "0.0.0.0:0").await;
        assert!(!server.handle.capabilities().local_addr);
        let peer = world.peer_at("127.0.0.1:0".parse().unwrap(), server.addr).await;
        let answer = ask_at(&peer, at("127.0.0.1", &server)).await;
        assert_eq!(answer, format!("{} at an unknown address", peer.addr()));
        server.stop().await.unwrap();
    }

    on memory;
    async fn h13_broadcasts_are_answered_from_the_interfaces_own_address(world: World) {
        let (builder, _clients) = tells_addresses();
        let server = on_every_address(&world, builder, "0.0.0.0:0").await;
        let peer = world.peer_at("127.0.0.1:0".parse().unwrap(), server.addr).await;
        peer.send_to("who am I", at("255.255.255.255", &server)).await;
        let (answer, from) = peer.recv_from().await;
        assert_eq!(from, at("127.0.0.1", &server));
        let asked = at("255.255.255.255", &server);
        assert_eq!(answer, format!("{} at {asked}", peer.addr()).as_bytes());
        server.stop().await.unwrap();
    }

    on udp;
    async fn h13_broadcast_and_multicast_over_udp_are_answered_from_the_interfaces_own_address(world: World) {
        let group = "239.255.77.2".parse().unwrap();
        let loopback = "127.0.0.1".parse().unwrap();
        let (builder, _clients) = tells_addresses();
        let builder = builder.join_multicast_v4(group, loopback);
        let server = on_every_address(&world, builder, "0.0.0.0:0").await;
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.set_broadcast(true).unwrap();
        socket2::SockRef::from(&socket).set_multicast_if_v4(&loopback).unwrap();
        for asked in ["127.255.255.255", "239.255.77.2"] {
            let asked = at(asked, &server);
            socket.send_to(b"who am I", asked).await.unwrap();
            let mut answer = [0; 100];
            let received = tokio::time::timeout(HANG, socket.recv_from(&mut answer)).await;
            let (len, from) = received.unwrap().unwrap();
            assert_eq!(from, at("127.0.0.1", &server));
            let expected = format!("{} at {asked}", socket.local_addr().unwrap());
            assert_eq!(&answer[..len], expected.as_bytes());
        }
        server.stop().await.unwrap();
    }

    on udp, plain;
    async fn h13_v4_mapped_addresses_work(world: World) {
        let (builder, mut clients) = tells_addresses();
        let builder = builder.plain_transport(world.kind == Kind::Plain);
        let server = TestServer::start(builder.from_sockets([dual_stack()]).unwrap()).await;
        for ip in ["127.0.0.1", "::1"] {
            let peer = world.peer_at(SocketAddr::new(ip.parse().unwrap(), 0), server.addr).await;
            let answer = ask_at(&peer, at(ip, &server)).await;
            let seen = match peer.addr().ip() {
                IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), peer.addr().port()),
                IpAddr::V6(_) => peer.addr(),
            };
            let client = clients.recv().await.unwrap();
            assert_eq!(client.remote_addr(), seen);
            if world.kind == Kind::Udp {
                let local = client.local_addr().unwrap();
                assert_eq!(local.ip().to_canonical(), at(ip, &server).ip());
            }
            assert_eq!(answer.as_bytes(), &addresses(&client)[..]);
        }
        server.stop().await.unwrap();
    }

    on udp, plain;
    async fn h13_socket_options_are_reached_but_the_socket_is_not_read_or_closed(world: World) {
        let server = world.serve_alone(echo().ttl(7)).await;
        let sockets = server.handle.sockets();
        let [options] = &sockets[..] else { panic!("one socket: {sockets:?}") };
        assert_eq!(options.local_addr().unwrap(), server.addr);
        assert_eq!(options.ttl().unwrap(), 7);
        options.set_ttl(9).unwrap();
        options.set_tos(0x10).unwrap();
        assert_eq!((options.ttl().unwrap(), options.tos().unwrap()), (9, 0x10));
        assert!(options.recv_buffer_size().unwrap() > 0);
        // What it can do leaves the server serving; and it keeps nothing open.
        let options = options.clone();
        drop(sockets);
        assert_eq!(world.peer(server.addr).await.ask("x").await, "x");
        let TestServer { server, handle, addr, serving } = server;
        handle.close().await;
        serving.await.unwrap().unwrap();
        assert_eq!(options.ttl().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
        assert!(handle.sockets().is_empty());
        drop(world.bind_to(echo(), addr).await);
        drop(server);
    }
}

/// An IPv6 socket that takes IPv4 too, as a user may make one.
fn dual_stack() -> std::net::UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
    socket.set_only_v6(false).unwrap();
    let addr: SocketAddr = "[::]:0".parse().unwrap();
    socket.bind(&addr.into()).unwrap();
    socket.into()
}

fn hash(client: &Client<Bytes>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    client.hash(&mut hasher);
    hasher.finish()
}

#[track_caller]
fn assert_same(one: &Client<Bytes>, other: &Client<Bytes>) {
    assert_eq!(one, other);
    assert_eq!(one.cmp(other), Ordering::Equal);
    assert_eq!(one.to_string(), other.to_string());
    assert_eq!(hash(one), hash(other));
}

contract! {
    async fn h10_clients_are_equal_and_hash_the_same_exactly_when_they_are_the_same_client(world: World) {
        let (builder, mut clients) = tells_addresses();
        let server = world.serve(builder).await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        let mut seen = Vec::new();
        for peer in [&one, &two, &one, &two] {
            peer.ask("x").await;
            seen.push(clients.recv().await.unwrap());
        }
        assert_same(&seen[0], &seen[2]);
        assert_same(&seen[1], &seen[3]);
        assert_same(&seen[0], &seen[0].clone());
        assert_ne!(seen[0], seen[1]);
        assert_eq!(seen[0].cmp(&seen[1]), seen[1].cmp(&seen[0]).reverse());
        assert_eq!(seen[0].to_string(), one.addr().to_string());
        // The same remote address at another server's socket is another client.
        let (builder, mut others) = tells_addresses();
        let other = world.serve(builder).await;
        one.send_to("x", other.addr).await;
        one.recv_from().await;
        assert_ne!(others.recv().await.unwrap(), seen[0]);
        other.stop().await.unwrap();
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h10_a_client_at_another_local_address_is_another_client(world: World) {
        let (builder, mut clients) = tells_addresses();
        let server = on_every_address(&world, builder, "0.0.0.0:0").await;
        let peer = world.peer_at("127.0.0.1:0".parse().unwrap(), server.addr).await;
        let mut seen = Vec::new();
        for ip in ["127.0.0.2", "127.0.0.3", "127.0.0.2"] {
            ask_at(&peer, at(ip, &server)).await;
            seen.push(clients.recv().await.unwrap());
        }
        assert_same(&seen[0], &seen[2]);
        assert_ne!(seen[0], seen[1]);
        assert_eq!(seen[0].remote_addr(), seen[1].remote_addr());
        let (peer, port) = (peer.addr(), server.addr.port());
        assert_eq!(seen[0].to_string(), format!("{peer} at 127.0.0.2:{port}"));
        let sorted = BTreeSet::from_iter(seen.into_iter().rev());
        let asked = sorted.iter().map(|client| client.local_addr().unwrap().ip().to_string());
        assert_eq!(asked.collect::<Vec<_>>(), ["127.0.0.2", "127.0.0.3"]);
        server.stop().await.unwrap();
    }

    async fn h10_a_client_is_the_same_after_a_restart(world: World) {
        let (builder, mut clients) = tells_addresses();
        let server = world.serve(builder).await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        one.ask("x").await;
        let before = clients.recv().await.unwrap();
        let TestServer { server, handle, serving, .. } = server;
        handle.shutdown().await;
        serving.await.unwrap().unwrap();
        let server = TestServer::start(server).await;
        two.ask("x").await;
        one.ask("x").await;
        let (other, after) = (clients.recv().await.unwrap(), clients.recv().await.unwrap());
        assert_same(&before, &after);
        assert_ne!(before, other);
        server.stop().await.unwrap();
    }

    // Runs are used again for other clients, but not those that somebody holds.
    async fn h10_a_client_stays_the_same_when_memory_is_used_again(world: World) {
        let kept: Arc<Mutex<HashSet<Client<Bytes>>>> = Arc::default();
        let keep = Arc::clone(&kept);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let keep = Arc::clone(&keep);
                async move {
                    let text = requests.recv().await?;
                    if text == "keep" {
                        keep.lock().unwrap().insert(client.clone());
                    }
                    client.send(text).await?;
                    Ok(())
                }
            }))
            .await;
        let mut peers = Vec::new();
        for _ in 0..10 {
            peers.push(world.peer(server.addr).await);
        }
        for text in ["forget", "keep", "forget", "keep"] {
            for peer in &peers {
                assert_eq!(peer.ask(text).await, text);
            }
        }
        let known: HashSet<_> = peers.iter().map(Peer::addr).collect();
        let kept = std::mem::take(&mut *kept.lock().unwrap());
        assert_eq!(kept.len(), peers.len());
        assert_eq!(kept.iter().map(Client::remote_addr).collect::<HashSet<_>>(), known);
        server.stop().await.unwrap();
    }

    async fn h10_the_client_of_each_of_many_handlers_at_once_is_its_own(world: World) {
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let gate = Arc::clone(&gate);
                async move {
                    requests.recv().await?;
                    client.send(Bytes::from("waits")).await?;
                    gate.notified().await;
                    client.send(addresses(&client)).await?;
                    Ok(())
                }
            }))
            .await;
        let mut peers = Vec::new();
        for _ in 0..20 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("x").await, "waits");
            peers.push(peer);
        }
        opened.notify_waiters();
        for peer in &peers {
            assert_eq!(peer.recv_text().await, format!("{} at {}", peer.addr(), server.addr));
        }
        server.stop().await.unwrap();
    }
}
