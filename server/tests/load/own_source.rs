//! L5: the server does not talk to itself.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postbox_server::{ServerBuilder, Stats};
use socket2::{Domain, Socket, Type};

use crate::common::*;
use crate::contract;

/// Answers each datagram with itself, a few times: one that talks to itself ends.
fn short_breath() -> ServerBuilder {
    let runs = Arc::new(AtomicUsize::new(0));
    raw_server(move |client, mut requests| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        async move {
            if run < 100 {
                client.send(requests.recv().await?).await?;
            }
            Ok(())
        }
    })
}

/// Serves sockets of the test's.
async fn serve_sockets<const N: usize>(
    world: &World,
    builder: ServerBuilder,
    sockets: [&UdpSocket; N],
) -> TestServer {
    let builder = builder.plain_transport(world.kind == Kind::Plain);
    let sockets = sockets.map(|socket| socket.try_clone().unwrap());
    TestServer::start(builder.from_sockets(sockets).unwrap()).await
}

/// The same port, at another address.
fn at(ip: [u8; 4], like: SocketAddr) -> SocketAddr {
    SocketAddr::from((ip, like.port()))
}

/// A datagram from 127.0.0.1 and the server's own port. Returns whether it was answered.
async fn is_answered(world: &World, builder: ServerBuilder) -> bool {
    let any = "0.0.0.0:0".parse().unwrap();
    let server = TestServer::start(world.bind_to(builder, any).await).await;
    let own = at([127, 0, 0, 1], server.addr);
    if world.kind == Kind::Memory {
        world
            .network
            .send_from(own, b"hello", at([127, 0, 0, 2], server.addr))
            .unwrap();
    } else {
        let socket = sharing(own);
        socket
            .send_to(b"hello", at([127, 0, 0, 2], server.addr))
            .unwrap();
    }
    let asked = |stats: &Stats| stats.received > 0 && stats.received == stats.accounted();
    let stats = server.stats_where(asked).await;
    server.handle.shutdown().await;
    stats.dropped_source == 0
}

contract! {
    on memory;
    async fn l5_a_server_does_not_talk_to_itself(world: World) {
        for bound in ["192.0.2.1:9", "[2001:db8::1]:9", "0.0.0.0:10", "[::]:10"] {
            let server = world.bind_to(short_breath(), bound.parse().unwrap()).await;
            let server = TestServer::start(server).await;
            let mut own = server.addr;
            if own.ip().is_unspecified() {
                let ip = if own.is_ipv4() { "198.51.100.7" } else { "2001:db8::7" };
                own.set_ip(ip.parse().unwrap());
            }
            world.network.send_from(own, b"forged", own).unwrap();
            let peer = world.peer(own).await;
            assert_eq!(peer.ask("good").await, "good");
            let stats = server.stats_where(|stats| stats.sent > 0).await;
            assert_eq!((stats.received, stats.dropped_source), (2, 1), "{bound}");
            // Another address, or another server of this host.
            let mut other = own;
            other.set_port(11);
            let neighbour = world.peer_at(other, own).await;
            assert_eq!(neighbour.ask("good").await, "good");
            server.stop().await.unwrap();
        }
    }

    on udp, plain;
    async fn l5_a_server_on_sockets_does_not_talk_to_itself(world: World) {
        let v6 = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        v6.set_only_v6(false).unwrap();
        v6.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let both_families = UdpSocket::from(v6);
        let bound = |addr| UdpSocket::bind::<&str>(addr).unwrap();
        for (socket, to) in [
            (bound("127.0.0.1:0"), "127.0.0.1"),
            (bound("0.0.0.0:0"), "127.0.0.1"),
            (bound("0.0.0.0:0"), "127.9.9.9"),
            (bound("[::1]:0"), "::1"),
            (bound("[::]:0"), "::1"),
            (both_families, "::ffff:127.0.0.1"),
        ] {
            let server = serve_sockets(&world, short_breath(), [&socket]).await;
            let own = SocketAddr::new(to.parse().unwrap(), server.addr.port());
            socket.send_to(b"forged", own).unwrap();
            let host = if own.is_ipv4() || to.contains('.') { "127.0.0.1" } else { "::1" };
            let peer = world.peer(SocketAddr::new(host.parse().unwrap(), own.port())).await;
            assert_eq!(peer.ask("good").await, "good");
            let stats = server.stats_where(|stats| stats.sent > 0).await;
            assert_eq!((stats.received, stats.dropped_source), (2, 1), "{own}");
            server.stop().await.unwrap();
        }
    }

    on udp, plain;
    async fn l5_the_sockets_of_one_server_do_not_talk_to_each_other(world: World) {
        let bound = |addr| UdpSocket::bind::<&str>(addr).unwrap();
        let (one, two) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
        let server = serve_sockets(&world, short_breath(), [&one, &two]).await;
        one.send_to(b"forged", two.local_addr().unwrap()).unwrap();
        two.send_to(b"forged", one.local_addr().unwrap()).unwrap();
        let stats = server.settled(2).await;
        assert_eq!((stats.dropped_source, stats.sent), (2, 0));
        server.stop().await.unwrap();
    }

    on memory, udp, plain;
    async fn l5_the_own_address_is_answered_where_others_share_it_or_the_user_allows_it(world: World) {
        assert!(is_answered(&world, short_breath().allow_own_source(true).workers(2)).await);
        assert!(is_answered(&world, short_breath().reuse_port(true)).await);
        // Several workers share a port too, but with nobody else.
        assert!(!is_answered(&world, short_breath().workers(2)).await);
        assert!(!is_answered(&world, short_breath().reuse_port(true).allow_own_source(false)).await);
    }

    on memory;
    async fn l5_the_own_address_is_answered_where_groups_are_joined(world: World) {
        let (group, interface) = (Ipv4Addr::new(239, 1, 2, 3), Ipv4Addr::LOCALHOST);
        let joined = || short_breath().join_multicast_v4(group, interface);
        assert!(is_answered(&world, joined()).await);
        assert!(!is_answered(&world, joined().allow_own_source(false)).await);
        assert!(is_answered(&world, short_breath().join_multicast_v6("ff02::9".parse().unwrap(), 1)).await);
        assert!(!is_answered(&world, short_breath()).await);
    }

    on udp, plain;
    async fn l5_the_own_address_is_answered_where_the_users_socket_shares_its_port(world: World) {
        for allow in [None, Some(false)] {
            let socket = sharing("127.0.0.1:0".parse().unwrap());
            let mut builder = short_breath();
            if let Some(allow) = allow {
                builder = builder.allow_own_source(allow);
            }
            let server = serve_sockets(&world, builder, [&socket]).await;
            socket.send_to(b"hello", server.addr).unwrap();
            let came = |stats: &Stats| stats.handed_out + stats.dropped_source > 0;
            let stats = server.stats_where(came).await;
            assert_eq!(stats.dropped_source, u64::from(allow.is_some()));
            server.handle.close().await;
        }
    }

    on memory;
    async fn l6_sources_that_are_never_answered_are_not_asked_about(world: World) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let builder = echo().admit(move |_| count.fetch_add(1, Ordering::SeqCst) == 0);
        let server = world.serve(builder).await;
        for source in ["127.0.0.1:0".parse().unwrap(), server.addr] {
            world.network.send_from(source, b"forged", server.addr).unwrap();
        }
        assert_eq!(world.peer(server.addr).await.ask("good").await, "good");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(server.handle.stats().dropped_source, 2);
        server.stop().await.unwrap();
    }
}
