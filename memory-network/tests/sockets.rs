//! Sockets: addresses, receiving, connecting.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::collections::HashSet;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use postbox_memory_network::{Conditions, MemoryNetwork};
use tokio::time::Instant;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn v1_port_0_picks_a_free_port() {
    let network = MemoryNetwork::new();
    let sockets: Vec<_> = (0..3)
        .map(|_| network.socket(addr("127.0.0.1:0")).unwrap())
        .collect();
    let ports: HashSet<_> = sockets
        .iter()
        .map(|socket| socket.local_addr().port())
        .collect();
    assert_eq!(ports.len(), 3);
    assert!(!ports.contains(&0));
    let wildcard = network.socket(addr("0.0.0.0:0")).unwrap();
    assert_eq!(wildcard.local_addr().ip(), addr("127.0.0.1:0").ip());
}

#[tokio::test]
async fn h8_receiving_is_cancel_safe() {
    let network = MemoryNetwork::new();
    let client = network.socket(addr("127.0.0.1:0")).unwrap();
    // Two wait, the first one loses interest, the datagram goes to the other.
    let mut first = Box::pin(client.recv_from());
    let mut second = Box::pin(client.recv_from());
    let both = poll_fn(|cx| Poll::Ready((first.as_mut().poll(cx), second.as_mut().poll(cx))));
    assert!(both.await.0.is_pending());
    network
        .send_from(addr("127.0.0.1:9"), b"x", client.local_addr())
        .unwrap();
    drop(first);
    assert_eq!(second.await.unwrap().0, b"x");
    assert_eq!(
        client.try_recv_from().unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn a_connected_socket_receives_from_its_peer_alone() {
    let network = MemoryNetwork::new();
    let socket = network.socket(addr("127.0.0.1:0")).unwrap();
    let [peer, stranger] = ["127.0.0.1:9", "127.0.0.1:10"].map(addr);
    let send = |from| network.send_from(from, b"x", socket.local_addr()).unwrap();
    assert_eq!(socket.peer_addr(), None);
    send(stranger);
    send(peer);

    socket.connect(peer);
    assert_eq!(socket.peer_addr(), Some(peer));
    send(stranger);
    send(peer);
    for _ in 0..2 {
        assert_eq!(socket.try_recv_from().unwrap().1, peer);
    }
    let nothing = socket.try_recv_from().unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);

    let stats = network.stats();
    assert_eq!((stats.sent, stats.delivered, stats.unreachable), (4, 3, 1));
}

#[test]
fn a_socket_connected_to_the_unspecified_address_is_so_to_the_loopback_one() {
    let network = MemoryNetwork::new();
    let socket = network.socket(addr("[::1]:0")).unwrap();
    socket.connect(addr("[::]:9"));
    assert_eq!(socket.peer_addr(), Some(addr("[::1]:9")));
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_readable_once_a_datagram_has_arrived_and_takes_none_by_that() {
    let network = MemoryNetwork::new();
    let delay = Duration::from_millis(3);
    network.set_conditions(Conditions::default().delay(delay));
    let socket = network.socket(addr("127.0.0.1:0")).unwrap();
    let begin = Instant::now();
    let to = socket.local_addr();
    network.send_from(addr("127.0.0.1:9"), b"x", to).unwrap();
    socket.readable().await;
    socket.readable().await;
    assert_eq!(begin.elapsed(), delay);
    assert_eq!(socket.try_recv_from().unwrap().0, b"x");
}
