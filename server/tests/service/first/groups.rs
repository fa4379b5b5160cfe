//! A client for a multicast group sends to all that have joined it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use super::keeps_clients;
use crate::common::*;
use crate::contract;

contract! {
    on memory;
    async fn h17_a_group_is_sent_to(world: World) {
        let (builder, kept, _given) = keeps_clients();
        let server = world.serve(builder).await;
        let group = "239.255.2.1:9000".parse().unwrap();
        let member = world.network.socket(group).unwrap();
        let client = kept.clients().to(group).unwrap();
        client.send("here I am".into()).await.unwrap();
        let (told, from) = member.recv_from().await.unwrap();
        assert_eq!((&told[..], from), (&b"here I am"[..], server.addr));
        server.stop().await.unwrap();
    }

    on udp, plain;
    async fn h17_a_group_is_sent_to_over_udp_and_its_members_are_answered(world: World) {
        let interface = Ipv4Addr::LOCALHOST;
        let (builder, kept, _given) = keeps_clients();
        let server = world.serve(builder).await;
        let group = Ipv4Addr::new(239, 255, 17, 1);
        let mut members = Vec::new();
        let mut port = 0;
        for _ in 0..2 {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&SocketAddr::from((group, port)).into()).unwrap();
            socket.join_multicast_v4(&group, &interface).unwrap();
            socket.set_nonblocking(true).unwrap();
            port = socket.local_addr().unwrap().as_socket().unwrap().port();
            members.push(tokio::net::UdpSocket::from_std(socket.into()).unwrap());
        }
        let client = kept.clients().to((group, port).into()).unwrap();
        client.send("here I am".into()).await.unwrap();
        client.flush().await.unwrap();
        for member in &members {
            let mut told = [0; 100];
            let received = tokio::time::timeout(HANG, member.recv_from(&mut told)).await;
            let (len, from) = received.unwrap().unwrap();
            assert_eq!((&told[..len], from), (&b"here I am"[..], server.addr));
        }
        let peer = world.peer(server.addr).await; // a member answers from its own address
        assert_eq!(peer.ask("hello").await, "hello");
        server.stop().await.unwrap();
    }
}

mod root {
    use super::*;
    use crate::binding::root::{BoxBody, run_on_own_host};

    /// Two interfaces, with an address of each family.
    const INTERFACES: &str = "ip link add one type veth peer name one-end
        ip link add two type veth peer name two-end
        for name in one one-end two two-end; do ip link set $name up; done
        ip addr add 10.9.1.1/24 dev one
        ip addr add 10.9.2.1/24 dev two
        for name in one two; do ip addr add fe80::7/64 dev $name nodad; done
        until [ $(ip -6 route show table local | grep -c '^local fe80::7 ') = 2 ]; do :; done";

    fn on_own_host(test: &str, body: fn(World) -> BoxBody) {
        run_on_own_host(module_path!(), test, INTERFACES, body);
    }

    /// The number of an interface: in the second column, where its name is in the last.
    fn index(name: &str) -> u32 {
        let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap();
        let lines = table.lines().map(|line| line.split_whitespace());
        let mut lines = lines.map(Iterator::collect::<Vec<_>>);
        let line = lines.find(|line| line.last() == Some(&name)).unwrap();
        u32::from_str_radix(line[1], 16).unwrap()
    }

    /// A member of both groups on one interface.
    fn member(
        domain: socket2::Domain,
        at: SocketAddr,
        interface: (Ipv4Addr, u32),
    ) -> std::net::UdpSocket {
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&at.into()).unwrap();
        match at {
            SocketAddr::V4(at) => socket.join_multicast_v4(at.ip(), &interface.0).unwrap(),
            SocketAddr::V6(at) => socket.join_multicast_v6(at.ip(), interface.1).unwrap(),
        }
        socket.set_read_timeout(Some(HANG)).unwrap();
        socket.into()
    }

    #[test]
    fn h17_root_a_group_is_sent_to_through_the_interface_that_is_named() {
        let test = "h17_root_a_group_is_sent_to_through_the_interface_that_is_named";
        on_own_host(test, |_| {
            Box::pin(async move {
                let (builder, kept, _given) = keeps_clients();
                let server = builder.bind_every_interface(9000).unwrap();
                let server = TestServer::start(server).await;
                let group = Ipv4Addr::new(239, 255, 17, 1);
                let group_v6: Ipv6Addr = "ff02::17:1".parse().unwrap();
                for (name, own) in [("two", [10, 9, 2, 1]), ("one", [10, 9, 1, 1])] {
                    let (own, number) = (Ipv4Addr::from(own), index(name));
                    // Its own address names the interface, for IPv4; the zone does, for IPv6.
                    let v4 = SocketAddr::from((group, 9001));
                    let mut listener = member(socket2::Domain::IPV4, v4, (own, number));
                    let local = SocketAddr::from((own, 9000));
                    let client = kept.clients().local_addr(local).to(v4).unwrap();
                    client.send(Bytes::from(name)).await.unwrap();
                    client.flush().await.unwrap();
                    assert_eq!(hears(&mut listener), (name.into(), local));

                    let v6 = std::net::SocketAddrV6::new(group_v6, 9001, 0, number);
                    let mut listener = member(socket2::Domain::IPV6, v6.into(), (own, number));
                    let client = kept.clients().to(v6.into()).unwrap();
                    client.send(Bytes::from(name)).await.unwrap();
                    client.flush().await.unwrap();
                    let (told, from) = hears(&mut listener);
                    let SocketAddr::V6(from) = from else {
                        panic!("{from}")
                    };
                    assert_eq!((&*told, from.scope_id(), from.port()), (name, number, 9000));
                }
                server.stop().await.unwrap();
            })
        });
    }

    fn hears(listener: &mut std::net::UdpSocket) -> (String, SocketAddr) {
        let mut told = [0; 100];
        let (len, from) = listener.recv_from(&mut told).unwrap();
        (String::from_utf8(told[..len].to_vec()).unwrap(), from)
    }
}
