//! Who is sent to, from which socket, and who that is equal to.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::net::SocketAddr;

use bytes::Bytes;
use postbox_server::{AddressError, Client, Session, WrongResponse};

use super::keeps_clients;
use crate::common::service::*;
use crate::common::*;
use crate::contract;

fn at(ip: &str, like: SocketAddr) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), like.port())
}

#[track_caller]
fn assert_same(one: &Client<Bytes>, other: &Client<Bytes>) {
    assert!(
        one == other && one.cmp(other) == Ordering::Equal,
        "{one:?} {other:?}"
    );
    assert_eq!(HashSet::from([one.clone(), other.clone()]).len(), 1);
    assert_eq!(one.local_addr(), other.local_addr());
    assert_eq!(one.to_string(), other.to_string());
}

#[track_caller]
fn assert_other(one: &Client<Bytes>, other: &Client<Bytes>) {
    assert!(
        one != other && one.cmp(other) != Ordering::Equal,
        "{one:?} {other:?}"
    );
}

contract! {
    async fn h17_it_is_equal_to_the_client_that_its_address_will_be(world: World) {
        let (builder, kept, mut given) = keeps_clients();
        let server = world.serve(builder).await;
        let (peer, another) = (world.peer(server.addr).await, world.peer(server.addr).await);
        let first = kept.clients().to(peer.addr()).unwrap();
        first.send("first".into()).await.unwrap();
        assert_eq!(peer.recv_text().await, "first");
        assert_eq!(peer.ask("hello").await, "hello");
        let client = given.recv().await.unwrap();
        assert_same(&first, &client);
        assert_same(&kept.clients().to(peer.addr()).unwrap(), &client);
        let named = kept.clients().local_addr(server.addr).to(peer.addr()).unwrap();
        assert_same(&named, &client);
        assert_eq!(first.remote_addr(), peer.addr());
        assert_other(&first, &kept.clients().to(another.addr()).unwrap());
        assert_eq!(another.ask("hello").await, "hello");
        assert_other(&first, &given.recv().await.unwrap());
        server.stop().await.unwrap();
    }

    async fn h17_the_session_key_makes_it_equal(world: World) {
        let (builder, kept, mut given) = keeps_clients();
        let server = world.serve(builder.session_key(Session::bytes(0..2))).await;
        let peer = world.peer(server.addr).await;
        let first = kept.clients().session(b"k1").to(peer.addr()).unwrap();
        first.send("first".into()).await.unwrap();
        assert_eq!(peer.recv_text().await, "first");
        assert_eq!(peer.ask("k1").await, "k1");
        let client = given.recv().await.unwrap();
        assert_same(&first, &client);
        assert_other(&kept.clients().session(b"k2").to(peer.addr()).unwrap(), &client);
        assert_other(&kept.clients().to(peer.addr()).unwrap(), &client);
        assert_eq!(peer.ask("-").await, "-", "too short for a key");
        assert_same(&kept.clients().to(peer.addr()).unwrap(), &given.recv().await.unwrap());
        server.stop().await.unwrap();
    }

    async fn h17_it_is_equal_whichever_worker_serves_its_address(world: World) {
        if world.kind == Kind::Plain && !cfg!(target_os = "linux") {
            return; // one worker
        }
        let (builder, kept, mut given) = keeps_clients();
        let server = world.serve(builder.workers(3)).await;
        for _ in 0..20 {
            let peer = world.peer(server.addr).await;
            let first = kept.clients().to(peer.addr()).unwrap();
            first.send("first".into()).await.unwrap();
            assert_eq!(peer.recv_text().await, "first");
            assert_eq!(peer.ask("hello").await, "hello");
            assert_same(&first, &given.recv().await.unwrap());
        }
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h17_on_a_wildcard_bind_the_local_address_makes_it_equal(world: World) {
        let (builder, kept, mut given) = keeps_clients();
        let server = world.bind_to(builder, "0.0.0.0:0".parse().unwrap()).await;
        let server = TestServer::start(server).await;
        let asked = at("127.0.0.2", server.addr);
        let peer = world.peer(asked).await;
        let named = kept.clients().local_addr(asked).to(peer.addr()).unwrap();
        named.send("first".into()).await.unwrap();
        assert_eq!(peer.recv_text().await, "first", "from the address that was named");
        assert_eq!(peer.ask("hello").await, "hello");
        let client = given.recv().await.unwrap();
        assert_same(&named, &client);
        // All that tells who a client is comes back from what it says of itself.
        let again = kept.clients().local_addr(client.local_addr());
        assert_same(&again.to(client.remote_addr()).unwrap(), &client);

        let another = kept.clients().local_addr(at("127.0.0.3", server.addr));
        assert_other(&another.to(peer.addr()).unwrap(), &client);
        // Without, it only sends.
        let unnamed = kept.clients().to(peer.addr()).unwrap();
        assert_other(&unnamed, &client);
        assert_eq!(unnamed.local_addr(), None);
        unnamed.send("from anywhere".into()).await.unwrap();
        let (told, from) = peer.recv_from().await;
        assert_eq!((&told[..], from.port()), (&b"from anywhere"[..], asked.port()));
        server.stop().await.unwrap();
    }

    on plain;
    async fn h17_on_a_wildcard_bind_the_plain_transport_knows_no_local_address(world: World) {
        let (builder, kept, mut given) = keeps_clients();
        let server = world.bind_to(builder, "0.0.0.0:0".parse().unwrap()).await;
        let server = TestServer::start(server).await;
        let asked = at("127.0.0.1", server.addr);
        let peer = world.peer(asked).await;
        assert_eq!(peer.ask("hello").await, "hello");
        let client = given.recv().await.unwrap();
        assert_same(&kept.clients().to(peer.addr()).unwrap(), &client);
        assert_same(&kept.clients().local_addr(asked).to(peer.addr()).unwrap(), &client);
        server.stop().await.unwrap();
    }

    on udp, plain;
    async fn h17_it_sends_from_the_socket_that_is_named(world: World) {
        let (builder, kept, mut given) = keeps_clients();
        let builder = builder.plain_transport(world.kind == Kind::Plain);
        let server = builder.bind(["127.0.0.1:0", "127.0.0.2:0"]).await.unwrap();
        let server = TestServer::start(server).await;
        let addresses = server.handle.addresses();
        let peer = world.peer(addresses[0]).await;
        let mut firsts = Vec::new();
        for addr in &addresses {
            let first = kept.clients().local_addr(*addr).to(peer.addr()).unwrap();
            first.send("first".into()).await.unwrap();
            assert_eq!(peer.recv_from().await, (b"first".to_vec(), *addr));
            peer.send_to("hello", *addr).await;
            assert_eq!(peer.recv_from().await, (b"hello".to_vec(), *addr));
            assert_same(&first, &given.recv().await.unwrap());
            firsts.push(first);
        }
        assert_other(&firsts[0], &firsts[1]);
        assert_same(&kept.clients().to(peer.addr()).unwrap(), &firsts[0]);
        server.stop().await.unwrap();
    }

    on udp, plain;
    async fn h17_each_family_is_sent_to_from_its_own_socket(world: World) {
        let (builder, kept, _given) = keeps_clients();
        let builder = builder.plain_transport(world.kind == Kind::Plain);
        let server = builder.bind(["127.0.0.1:0", "[::1]:0"]).await.unwrap();
        let server = TestServer::start(server).await;
        for addr in server.handle.addresses() {
            let peer = world.peer(addr).await;
            kept.clients().to(peer.addr()).unwrap().send("first".into()).await.unwrap();
            assert_eq!(peer.recv_from().await, (b"first".to_vec(), addr));
        }
        server.stop().await.unwrap();
    }

    on udp;
    async fn h17_a_socket_of_both_families_sends_to_both(world: World) {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        socket.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let (builder, kept, mut given) = keeps_clients();
        let server = builder.from_sockets([socket.into()]).unwrap();
        let server = TestServer::start(server).await;
        for own in ["127.0.0.1", "::1"] {
            let asked = at(own, server.addr);
            let peer = world.peer_at(SocketAddr::new(asked.ip(), 0), asked).await;
            let first = kept.clients().local_addr(asked).to(peer.addr()).unwrap();
            first.send("first".into()).await.unwrap();
            assert_eq!(peer.recv_text().await, "first");
            assert_eq!(peer.ask("hello").await, "hello");
            assert_same(&first, &given.recv().await.unwrap());
        }
        server.stop().await.unwrap();
    }

    async fn h17_another_response_type_than_the_handlers_is_an_error(world: World) {
        let builder = echo_with_init(|service| {
            let error = service.clients::<String>().unwrap_err();
            Box::pin(async move { Err(error.into()) })
        });
        let server = world.bind(builder).await;
        let error = server.serve_forever().await.unwrap_err();
        let told = "the handler's response type is not alloc::string::String";
        assert_eq!(source(&error), told);
        let cause = std::error::Error::source(&error).unwrap();
        assert!(cause.is::<WrongResponse>());
    }

    async fn h17_where_nothing_can_be_sent_is_an_error_in_plain_words(world: World) {
        let (builder, kept, _given) = keeps_clients();
        let server = world.serve(builder).await;
        for (local, remote, told) in [
            (None, "127.0.0.1:0", "nobody has the address 127.0.0.1:0: its port is 0, or it is unspecified"),
            (None, "0.0.0.0:0", "nobody has the address 0.0.0.0:0: its port is 0, or it is unspecified"),
            (None, "0.0.0.0:9", "nobody has the address 0.0.0.0:9: its port is 0, or it is unspecified"),
            (None, "[::1]:9", "no socket to send to [::1]:9 from: IPv4 and IPv6 have sockets of their own"),
            (None, "192.0.2.1:9", "cannot send to 192.0.2.1:9 from a loopback address"),
            (Some("192.0.2.1:9"), "127.0.0.1:9", "this server has no socket at 192.0.2.1:9"),
        ] {
            let local = local.map(|local: &str| local.parse::<SocketAddr>().unwrap());
            let clients = kept.clients().local_addr(local);
            let error: AddressError = clients.to(remote.parse().unwrap()).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
        server.stop().await.unwrap();
    }
}
