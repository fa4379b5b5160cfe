//! H19 on sockets: what is told of a datagram beside its bytes, and that nothing else is lost by it.

use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use libc::c_int;
use socket2::SockRef;

use super::given::{Setting, echo, send_run, state, talk, users};
use super::*;
use crate::ServerBuilder;
use crate::transport::sys::{self, raw};
use crate::transport::{Ecn, PacketInfo, UdpEndpoint};

const ALL: InfoAsked = InfoAsked {
    kernel_time: true,
    hop_limit: true,
    ecn: true,
};

const GRO: (c_int, c_int) = (libc::SOL_UDP, libc::UDP_GRO);

/// Receives one batch, with what is told of it.
async fn told(transport: &mut dyn Transport, batch: &mut RecvBatch) -> Vec<(Meta, PacketInfo)> {
    poll_fn(|cx| transport.poll_recv(cx, batch)).await.unwrap();
    let infos = batch.infos().clone();
    let metas = batch.metas().iter().copied();
    metas.zip(infos).collect()
}

#[test]
fn h19_the_time_is_the_control_messages_own() {
    for addr in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        let config = SocketConfig {
            info: ALL,
            ..SocketConfig::default()
        };
        let socket = open_with(addr, &config);
        let addr = addr_of(&socket);
        let kept = socket.try_clone().unwrap();
        run(async {
            let mut transport = udp(socket, true).unwrap();
            transport.wanted.info = ALL;
            let mut batch = RecvBatch::new(4, 65_535);
            let to = match addr.ip().is_unspecified() {
                true => SocketAddr::from(([127, 0, 0, 1], addr.port())),
                false => addr,
            };
            let client = client(&to.ip().to_string());
            for _ in 0..10 {
                client.send_to(b"what time is it", to).unwrap();
                let (secs, nanos) = raw::peek_time(&kept);
                let expected = UNIX_EPOCH + Duration::new(secs, nanos);
                let (_, info) = told(&mut transport, &mut batch).await[0];
                assert_eq!(info.kernel_time, Some(expected));
                assert!(expected <= SystemTime::now());
            }
        });
    }
}

/// An IPv6 socket for both families is told most of what comes by IPv4: both local addresses.
#[test]
fn h19_l4_nothing_is_cut_off_where_everything_is_told() {
    let foreign = [
        ((libc::SOL_SOCKET, libc::SO_RXQ_OVFL), 1),
        ((libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR), 1),
        ((libc::IPPROTO_IP, libc::IP_RECVOPTS), 1),
        (GRO, 1),
    ];
    let socket = given(users("[::]:0", &foreign, true));
    socket.ask(ALL).unwrap();
    raw::set(&socket.as_fd(), GRO, 1); // with the time too, for the most that there can be
    let port = addr_of(&socket).port();
    run(async {
        let mut transport = udp(Arc::clone(&socket), true).unwrap();
        transport.wanted.info = ALL;
        assert!(transport.wanted.segment);
        let mut batch = RecvBatch::new(4, 65_535);
        for (own, of_v4) in [("127.0.0.1", true), ("::1", false)] {
            let client = client(own);
            let options = SockRef::from(&client);
            if of_v4 {
                options.set_ttl_v4(77).unwrap();
                options.set_tos_v4(3).unwrap();
            } else {
                options.set_unicast_hops_v6(77).unwrap();
                options.set_tclass_v6(3).unwrap();
            }
            let to = SocketAddr::new(own.parse().unwrap(), port);
            send_run(&client, to, 10, 100);
            let (meta, info) = told(&mut transport, &mut batch).await[0];
            assert_eq!((meta.len, meta.segment, meta.truncated), (1000, 100, false));
            assert_eq!(meta.local.unwrap().asked.to_canonical(), to.ip());
            assert_eq!((info.hop_limit, info.ecn), (Some(77), Some(Ecn::Ce)));
            assert!(info.kernel_time.is_some());
        }
    });
}

#[test]
fn h19_nothing_is_told_that_is_not_asked_for_whatever_the_sockets_user_has_switched_on() {
    let foreign = [
        ((libc::SOL_SOCKET, libc::SO_TIMESTAMPNS), 1),
        ((libc::IPPROTO_IP, libc::IP_RECVTTL), 1),
        ((libc::IPPROTO_IP, libc::IP_RECVTOS), 1),
    ];
    for asked in [
        InfoAsked::default(),
        InfoAsked {
            hop_limit: true,
            ..InfoAsked::default()
        },
    ] {
        let socket = given(users("127.0.0.1:0", &foreign, true));
        socket.ask(asked).unwrap();
        let to = addr_of(&socket);
        run(async {
            let mut transport = udp(socket, true).unwrap();
            transport.wanted.info = asked;
            let mut batch = RecvBatch::new(4, 100);
            client("127.0.0.1").send_to(b"x", to).unwrap();
            let told = told(&mut transport, &mut batch).await;
            assert_eq!(batch.len(), 1);
            let info = PacketInfo {
                hop_limit: Some(64),
                ..PacketInfo::default()
            };
            let expected: &[_] = if asked.hop_limit { &[info] } else { &[] };
            assert!(told.iter().map(|(_, info)| info).eq(expected));
        });
    }
}

