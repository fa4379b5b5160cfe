//! What every transport does, by one set of bodies.

use std::net::SocketAddr;

use super::*;
use crate::transport::memory::MemoryTransport;
use crate::transport::plain::PlainTransport;
use crate::transport::{Endpoint, MemoryEndpoint, MemoryNetwork, MemorySocket};

/// The client's side of a test.
enum Peer {
    Socket(UdpSocket),
    Memory(MemorySocket),
}

impl Peer {
    fn addr(&self) -> SocketAddr {
        match self {
            Self::Socket(socket) => socket.local_addr().unwrap(),
            Self::Memory(socket) => socket.local_addr(),
        }
    }

    fn say(&self, datagram: &[u8], to: SocketAddr) {
        match self {
            Self::Socket(socket) => {
                assert_eq!(socket.send_to(datagram, to).unwrap(), datagram.len())
            }
            Self::Memory(socket) => socket.send_to(datagram, to).unwrap(),
        }
    }

    fn hear(&self) -> (Vec<u8>, SocketAddr) {
        match self {
            Self::Socket(socket) => hear(socket),
            Self::Memory(socket) => socket.try_recv_from().unwrap(),
        }
    }
}

/// Makes each body a test of every transport.
macro_rules! on_every_transport {
    ($($body:ident),* $(,)?) => {
        mod in_memory {
            use super::*;
            $(#[test] fn $body() {
                let network = MemoryNetwork::new();
                let addr = "127.0.0.1:0".parse().unwrap();
                let endpoint = MemoryEndpoint::bind(&network, addr, 1, InfoAsked::default()).unwrap().remove(0);
                let addr = endpoint.local_addr();
                let peers = || Peer::Memory(network.socket("127.0.0.1:0".parse().unwrap()).unwrap());
                run(super::$body(MemoryTransport::new(endpoint), addr, &peers));
            })*
        }
        mod plain {
            use super::*;
            $(#[test] fn $body() {
                let socket = open("127.0.0.1:0");
                let addr = addr_of(&socket);
                let peers = || Peer::Socket(client("127.0.0.1"));
                run(async { super::$body(PlainTransport::new(&socket).unwrap(), addr, &peers).await });
            })*
        }
        #[cfg(all(target_os = "linux", not(postbox_plain)))]
        mod udp {
            use super::*;
                        $(#[test] fn $body() {
                for offloads in [false, true] {
                    let socket = open("127.0.0.1:0");
                    let addr = addr_of(&socket);
                    let peers = || Peer::Socket(client("127.0.0.1"));
                    run(async {
                        let transport = udp(Arc::clone(&socket), offloads).unwrap();
                        super::$body(transport, addr, &peers).await
                    });
                }
            })*
        }
    };
}

on_every_transport!(
    datagrams_arrive_in_order_and_are_answered,
    p8_an_empty_datagram_is_a_datagram,
    a_buffer_that_is_kept_is_replaced,
    v7_a_failing_send_keeps_no_other_from_leaving,
    v3_what_came_before_is_received,
    the_longest_datagram_goes_both_ways,
);

async fn datagrams_arrive_in_order_and_are_answered(
    mut transport: impl Transport,
    addr: SocketAddr,
    peers: &dyn Fn() -> Peer,
) {
    let (one, two) = (peers(), peers());
    for i in 0..100_u8 {
        one.say(&[1, i], addr);
        two.say(&[2, i], addr);
    }
    // More than one batch, and not a whole number of them.
    let mut batch = RecvBatch::new(7, 2048);
    let all = recv_all(&mut transport, &mut batch, 200).await;
    for (peer, name) in [(&one, 1), (&two, 2)] {
        let of_peer = all.iter().filter(|(meta, _)| meta.remote == peer.addr());
        let bytes: Vec<_> = of_peer.map(|(_, bytes)| bytes.clone()).collect();
        let sent: Vec<_> = (0..100).map(|i| vec![name, i]).collect();
        assert_eq!(bytes, sent);
    }
    for (meta, bytes) in &all {
        assert_eq!(
            (meta.len, meta.segment, meta.truncated),
            (bytes.len(), bytes.len(), false)
        );
        answer(&mut transport, meta.remote, meta.local, bytes).await;
    }
    for i in 0..100 {
        assert_eq!(one.hear(), (vec![1, i], addr));
        assert_eq!(two.hear(), (vec![2, i], addr));
    }
}

