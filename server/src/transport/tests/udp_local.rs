//! H13 on sockets: the address that was asked, and answers from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::task::Poll;

use socket2::SockRef;

use super::*;
use crate::transport::udp::UdpTransport;

/// Sends one datagram to `asked` on the server's port, and has it answered from there.
pub(super) async fn ask(transport: &mut UdpTransport, from: &UdpSocket, asked: SocketAddr) -> Meta {
    from.send_to(b"ask", asked).unwrap();
    let (meta, bytes) = recv_all(transport, &mut RecvBatch::new(4, 100), 1)
        .await
        .remove(0);
    assert_eq!(bytes, b"ask");
    answer(transport, meta.remote, meta.local, b"answer").await;
    meta
}

fn v4(addr: &str, port: u16) -> SocketAddr {
    SocketAddr::new(addr.parse().unwrap(), port)
}

#[test]
fn h13_reply_leaves_from_the_asked_address() {
    let socket = open("0.0.0.0:0");
    let port = addr_of(&socket).port();
    run(async {
        let mut transport = udp(socket, false).unwrap();
        let client = client("127.0.0.1");
        for ip in ["127.0.0.2", "127.0.0.1", "127.9.8.7"] {
            let meta = ask(&mut transport, &client, v4(ip, port)).await;
            let ip: IpAddr = ip.parse().unwrap();
            let local = LocalAddr {
                asked: ip,
                reply_from: Some(ip),
                interface: 0,
            };
            assert_eq!(meta.local, Some(local));
            assert_eq!(meta.remote, client.local_addr().unwrap());
            assert_eq!(
                hear(&client),
                (b"answer".to_vec(), SocketAddr::new(ip, port))
            );
        }
    });
}

#[test]
fn h13_reply_on_ipv6_leaves_from_the_asked_address() {
    let socket = open("[::]:0");
    let port = addr_of(&socket).port();
    run(async {
        let mut transport = udp(socket, false).unwrap();
        let client = client("::1");
        let meta = ask(&mut transport, &client, v4("::1", port)).await;
        let ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let local = LocalAddr {
            asked: ip,
            reply_from: Some(ip),
            interface: 0,
        };
        assert_eq!(meta.local, Some(local));
        assert_eq!(
            hear(&client),
            (b"answer".to_vec(), SocketAddr::new(ip, port))
        );
    });
}

#[test]
fn h13_on_a_specific_address_nothing_need_be_told() {
    let socket = open("127.0.0.5:0");
    let addr = addr_of(&socket);
    run(async {
        let mut transport = udp(socket, false).unwrap();
        let client = client("127.0.0.1");
        assert_eq!(ask(&mut transport, &client, addr).await.local, None);
        assert_eq!(hear(&client).1, addr);
    });
}

/// A dual-stack socket, as a user may make one.
fn dual_stack() -> Arc<ServerSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_only_v6(false).unwrap();
    socket
        .bind(&"[::]:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    Arc::new(ServerSocket::opened(socket))
}

