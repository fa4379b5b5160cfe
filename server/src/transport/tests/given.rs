//! V12: sockets that the user made, and how they come back.

use std::os::fd::AsFd;
use std::sync::Mutex;

use bytes::Bytes;
use libc::c_int;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use socket2::{Domain, SockRef, Type};
use tokio::sync::Notify;

use super::*;
use crate::transport::plain::PlainTransport;
use crate::transport::sys::raw;
use crate::{Limits, Server, ServerBuilder};

pub(super) type Option_ = (c_int, c_int);

const GRO: Option_ = (libc::SOL_UDP, libc::UDP_GRO);
const SEGMENT: Option_ = (libc::SOL_UDP, libc::UDP_SEGMENT);
const TIMESTAMPING: Option_ = (libc::SOL_SOCKET, libc::SO_TIMESTAMPING);
const PKTINFO: Option_ = (libc::IPPROTO_IP, libc::IP_PKTINFO);
const PKTINFO_6: Option_ = (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO);
const RECVERR: Option_ = (libc::IPPROTO_IP, libc::IP_RECVERR);
const RECVERR_6: Option_ = (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
const ERR_QUEUE: Option_ = (libc::SOL_SOCKET, libc::SO_SELECT_ERR_QUEUE);

/// How a socket is: whether it blocks, and its options.
pub(super) fn state(socket: &UdpSocket) -> (bool, Vec<(c_int, c_int, c_int)>) {
    (
        SockRef::from(socket).nonblocking().unwrap(),
        raw::all(socket),
    )
}

/// Which options are set, where more than one way of setting them is tried.
pub(super) type Setting<'a> = &'a [(Option_, c_int)];

const SETTINGS: [Setting<'static>; 4] = [
    &[],
    &[(GRO, 1), (SEGMENT, 100), (raw::CORK, 1), (RECVERR, 1)],
    &[(PKTINFO, 1), (TIMESTAMPING, 2), (ERR_QUEUE, 1)],
    &[(RECVERR, 1)],
];

/// A user's socket, dual-stack where it is of IPv6.
pub(super) fn users(addr: &str, setting: Setting<'_>, nonblocking: bool) -> UdpSocket {
    let addr: SocketAddr = addr.parse().unwrap();
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM, None).unwrap();
    if addr.is_ipv6() {
        socket.set_only_v6(false).unwrap();
        raw::set(&socket, RECVERR_6, c_int::from(!setting.is_empty()));
        raw::set(&socket, PKTINFO_6, c_int::from(setting.is_empty()));
    }
    socket.bind(&addr.into()).unwrap();
    socket.set_nonblocking(nonblocking).unwrap();
    for (option, value) in setting {
        raw::set(&socket, *option, *value);
    }
    socket.into()
}

pub(super) fn echo() -> ServerBuilder {
    Server::builder_fn(
        DatagramProtocol::new(RawSerializer),
        |client, mut requests| async move {
            client.send(requests.recv().await?).await?;
            Ok(())
        },
    )
}

/// Runs `with` on a server of a user's socket, in all ways, and compares it before and after.
fn comes_back(with: impl AsyncFn(Server, SocketAddr)) {
    for addr in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        for setting in SETTINGS {
            for (plain, blocks) in [(false, true), (true, true), (false, false), (true, false)] {
                let socket = users(addr, setting, !blocks);
                let kept = socket.try_clone().unwrap();
                let before = state(&kept);
                let builder = echo().plain_transport(plain);
                let addr = kept.local_addr().unwrap();
                run(with(builder.from_sockets([socket]).unwrap(), addr));
                assert_eq!(state(&kept), before, "{addr} {setting:?} plain: {plain}");
            }
        }
    }
}

/// Serves while one client is answered; then the future is dropped or shut down.
pub(super) async fn talk(server: &Server, addr: SocketAddr, graceful: bool) {
    let handle = server.handle();
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let ask = async {
        handle.started().await.unwrap();
        client
            .send_to(b"hello", ("127.0.0.1", addr.port()))
            .await
            .unwrap();
        let mut buffer = [0; 10];
        assert_eq!(client.recv(&mut buffer).await.unwrap(), 5);
    };
    if graceful {
        server.serve_until(ask).await.unwrap();
        return;
    }
    tokio::select! {
        _ = server.serve_forever() => panic!("it serves"),
        () = ask => {}
    }
}

#[test]
fn v12_a_closed_server_leaves_sockets_as_they_were() {
    comes_back(async |server, addr| {
        talk(&server, addr, true).await;
        talk(&server, addr, true).await;
        server.close().await;
    });
}

