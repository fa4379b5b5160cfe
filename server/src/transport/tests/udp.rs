//! The batched transport: truncation, errors of others, runtimes that come and go.

use std::os::fd::AsFd;
use std::pin::pin;
use std::task::Poll;

use socket2::{Domain, Type};

use super::*;
use crate::transport::plain::PlainTransport;
use crate::transport::socket::kernel_drops;
use crate::transport::sys;
use crate::transport::{Endpoint, UdpEndpoint};

#[test]
fn l4_truncation_is_seen() {
    let socket = open("127.0.0.1:0");
    let addr = addr_of(&socket);
    run(async {
        let mut transport = udp(socket, false).unwrap();
        let client = client("127.0.0.1");
        for len in [99, 100, 101, 60_000] {
            client.send_to(&vec![1; len], addr).unwrap();
        }
        let all = recv_all(&mut transport, &mut RecvBatch::new(8, 100), 4).await;
        let seen: Vec<_> = all
            .iter()
            .map(|(meta, _)| (meta.len, meta.truncated))
            .collect();
        assert_eq!(seen, [(99, false), (100, false), (100, true), (100, true)]);
    });
}

#[test]
fn l4_truncation_on_a_wildcard_bind_is_seen() {
    let socket = open("0.0.0.0:0");
    let port = addr_of(&socket).port();
    run(async {
        let mut transport = udp(socket, false).unwrap();
        let client = client("127.0.0.1");
        client.send_to(&[1; 11], ("127.0.0.1", port)).unwrap();
        let all = recv_all(&mut transport, &mut RecvBatch::new(1, 10), 1).await;
        assert!(all[0].0.truncated);
        assert!(all[0].0.local.is_some());
    });
}

/// A port that refuses what is sent to it, as one that nobody uses. But its socket, connected
/// elsewhere, is kept: another test might be given the port.
fn closed_port(ip: &str) -> SocketAddr {
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

fn open_with_errors(addr: &str) -> Arc<Socket> {
    let config = SocketConfig {
        icmp_errors: true,
        recv_buffer: Some(64 << 10),
        ..SocketConfig::default()
    };
    Arc::new(
        open_group(addr.parse().unwrap(), 1, &config)
            .unwrap()
            .remove(0),
    )
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
    assert!(sys::tells_errors(both.as_fd()));
    let plain = run(async { PlainTransport::new(&both).unwrap() });
    assert!(!sys::tells_errors(both.as_fd()));
    drop(plain);
}

#[test]
fn v4_another_runtime_can_go_on_with_the_socket() {
    let socket = open("127.0.0.1:0");
    let addr = addr_of(&socket);
    let client = client("127.0.0.1");
    for payload in [b"1", b"2"] {
        client.send_to(payload, addr).unwrap();
        run(async {
            let mut transport = udp(Arc::clone(&socket), true).unwrap();
            let all = recv_all(&mut transport, &mut RecvBatch::new(4, 65_535), 1).await;
            assert_eq!(all[0].1, payload);
        });
    }
}

#[test]
fn under_full_load_the_socket_is_not_watched_until_it_is_read_empty() {
    let socket = open("127.0.0.1:0");
    let addr = addr_of(&socket);
    let client = client("127.0.0.1");
    run(async {
        let mut transport = udp(socket, true).unwrap();
        let mut batch = RecvBatch::new(8, 65_535);
        for _ in 0..2 {
            for i in 0..200_u8 {
                // Of other lengths, so that none are joined.
                client.send_to(&vec![i; 1 + usize::from(i)], addr).unwrap();
            }
            recv_all(&mut transport, &mut batch, 120).await;
            assert!(transport.is_watched(), "15 full batches");
            let all = recv_all(&mut transport, &mut batch, 80).await;
            assert_eq!(all[79].1, [199; 200]);
            assert!(!transport.is_watched());
            // An answer has room all the same.
            answer(&mut transport, client.local_addr().unwrap(), None, b"x").await;
            assert_eq!(hear(&client).0, b"x");

            {
                let mut waits = pin!(recv(&mut transport, &mut batch));
                let polled = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx))).await;
                assert!(polled.is_pending());
                client.send_to(b"woken", addr).unwrap();
                waits.await.unwrap();
            }
            assert_eq!((batch.len(), batch.meta(0).len), (1, 5));
            assert!(transport.is_watched());
        }
    });
}