#[test]
fn h13_v4_mapped_addresses_work() {
    let socket = dual_stack();
    let port = addr_of(&socket).port();
    run(async {
        let mut transport = udp(socket, false).unwrap();
        let client = client("127.0.0.1");
        let meta = ask(&mut transport, &client, v4("127.0.0.3", port)).await;
        let ip = IpAddr::V6(Ipv4Addr::new(127, 0, 0, 3).to_ipv6_mapped());
        let local = LocalAddr {
            asked: ip,
            reply_from: Some(ip),
            interface: 0,
        };
        assert_eq!(meta.local, Some(local));
        assert_eq!(
            meta.remote.ip().to_canonical(),
            client.local_addr().unwrap().ip()
        );
        assert_eq!(hear(&client).1, v4("127.0.0.3", port));

        let six = super::client("::1");
        let meta = ask(&mut transport, &six, v4("::1", port)).await;
        assert_eq!(meta.local.unwrap().asked, IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(hear(&six).1, v4("::1", port));
    });
}

#[test]
fn h13_broadcast_is_answered_from_the_interfaces_own_address() {
    for socket in [open("0.0.0.0:0"), dual_stack()] {
        let port = addr_of(&socket).port();
        run(async {
            let mut transport = udp(socket, false).unwrap();
            let client = client("127.0.0.1");
            client.set_broadcast(true).unwrap();
            let meta = ask(&mut transport, &client, v4("127.255.255.255", port)).await;
            let local = meta.local.unwrap();
            assert_eq!(local.asked.to_canonical(), v4("127.255.255.255", port).ip());
            let own = local.reply_from.map(|ip| ip.to_canonical());
            assert_eq!(own, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
            assert_eq!(hear(&client).1, v4("127.0.0.1", port));
        });
    }
}

#[test]
fn h13_multicast_is_answered_from_the_interfaces_own_address() {
    let group = Ipv4Addr::new(239, 255, 77, 1);
    let socket = open("0.0.0.0:0");
    socket
        .join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
        .unwrap();
    let port = addr_of(&socket).port();
    run(async {
        let mut transport = udp(socket, false).unwrap();
        let client = client("127.0.0.1");
        SockRef::from(&client)
            .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
            .unwrap();
        let meta = ask(&mut transport, &client, SocketAddr::new(group.into(), port)).await;
        let local = LocalAddr {
            asked: group.into(),
            reply_from: Some(Ipv4Addr::LOCALHOST.into()),
            interface: 0,
        };
        assert_eq!(meta.local, Some(local));
        assert_eq!(hear(&client).1, v4("127.0.0.1", port));
    });
}

#[test]
fn v9_all_but_one_socket_of_a_group_pass_over_broadcasts() {
    let socket = open("0.0.0.0:0");
    let port = addr_of(&socket).port();
    run(async {
        let mut transport = udp(socket, false).unwrap();
        transport.unicast_only = true;
        let client = client("127.0.0.1");
        client.set_broadcast(true).unwrap();
        // Alone, before, between and after others.
        for (ip, payload) in [
            ("127.255.255.255", b"many 1"),
            ("127.0.0.1", b"mine 1"),
            ("127.255.255.255", b"many 2"),
            ("127.0.0.2", b"mine 2"),
            ("127.255.255.255", b"many 3"),
        ] {
            client.send_to(payload, (ip, port)).unwrap();
        }
        for slots in [1, 8] {
            let mut batch = RecvBatch::new(slots, 100);
            let all = recv_all(&mut transport, &mut batch, 1).await;
            assert!(
                all.iter().all(|(_, bytes)| bytes.starts_with(b"mine")),
                "{all:?}"
            );
        }
        // A whole turn's, after which others have theirs.
        for _ in 0..40 {
            client.send_to(b"many", ("127.255.255.255", port)).unwrap();
        }
        client.send_to(b"mine 3", ("127.0.0.1", port)).unwrap();
        let all = recv_all(&mut transport, &mut RecvBatch::new(1, 100), 1).await;
        assert_eq!(all[0].1, b"mine 3");
    });
}

/// What it passes over counts as taken, and *pending* means that nothing is there.
#[test]
fn v11_a_socket_that_looks_finds_what_is_behind_many_broadcasts() {
    let socket = open("0.0.0.0:0");
    let port = addr_of(&socket).port();
    run(async {
        let mut transport = udp(socket, false).unwrap();
        transport.unicast_only = true;
        let client = client("127.0.0.1");
        client.set_broadcast(true).unwrap();
        for _ in 0..100 {
            client.send_to(b"many", ("127.255.255.255", port)).unwrap();
        }
        client.send_to(b"mine", ("127.0.0.1", port)).unwrap();
        transport.look();
        let (mut batch, mut taken) = (RecvBatch::new(1, 100), 0);
        loop {
            let polled = poll_fn(|cx| Poll::Ready(transport.poll_recv(cx, &mut batch))).await;
            assert!(matches!(polled, Poll::Ready(Ok(()))), "{polled:?}");
            taken += batch.taken();
            if batch.len() > 0 {
                break;
            }
        }
        assert_eq!((batch.len(), taken), (1, 101));
        let polled = poll_fn(|cx| Poll::Ready(transport.poll_recv(cx, &mut batch))).await;
        assert!(polled.is_pending());
    });
}