async fn p8_an_empty_datagram_is_a_datagram(
    mut transport: impl Transport,
    addr: SocketAddr,
    peers: &dyn Fn() -> Peer,
) {
    let peer = peers();
    for payload in [&b""[..], b"x", b""] {
        peer.say(payload, addr);
    }
    let all = recv_all(&mut transport, &mut RecvBatch::new(8, 65_536), 3).await;
    assert_eq!(
        all.iter().map(|(meta, _)| meta.len).collect::<Vec<_>>(),
        [0, 1, 0]
    );
    assert!(
        all.iter()
            .all(|(meta, _)| !meta.truncated && meta.segment == meta.len)
    );

    let (bytes, datagrams) = outgoing(peer.addr(), None, &[b"", b"y", b"", b""]);
    assert!(
        send_all(&mut transport, &bytes, &datagrams)
            .await
            .is_empty()
    );
    for payload in [&b""[..], b"y", b"", b""] {
        assert_eq!(peer.hear(), (payload.to_vec(), addr));
    }
}

async fn a_buffer_that_is_kept_is_replaced(
    mut transport: impl Transport,
    addr: SocketAddr,
    peers: &dyn Fn() -> Peer,
) {
    let peer = peers();
    let mut batch = RecvBatch::new(1, 100);
    for i in 0..4_u8 {
        peer.say(&[i; 100], addr);
        recv(&mut transport, &mut batch).await.unwrap();
        match i {
            0 => assert_eq!(*std::mem::take(batch.buffers())[0], [0; 100]),
            1 => assert_eq!(*std::mem::take(&mut batch.buffers()[0]), [1; 100]),
            _ => assert_eq!(
                *std::mem::replace(&mut batch.buffers()[0], vec![7; 3].into()),
                [i; 100]
            ),
        }
        batch.clear();
        assert_eq!(batch.len(), 0);
    }
}

async fn v7_a_failing_send_keeps_no_other_from_leaving(
    mut transport: impl Transport,
    addr: SocketAddr,
    peers: &dyn Fn() -> Peer,
) {
    let peer = peers();
    let too_long = vec![0; 65_508];
    let (bytes, datagrams) = outgoing(
        peer.addr(),
        None,
        &[&too_long, b"a", b"b", &too_long, &too_long, b"c"],
    );
    let failed = send_all(&mut transport, &bytes, &datagrams).await;
    assert_eq!(
        failed.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        [0, 3, 4]
    );
    for payload in [b"a", b"b", b"c"] {
        assert_eq!(peer.hear(), (payload.to_vec(), addr));
    }
}

async fn v3_what_came_before_is_received(
    mut transport: impl Transport,
    addr: SocketAddr,
    peers: &dyn Fn() -> Peer,
) {
    let peer = peers();
    let mut batch = RecvBatch::new(4, 100);
    // Nothing there: pending, and woken by what comes.
    let mut pending = false;
    let result = poll_fn(|cx| {
        let poll = transport.poll_recv(cx, &mut batch);
        if poll.is_pending() && !pending {
            pending = true;
            peer.say(b"now", addr);
        }
        poll
    });
    result.await.unwrap();
    assert!(pending);
    assert_eq!((batch.len(), batch.meta(0).remote), (1, peer.addr()));
}

async fn the_longest_datagram_goes_both_ways(
    mut transport: impl Transport,
    addr: SocketAddr,
    peers: &dyn Fn() -> Peer,
) {
    let peer = peers();
    let longest = vec![5; crate::transport::MAX_PAYLOAD_V4];
    peer.say(&longest, addr);
    let all = recv_all(&mut transport, &mut RecvBatch::new(2, 65_535), 1).await;
    assert_eq!(all[0].1, longest);
    answer(&mut transport, peer.addr(), None, &longest).await;
    assert_eq!(peer.hear(), (longest, addr));
}