#[test]
fn h19_where_the_kernels_time_is_asked_for_nothing_is_coalesced() {
    for info in [InfoAsked::default(), ALL] {
        let config = SocketConfig {
            info,
            ..SocketConfig::default()
        };
        let socket = open_group("127.0.0.1:0".parse().unwrap(), 1, &config).unwrap();
        let socket = ServerSocket::opened(socket.into_iter().next().unwrap());
        let addr = addr_of(&socket);
        let endpoint = UdpEndpoint::new(socket, addr, false, true, info);
        run(async {
            use crate::transport::Endpoint;
            let mut transport = endpoint.open().unwrap();
            let mut batch = RecvBatch::new(64, 65_535);
            let nothing = poll_fn(|cx| {
                std::task::Poll::Ready(transport.poll_recv(cx, &mut batch).is_pending())
            });
            assert!(nothing.await);
            send_run(&client("127.0.0.1"), addr, 10, 100);
            let mut lens = Vec::new();
            while lens.iter().sum::<usize>() < 1000 {
                poll_fn(|cx| transport.poll_recv(cx, &mut batch))
                    .await
                    .unwrap();
                assert_eq!(batch.infos().is_empty(), !info.is_any());
                lens.extend(batch.metas().iter().map(|meta| meta.len));
            }
            let socket = endpoint.socket().unwrap();
            assert_eq!(sys::uses_gro(socket.as_fd()), !info.kernel_time);
            let expected = if info.kernel_time {
                vec![100; 10]
            } else {
                vec![1000]
            };
            assert_eq!(lens, expected);
        });
    }
}

/// One socket of a group handles what is sent to many, and the others pass over it: what is told of
/// those that they keep stays with them.
#[test]
fn h19_what_is_told_stays_with_its_datagram_where_others_are_passed_over() {
    let config = SocketConfig {
        info: ALL,
        ..SocketConfig::default()
    };
    let socket = open_with("0.0.0.0:0", &config);
    let port = addr_of(&socket).port();
    run(async {
        let mut transport = udp(socket, false).unwrap();
        (transport.wanted.info, transport.unicast_only) = (ALL, true);
        let client = client("127.0.0.1");
        client.set_broadcast(true).unwrap();
        for (ip, hops) in [([127, 255, 255, 255], 5), ([127, 0, 0, 1], 6)] {
            SockRef::from(&client).set_ttl_v4(hops).unwrap();
            client.send_to(b"x", SocketAddr::from((ip, port))).unwrap();
        }
        let mut batch = RecvBatch::new(8, 100);
        let told = told(&mut transport, &mut batch).await;
        assert_eq!(told.len().min(batch.len()), 1);
        assert_eq!(told[0].1.hop_limit, Some(6));
    });
}

/// What asks for what is told, as it is now.
fn asks(socket: &UdpSocket) -> [Option<c_int>; 8] {
    [
        (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
        (libc::SOL_SOCKET, 63), // the two of newer kernels
        (libc::SOL_SOCKET, 64),
        (libc::IPPROTO_IP, libc::IP_RECVTTL),
        (libc::IPPROTO_IP, libc::IP_RECVTOS),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    ]
    .map(|option| raw::get(socket, option))
}

/// Serves a user's socket with what is built, and compares it before and after that.
fn comes_back_from(addr: &str, setting: Setting<'_>, builder: impl Fn() -> ServerBuilder) {
    let socket = users(addr, setting, true);
    let kept = socket.try_clone().unwrap();
    let before = (asks(&kept), state(&kept));
    let server = builder().from_sockets([socket]).unwrap();
    run(talk(&server, kept.local_addr().unwrap(), true));
    assert_ne!(asks(&kept), before.0, "{setting:?}");
    assert!(!sys::uses_gro(kept.as_fd()), "several would have one time");
    drop(server);
    assert_eq!((asks(&kept), state(&kept)), before, "{setting:?}");
}

#[test]
fn v12_h19_what_was_asked_of_each_datagram_is_as_before_on_sockets_that_come_back() {
    let time = |option| ((libc::SOL_SOCKET, option), 1);
    for stamps in [libc::SO_TIMESTAMP, libc::SO_TIMESTAMPNS, 63, 64] {
        let hops = (libc::IPPROTO_IP, libc::IP_RECVTTL);
        let setting = [time(stamps), (hops, 1), (GRO, 1)];
        for setting in [&setting[..], &[]] {
            for addr in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
                let builder = || echo().recv_kernel_time(true).recv_hop_limit(true);
                comes_back_from(addr, setting, || builder().recv_ecn(true));
            }
        }
    }
}

#[test]
fn h19_the_plain_transport_asks_for_nothing() {
    let socket = users("0.0.0.0:0", &[], true);
    let kept = socket.try_clone().unwrap();
    let before = raw::all(&kept);
    let builder = echo().recv_kernel_time(true).recv_hop_limit(true);
    let builder = builder.recv_ecn(true).plain_transport(true);
    let server = builder.from_sockets([socket]).unwrap();
    assert_eq!(raw::all(&kept), before);
    drop(server);
}