#[test]
fn after_several_datagrams_more_is_looked_for_before_the_runtime_tells_of_it() {
    for (coalesced, several, expected) in [(false, 1, false), (false, 2, true), (true, 2, true)] {
        let (socket, client) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
        let to = addr_of(&socket);
        run(async {
            let mut transport = udp(socket, true).unwrap();
            let mut client = udp(client, coalesced).unwrap();
            let mut batch = RecvBatch::new(64, 65_535);
            let mut poll = async || {
                let poll = poll_fn(|cx| Poll::Ready(transport.poll_recv(cx, &mut batch))).await;
                poll.map(|result| result.map(|()| batch.len()).unwrap())
            };
            assert!(poll().await.is_pending());
            let (bytes, datagrams) = outgoing(to, None, &vec![&b"x"[..]; several]);
            assert!(send_all(&mut client, &bytes, &datagrams).await.is_empty());
            let received = loop {
                match poll().await {
                    Poll::Ready(received) => break received,
                    Poll::Pending => tokio::task::yield_now().await,
                }
            };
            assert_eq!(received, if coalesced { 1 } else { several });
            answer(&mut client, to, None, b"y").await; // the runtime has not looked since
            assert_eq!(poll().await.is_ready(), expected);
        });
    }
}

#[test]
fn a_socket_that_is_often_half_full_is_not_watched_either() {
    let socket = open("127.0.0.1:0");
    let addr = addr_of(&socket);
    let client = client("127.0.0.1");
    run(async {
        let mut transport = udp(socket, false).unwrap();
        let mut batch = RecvBatch::new(8, 100);
        for round in 1..=40 {
            // It waits in between.
            let poll = poll_fn(|cx| Poll::Ready(transport.poll_recv(cx, &mut batch))).await;
            assert!(poll.is_pending() && transport.is_watched());
            (0..2).for_each(|_| assert_eq!(client.send_to(b"x", addr).unwrap(), 1));
            recv(&mut transport, &mut batch).await.unwrap();
            assert_eq!((batch.len(), transport.is_watched()), (2, round % 16 != 0));
        }
    });
}

#[test]
fn v10_a_runtime_that_goes_away_is_an_error() {
    let socket = open("127.0.0.1:0");
    let mut transport = run(async { udp(socket, false).unwrap() });
    let mut batch = RecvBatch::new(1, 10);
    let result = run(async { recv(&mut transport, &mut batch).await });
    assert!(result.is_err());
}

#[test]
fn v5_the_port_is_free_once_transport_and_socket_are_dropped() {
    let socket = open("127.77.0.2:0");
    let addr = addr_of(&socket);
    run(async {
        let transport = udp(Arc::clone(&socket), false).unwrap();
        drop(socket);
        assert!(UdpSocket::bind(addr).is_err());
        drop(transport);
        assert!(UdpSocket::bind(addr).is_ok());
    });
}

#[test]
fn a_plain_transport_lets_go_of_the_port_too() {
    let socket = open("127.77.0.3:0");
    let addr = addr_of(&socket);
    run(async {
        let transport = PlainTransport::new(&socket).unwrap();
        drop(socket);
        assert!(UdpSocket::bind(addr).is_err());
        drop(transport);
        assert!(UdpSocket::bind(addr).is_ok());
    });
}

#[test]
fn l7_kernel_drops_are_told() {
    let config = SocketConfig {
        recv_buffer: Some(4096),
        ..SocketConfig::default()
    };
    let socket = open_group("127.0.0.1:0".parse().unwrap(), 1, &config)
        .unwrap()
        .remove(0);
    assert_eq!(kernel_drops(&socket), Some(0));
    let client = client("127.0.0.1");
    for _ in 0..100 {
        client.send_to(&[0; 1000], addr_of(&socket)).unwrap();
    }
    let socket = Arc::new(socket);
    let kept = run(async {
        let mut transport = udp(Arc::clone(&socket), false).unwrap();
        let mut batch = RecvBatch::new(100, 2000);
        recv(&mut transport, &mut batch).await.unwrap();
        let mut kept = batch.len() as u64;
        while poll_fn(|cx| Poll::Ready(transport.poll_recv(cx, &mut batch).is_ready())).await {
            kept += batch.len() as u64;
        }
        kept
    });
    assert_eq!(kernel_drops(&socket), Some(100 - kept));
}

#[test]
fn offloads_that_a_kernel_refuses_are_no_capability_any_more() {
    let (socket, other) = (open("127.0.0.1:0"), client("127.0.0.1"));
    sys::disable_checksums(&*socket).unwrap(); // without which the kernel does not segment
    let addr = addr_of(&socket);
    let socket = Arc::into_inner(socket).unwrap();
    let endpoint = UdpEndpoint::new(socket, addr, false, true);
    assert!(endpoint.capabilities().offloads);
    run(async {
        let mut transport = endpoint.open().unwrap();
        let (bytes, datagrams) = outgoing(other.local_addr().unwrap(), None, &[b"a", b"b"]);
        let left = poll_fn(|cx| transport.poll_send(cx, &bytes, &datagrams)).await;
        assert!(matches!(left, Sent::Left(2)), "singly");
        assert_eq!((hear(&other).0, hear(&other).0), (b"a".into(), b"b".into()));
        assert!(!endpoint.capabilities().offloads);
    });
}