#[test]
fn v12_v11_a_socket_that_is_handed_over_is_left_as_its_next_owner_uses_it() {
    for (plain, setting) in [
        (false, SETTINGS[0]),
        (false, SETTINGS[3]),
        (true, SETTINGS[0]),
    ] {
        let socket = users("0.0.0.0:0", setting, false);
        let kept = socket.try_clone().unwrap();
        let addr = kept.local_addr().unwrap();
        run(async {
            let builder = echo().plain_transport(plain);
            let server = builder.from_sockets([socket]).unwrap();
            let handle = server.handle();
            let serving = tokio::spawn(server.serve_forever());
            handle.started().await.unwrap();
            let in_use = state(&kept);
            handle.hand_over(Duration::from_secs(60)).await;
            serving.await.unwrap().unwrap();
            assert_eq!(state(&kept), in_use, "{addr}");
            server.close().await;
            assert_eq!(state(&kept), in_use, "{addr}");
            assert!(in_use.0, "it does not block");
        });
    }
}

/// A drain that has begun becomes no hand over: nobody has the socket but the server.
#[test]
fn v12_v11_a_hand_over_that_comes_after_a_drain_leaves_sockets_as_they_were() {
    comes_back(async |server, _| {
        let handle = server.handle();
        let serving = tokio::spawn(server.serve_forever());
        handle.started().await.unwrap();
        let mut drain = std::pin::pin!(handle.drain(Duration::from_secs(60)));
        let begun = poll_fn(|cx| std::task::Poll::Ready(drain.as_mut().poll(cx)));
        assert!(begun.await.is_pending());
        handle.hand_over(Duration::from_secs(60)).await;
        drain.await;
        serving.await.unwrap().unwrap();
        server.close().await;
    });
}

#[test]
fn v12_a_dropped_server_leaves_sockets_as_they_were() {
    comes_back(async |server, addr| {
        talk(&server, addr, true).await;
        drop(server);
    });
    comes_back(async |server, _| drop(server)); // that never served
}

#[test]
fn v12_a_serving_that_is_dropped_leaves_sockets_as_they_were() {
    comes_back(async |server, addr| {
        talk(&server, addr, false).await;
        server.close().await;
    });
}

#[test]
fn v12_a_runtime_that_goes_away_leaves_sockets_as_they_were() {
    let socket = users("0.0.0.0:0", SETTINGS[1], false);
    let kept = socket.try_clone().unwrap();
    let before = state(&kept);
    let server = echo().from_sockets([socket]).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let handle = server.handle();
    runtime.spawn(async move { server.serve_forever().await });
    runtime.block_on(handle.started()).unwrap();
    assert_ne!(state(&kept), before);
    drop(runtime);
    assert_eq!(state(&kept), before);
}

#[test]
fn v12_a_bind_that_fails_leaves_sockets_as_they_were() {
    for setting in SETTINGS {
        let socket = users("0.0.0.0:0", setting, false);
        let unbound = socket2::Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let unbound = UdpSocket::from(unbound);
        let kept = [&socket, &unbound].map(|socket| socket.try_clone().unwrap());
        let before = kept.each_ref().map(state);
        echo().from_sockets([socket, unbound]).unwrap_err();
        assert_eq!(kept.each_ref().map(state), before);
    }
}

#[test]
fn v12_duplicates_of_one_socket_leave_it_as_it_was() {
    for setting in SETTINGS {
        for plain in [false, true] {
            let socket = users("0.0.0.0:0", setting, false);
            let [duplicate, kept] = [(); 2].map(|()| socket.try_clone().unwrap());
            let before = state(&kept);
            let builder = echo().plain_transport(plain);
            let server = builder.from_sockets([socket, duplicate]).unwrap();
            assert_ne!(state(&kept), before);
            run(talk(&server, kept.local_addr().unwrap(), true));
            drop(server);
            assert_eq!(state(&kept), before);
        }
    }
}

#[test]
fn v12_an_open_that_fails_leaves_sockets_as_they_were() {
    for plain in [false, true] {
        let socket = users("0.0.0.0:0", SETTINGS[1], false);
        let kept = socket.try_clone().unwrap();
        let before = state(&kept);
        let builder = echo().plain_transport(plain);
        let server = builder.from_sockets([socket]).unwrap();
        let without_io = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let serving = server.serve_forever();
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            without_io.unwrap().block_on(serving)
        }));
        assert!(!matches!(served, Ok(Ok(()))), "it cannot be served");
        drop(server);
        assert_eq!(state(&kept), before);
    }
}

/// Sends so many numbered datagrams of one length as one, which the kernel cuts.
pub(super) fn send_run(client: &UdpSocket, to: SocketAddr, count: u8, len: usize) {
    let bytes: Vec<u8> = (0..count).flat_map(|number| vec![number; len]).collect();
    raw::set(client, SEGMENT, c_int::try_from(len).unwrap());
    assert_eq!(client.send_to(&bytes, to).unwrap(), bytes.len());
    raw::set(client, SEGMENT, 0);
}

