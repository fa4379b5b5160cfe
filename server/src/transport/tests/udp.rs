//! The batched transport: truncation, errors of others, runtimes that come and go.

use std::pin::pin;
use std::task::Poll;

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
    let socket = open_with("127.0.0.1:0", &config);
    assert_eq!(kernel_drops(&socket), Some(0));
    let client = client("127.0.0.1");
    for _ in 0..100 {
        client.send_to(&[0; 1000], addr_of(&socket)).unwrap();
    }
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
    let endpoint = UdpEndpoint::new(socket, addr, false, true, InfoAsked::default());
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
