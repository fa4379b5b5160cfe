//! What ICMP says of what was sent: to its own client alone, and no datagram is lost for it.

use std::os::fd::AsFd;
use std::task::Poll;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::transport::hearing::IcmpErrors;
use crate::transport::plain::PlainTransport;
use crate::transport::{Endpoint, UdpEndpoint, sys};

/// A port that refuses what is sent to it, as one that nobody uses. But its socket, connected
/// elsewhere, is kept: another test might be given the port.
pub(super) fn closed_port(ip: &str) -> SocketAddr {
    let socket = client(ip);
    let addr = socket.local_addr().unwrap();
    socket.connect((ip, 9)).unwrap();
    std::mem::forget(socket);
    addr
}

#[test]
fn v7_icmp_errors_are_off_unless_asked_for() {
    let socket = open("127.0.0.1:0");
    let addr = addr_of(&socket);
    run(async {
        let mut transport = udp(socket, false).unwrap();
        let client = client("127.0.0.1");
        let closed = closed_port("127.0.0.1");
        for _ in 0..3 {
            answer(&mut transport, closed, None, b"to nobody").await;
            answer(&mut transport, client.local_addr().unwrap(), None, b"x").await;
            assert_eq!(hear(&client).0, b"x");
        }
        client.send_to(b"y", addr).unwrap();
        recv(&mut transport, &mut RecvBatch::new(4, 10))
            .await
            .unwrap();
    });
}

pub(super) fn open_with_errors(addr: &str) -> Arc<ServerSocket> {
    let config = SocketConfig {
        icmp_errors: true,
        recv_buffer: Some(64 << 10),
        ..SocketConfig::default()
    };
    open_with(addr, &config)
}

#[test]
fn v7_an_error_of_one_client_fails_no_send_to_another() {
    run(async {
        let mut transport = udp(open_with_errors("127.0.0.1:0"), false).unwrap();
        let client = client("127.0.0.1");
        let to = client.local_addr().unwrap();
        // The system reports the closed port in place of the next send.
        for _ in 0..3 {
            answer(&mut transport, closed_port("127.0.0.1"), None, b"to nobody").await;
            answer(&mut transport, to, None, b"a").await;
            assert_eq!(hear(&client).0, b"a");
        }
        // Or in the middle of a batch.
        let (bytes, mut datagrams) = outgoing(to, None, &[b"a", b"b", b"c", b"d", b"e"]);
        for at in [0, 2, 3] {
            datagrams[at].remote = closed_port("127.0.0.1");
        }
        let failed = send_all(&mut transport, &bytes, &datagrams).await;
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(hear(&client).0, b"b");
        assert_eq!(hear(&client).0, b"e");
    });
}

#[test]
fn v7_icmp_errors_are_told_apart_and_leave_room_for_datagrams() {
    for ip in ["127.0.0.1", "::1"] {
        let own = SocketAddr::new(ip.parse().unwrap(), 0);
        let socket = open_with_errors(&own.to_string());
        let addr = addr_of(&socket);
        run(async {
            let mut transport = udp(socket, false).unwrap();
            let sender = client(ip);
            let closed = closed_port(ip);
            let mut batch = RecvBatch::new(4, 10);
            let mut told = 0;
            // Their queue counts against the receive buffer: if nobody emptied it, the socket would
            // be deaf after about 80.
            for _ in 0..500 {
                answer(&mut transport, closed, None, b"to nobody").await;
                sender.send_to(b"y", addr).unwrap();
                recv(&mut transport, &mut batch).await.unwrap();
                assert_eq!(batch.len(), 1);
                for (remote, error) in transport.take_icmp_errors(false) {
                    assert_eq!(remote, closed);
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
                    told += 1;
                }
            }
            assert_eq!(told, 500);
            answer(&mut transport, closed, None, b"to nobody").await;
            assert!(
                transport.take_icmp_errors(false).is_empty(),
                "nobody has looked"
            );
            assert_eq!(transport.take_icmp_errors(true).len(), 1);
        });
    }
}

#[test]
fn v7_the_plain_transport_is_told_no_icmp_errors_and_does_not_go_deaf() {
    for ip in ["127.0.0.1", "::1"] {
        let socket = open_with_errors(&SocketAddr::new(ip.parse().unwrap(), 0).to_string());
        run(async {
            let mut transport = PlainTransport::new(&socket).unwrap();
            let (sender, closed) = (client(ip), closed_port(ip));
            let mut batch = RecvBatch::new(4, 10);
            // It does not empty their queue, which counts against the receive buffer.
            for _ in 0..500 {
                answer(&mut transport, closed, None, b"to nobody").await;
                sender.send_to(b"y", addr_of(&socket)).unwrap();
                recv(&mut transport, &mut batch).await.unwrap();
                assert_eq!(batch.len(), 1);
            }
        });
    }
    // One of the user's, for both families.
    let both = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
    both.set_only_v6(false).unwrap();
    both.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    sys::set_recv_errors(both.as_fd(), true, true).unwrap();
    assert_eq!(sys::tells_errors(both.as_fd()), [true; 2]);
    let both = Arc::new(ServerSocket::opened(both));
    let plain = run(async { PlainTransport::new(&both).unwrap() });
    assert_eq!(sys::tells_errors(both.as_fd()), [false; 2]);
    drop(plain);
}