/// What a server receives of such a run on a user's socket with these options.
fn received(setting: Setting<'_>, builder: impl FnOnce(ServerBuilder) -> ServerBuilder) {
    let socket = users("127.0.0.1:0", setting, true);
    let addr = socket.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let done = Arc::new(Notify::new());
    let (sees, is_done) = (Arc::clone(&seen), Arc::clone(&done));
    let collecting = Server::builder_fn(
        DatagramProtocol::new(RawSerializer),
        move |_, mut requests: crate::Requests<Bytes>| {
            let (sees, is_done) = (Arc::clone(&sees), Arc::clone(&is_done));
            async move {
                let request = requests.recv().await?;
                if request == "done" {
                    is_done.notify_one();
                } else {
                    sees.lock().unwrap().push(request);
                }
                Ok(())
            }
        },
    );
    run(async {
        let server = builder(collecting).from_sockets([socket]).unwrap();
        let handle = server.handle();
        let client = client("127.0.0.1");
        let served = server.serve_until(async {
            handle.started().await.unwrap();
            send_run(&client, addr, 40, 90);
            client.send_to(b"done", addr).unwrap();
            done.notified().await;
        });
        served.await.unwrap();
        let stats = server.handle().stats();
        assert_eq!((stats.received, stats.truncated), (41, 0), "{stats:#?}");
        assert_eq!(stats.received, stats.accounted());
    });
    let sent: Vec<_> = (0..40).map(|number| vec![number; 90]).collect();
    assert_eq!(*seen.lock().unwrap(), sent);
}

#[test]
fn v12_coalescing_that_is_left_on_joins_and_loses_no_datagrams() {
    let coalescing: Setting<'_> = &[(GRO, 1)];
    for setting in [&[], coalescing] {
        received(setting, |builder| builder);
        received(setting, |builder| builder.offloads(false));
        received(setting, |builder| builder.plain_transport(true));
        let short = Limits::default().receive_datagram(1500);
        received(setting, move |builder| builder.limits(short));
    }
}

#[test]
fn v12_what_waits_in_a_socket_that_comes_back_is_not_joined() {
    let socket = users("127.0.0.1:0", &[], true);
    let addr = socket.local_addr().unwrap();
    let kept = socket.try_clone().unwrap();
    run(async {
        let server = echo().from_sockets([socket]).unwrap();
        talk(&server, addr, true).await;
        send_run(&client("127.0.0.1"), addr, 40, 90);
        server.close().await;
    });
    let mut buffer = [0; 65_535];
    for number in 0..40 {
        assert_eq!(kept.recv(&mut buffer).unwrap(), 90);
        assert_eq!(buffer[0], number);
    }
}

#[test]
fn v12_a_cork_or_segments_that_are_left_on_keep_and_cut_no_answers() {
    let corked: Setting<'_> = &[(raw::CORK, 1), (SEGMENT, 3)];
    for plain in [false, true] {
        run(async {
            let socket = users("127.0.0.1:0", corked, true);
            let addr = socket.local_addr().unwrap();
            let server = echo()
                .plain_transport(plain)
                .from_sockets([socket])
                .unwrap();
            let handle = server.handle();
            let served = server.serve_until(async {
                handle.started().await.unwrap();
                let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
                for text in ["first", "second", "third"] {
                    client.send_to(text.as_bytes(), addr).await.unwrap();
                    let mut buffer = [0; 20];
                    let len = client.recv(&mut buffer).await.unwrap();
                    assert_eq!(&buffer[..len], text.as_bytes());
                }
            });
            served.await.unwrap();
        });
    }
}

/// The kernel would put one for each answer into the queue of errors, which counts against the
/// receive buffer, and which nobody empties where no errors were asked for.
#[test]
fn v12_time_stamps_that_are_left_on_make_no_server_deaf() {
    for plain in [false, true] {
        let socket = given(users("127.0.0.1:0", &[(TIMESTAMPING, 2)], true));
        socket.set_recv_buffer_size(64 << 10).unwrap();
        run(async {
            let mut transport: Box<dyn Transport> = if plain {
                Box::new(PlainTransport::new(&socket).unwrap())
            } else {
                Box::new(udp(Arc::clone(&socket), false).unwrap())
            };
            let client = client("127.0.0.1");
            let (bytes, datagrams) = outgoing(client.local_addr().unwrap(), None, &[b"a"]);
            for _ in 0..500 {
                let sent = poll_fn(|cx| transport.poll_send(cx, &bytes, &datagrams)).await;
                assert!(matches!(sent, Sent::Left(1)), "{sent:?}");
                assert_eq!(hear(&client).0, b"a");
            }
            client.send_to(b"y", addr_of(&socket)).unwrap();
            let mut batch = RecvBatch::new(4, 10);
            let received = poll_fn(|cx| transport.poll_recv(cx, &mut batch)).await;
            assert!(received.is_ok() && batch.len() == 1, "{received:?}");
        });
    }
}

#[test]
fn v7_a_users_socket_that_hears_icmp_errors_counts_as_one_that_asks_for_them() {
    let socket = users("127.0.0.1:0", &[(RECVERR, 1)], true);
    let given = given(socket);
    run(async {
        let mut transport = udp(Arc::clone(&given), true).unwrap();
        let closed = icmp::closed_port("127.0.0.1");
        answer(&mut transport, closed, None, b"to nobody").await;
        let told = transport.take_icmp_errors(true);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, closed);
        assert!(crate::transport::sys::next_error(given.as_fd()).is_none());
    });
}