/// Sends to nobody from a duplicate of the server's socket, so that no call of the transport meets
/// what ICMP says of it.
fn send_to_nobody(socket: &ServerSocket, times: usize) {
    let closed = closed_port("127.0.0.1").into();
    let duplicate = socket.try_clone().unwrap();
    for _ in 0..times {
        // Every other one is told of the one before instead of being sent.
        let _ = duplicate.send_to(b"to nobody", &closed);
    }
}

/// Polls a receive once.
async fn poll_recv(transport: &mut impl Transport, batch: &mut RecvBatch) -> Poll<io::Result<()>> {
    poll_fn(|cx| Poll::Ready(transport.poll_recv(cx, batch))).await
}

#[test]
fn v7_icmp_errors_are_collected_while_nothing_else_happens() {
    let socket = open_with_errors("127.0.0.1:0");
    let addr = addr_of(&socket);
    run(async {
        let mut transport = udp(Arc::clone(&socket), false).unwrap();
        let mut batch = RecvBatch::new(4, 10);
        let sender = client("127.0.0.1");
        for _ in 0..3 {
            assert!(poll_recv(&mut transport, &mut batch).await.is_pending());
            send_to_nobody(&socket, 600);
            // Nobody sends, nobody answers: the errors alone wake who waits for datagrams.
            let mut collected = 0;
            poll_fn(|cx| {
                assert!(transport.poll_recv(cx, &mut batch).is_pending());
                collected += transport.take_icmp_errors(false).len();
                if collected == 0 {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            assert!(sys::next_error(socket.as_fd()).is_none(), "all of them");
            // So there is room for datagrams.
            sender.send_to(b"y", addr).unwrap();
            recv(&mut transport, &mut batch).await.unwrap();
            assert_eq!(batch.len(), 1);
        }
    });
}

#[test]
fn v7_icmp_errors_that_nobody_takes_are_bounded() {
    let config = SocketConfig {
        icmp_errors: true,
        ..SocketConfig::default()
    };
    let socket = open_with("127.0.0.1:0", &config);
    run(async {
        let mut transport = udp(Arc::clone(&socket), false).unwrap();
        let mut batch = RecvBatch::new(4, 10);
        for _ in 0..10 {
            send_to_nobody(&socket, 500);
            tokio::task::yield_now().await; // to the runtime, which looks at the socket
            assert!(poll_recv(&mut transport, &mut batch).await.is_pending());
        }
        assert!(sys::next_error(socket.as_fd()).is_none());
        let kept = transport.take_icmp_errors(false).len();
        assert!((500..=1024).contains(&kept), "{kept}");
        // Every other datagram was told of the one before: that is the number of errors.
        let left_out = transport.take_icmp_left_out();
        assert_eq!(kept as u64 + left_out, 2500, "each is counted");
        assert_eq!(transport.take_icmp_left_out(), 0, "once");
    });
}

#[test]
fn v7_under_full_load_icmp_errors_are_collected_too() {
    let socket = open_with_errors("127.0.0.1:0");
    let addr = addr_of(&socket);
    run(async {
        let mut transport = udp(Arc::clone(&socket), false).unwrap();
        let mut batch = RecvBatch::new(4, 10);
        let sender = client("127.0.0.1");
        for _ in 0..40 {
            send_to_nobody(&socket, 60);
            // More than a batch, so that it never waits.
            (0..5).for_each(|_| assert_eq!(sender.send_to(b"y", addr).unwrap(), 1));
            recv_all(&mut transport, &mut batch, 4).await;
            assert!(sys::next_error(socket.as_fd()).is_none());
            assert!(!transport.take_icmp_errors(false).is_empty());
        }
        assert!(!transport.is_watched());
    });
}

/// A socket that its user has connected hears ICMP without asking.
fn connected() -> (Arc<ServerSocket>, UdpSocket) {
    let peer = client("127.0.0.1");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(peer.local_addr().unwrap()).unwrap();
    (given(socket), peer)
}

/// What ICMP says of an earlier datagram waits on the socket, and so does a datagram.
async fn refused_and_then_told(
    transport: &mut impl Transport,
    socket: &ServerSocket,
    peer: &UdpSocket,
) {
    let server = addr_of(socket);
    let addr = peer.local_addr().unwrap();
    let mut batch = RecvBatch::new(4, 10);
    for _ in 0..20 {
        peer.connect(("127.0.0.1", 9)).unwrap(); // hears nobody else, and refuses
        assert_eq!(socket.send(b"refused").unwrap(), 7);
        peer.connect(server).unwrap();
        peer.send(b"y").unwrap();
        // The datagram goes first, and the error is told once.
        let received = poll_recv_ready(transport, &mut batch).await;
        assert!(received.is_ok() && batch.len() == 1, "{received:?}");
        let told = poll_recv_ready(transport, &mut batch).await.unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::ConnectionRefused);
        assert!(poll_recv(transport, &mut batch).await.is_pending());

        peer.connect(("127.0.0.1", 9)).unwrap();
        assert_eq!(socket.send(b"refused").unwrap(), 7);
        peer.connect(server).unwrap();
        answer(transport, addr, None, b"sent").await;
        assert_eq!(hear(peer).0, b"sent");
        assert!(poll_recv(transport, &mut batch).await.is_pending());
    }
}

/// Receives as soon as the runtime tells of something.
async fn poll_recv_ready(transport: &mut impl Transport, batch: &mut RecvBatch) -> io::Result<()> {
    poll_fn(|cx| transport.poll_recv(cx, batch)).await
}

#[test]
fn v7_on_a_connected_socket_icmp_hides_no_datagram_and_fails_no_send() {
    run(async {
        let (socket, peer) = connected();
        let mut transport = udp(Arc::clone(&socket), false).unwrap();
        refused_and_then_told(&mut transport, &socket, &peer).await;
        let (socket, peer) = connected();
        let mut transport = PlainTransport::new(&socket).unwrap();
        refused_and_then_told(&mut transport, &socket, &peer).await;
    });
}

#[test]
fn v7_a_socket_that_its_user_has_shut_down_is_an_error_and_no_endless_loop() {
    run(async {
        for plain in [false, true] {
            let socket = open("127.0.0.1:0");
            let mut transport: Box<dyn Transport> = if plain {
                Box::new(PlainTransport::new(&socket).unwrap())
            } else {
                Box::new(udp(Arc::clone(&socket), false).unwrap())
            };
            let mut batch = RecvBatch::new(4, 10);
            let receive = |cx: &mut std::task::Context<'_>| transport.poll_recv(cx, &mut batch);
            let _ = socket.shutdown(std::net::Shutdown::Both); // an error, told after the deed
            let error = poll_fn(receive).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        }
    });
}

#[test]
fn v7_icmp_errors_that_come_while_nothing_serves_take_no_room() {
    let config = SocketConfig {
        icmp_errors: true,
        recv_buffer: Some(64 << 10),
        ..SocketConfig::default()
    };
    let addr = "127.0.0.1:0".parse().unwrap();
    let socket = ServerSocket::opened(open_group(addr, 1, &config).unwrap().remove(0));
    let addr = addr_of(&socket);
    let endpoint = UdpEndpoint::new(socket, addr, false, false, InfoAsked::default());
    let socket = endpoint.socket().unwrap();
    let sender = client("127.0.0.1");
    for _ in 0..2 {
        send_to_nobody(socket, 600);
        sender.send_to(b"y", addr).unwrap();
        run(async {
            let mut transport = endpoint.open().unwrap();
            let mut batch = RecvBatch::new(4, 10);
            poll_fn(|cx| transport.poll_recv(cx, &mut batch))
                .await
                .unwrap();
            assert_eq!(batch.len(), 1);
            assert!(transport.take_icmp_errors(true).is_empty());
            send_to_nobody(socket, 1);
            assert_eq!(
                transport.take_icmp_errors(true).len(),
                1,
                "now it hears them"
            );
        });
    }
}

#[test]
fn v7_icmp_errors_are_heard_until_the_last_transport_is_dropped() {
    let socket = open_with_errors("127.0.0.1:0");
    let hears = || sys::tells_errors(socket.as_fd());
    let errors = IcmpErrors::new(Arc::clone(&socket));
    assert_eq!(hears(), [false, false]);
    let earlier = errors.hear().unwrap(); // a dropped serving's may live on
    let later = errors.hear().unwrap();
    drop(earlier);
    assert_eq!(hears(), [true, false]);
    drop(later);
    assert_eq!(hears(), [false, false]);
}

/// A socket that its user has connected learns of its peer's absence by a receive that fails.
#[test]
fn v11_a_plain_socket_that_looks_finds_what_is_behind_an_error() {
    run(async {
        let peer = client("127.0.0.1");
        let addr = peer.local_addr().unwrap();
        let socket = open("127.0.0.1:0");
        let mut transport = PlainTransport::new(&socket).unwrap();
        socket.connect(&addr.into()).unwrap();
        drop(peer);
        socket.send(b"is anybody there?").unwrap();
        let peer = UdpSocket::bind(addr).unwrap();
        peer.send_to(b"yes", addr_of(&socket)).unwrap();
        transport.look();
        let mut batch = RecvBatch::new(4, 100);
        assert!(poll_recv(&mut transport, &mut batch).await.is_ready());
        if batch.len() == 0 {
            assert!(poll_recv(&mut transport, &mut batch).await.is_ready());
        }
        assert_eq!(batch.len(), 1);
    });
}
