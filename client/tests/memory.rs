//! C8: a client on a network in memory.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use postbox_client::{
    Conditions, ConnectError, MemoryNetwork, MemorySocket, UdpClient, UdpRecvError, UdpSendError,
};
use postbox_codec_json::JsonSerializer;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use tokio::time::Instant;

use crate::common::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A server that is a socket, and a client of it.
fn connected(network: &MemoryNetwork) -> (MemorySocket, UdpClient<Bytes>) {
    let server = network.socket(addr("192.0.2.1:9000")).unwrap();
    let protocol = DatagramProtocol::new(RawSerializer);
    let client = UdpClient::connect_memory(network, server.local_addr(), protocol).unwrap();
    (server, client)
}

async fn send(client: &UdpClient<Bytes>, text: &'static str) {
    client
        .send(Bytes::from_static(text.as_bytes()))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn c8_packets_take_as_long_as_the_conditions_say_on_the_paused_clock() {
    let network = MemoryNetwork::new();
    let delay = Duration::from_millis(70);
    network.set_conditions(Conditions::default().delay(delay));
    let (server, client) = connected(&network);
    let begin = Instant::now();

    send(&client, "ask").await;
    let (datagram, from) = in_time(server.recv_from()).await.unwrap();
    assert_eq!((&datagram[..], from), (&b"ask"[..], client.local_addr()));
    assert_eq!(begin.elapsed(), delay);

    server.send_to(b"answer", from).unwrap();
    assert!(client.try_recv().is_none(), "it is on its way");
    let late = client.recv_timeout(Duration::from_millis(69)).await;
    assert!(matches!(late, Err(UdpRecvError::TimedOut)), "{late:?}");
    assert_eq!(in_time(client.recv()).await.unwrap(), "answer");
    assert_eq!(begin.elapsed(), 2 * delay);
}

#[tokio::test(start_paused = true)]
async fn c8_what_is_lost_or_overtaken_is_so_for_a_client_too() {
    let network = MemoryNetwork::seeded(7);
    let (server, client) = connected(&network);
    let held_back = Duration::from_millis(5);
    network.set_conditions(Conditions::default().loss(0.2).reorder(0.2, held_back));
    for number in 0..100 {
        server.send_to(&[number], client.local_addr()).unwrap();
    }
    let mut received = Vec::new();
    while let Ok(datagram) = client.recv_timeout(HANG).await {
        received.extend(datagram);
    }
    let stats = network.stats();
    assert!(stats.lost > 0 && stats.reordered > 0, "{stats:?}");
    assert_eq!(received.len() as u64, 100 - stats.lost);
    assert!(!received.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn c8_nobody_refuses_and_what_nobody_receives_is_lost_and_counted() {
    let network = MemoryNetwork::new();
    let (server, client) = connected(&network);
    drop(server);
    send(&client, "lost").await;
    let silent = client.recv_timeout(HANG).await;
    assert!(matches!(silent, Err(UdpRecvError::TimedOut)), "{silent:?}");
    assert_eq!(network.stats().unreachable, 1);

    // Whoever takes the address later is heard.
    let server = network.socket(client.peer_addr()).unwrap();
    send(&client, "heard").await;
    assert_eq!(in_time(server.recv_from()).await.unwrap().0, b"heard");
    server.send_to(b"answer", client.local_addr()).unwrap();
    assert_eq!(in_time(client.recv()).await.unwrap(), "answer");
}

#[tokio::test(start_paused = true)]
async fn c8_only_what_the_server_sent_is_received_whenever_it_was_sent() {
    let network = MemoryNetwork::new();
    let server = addr("192.0.2.1:9000");
    let socket = network.socket(addr("198.51.100.7:7")).unwrap();
    let own = socket.local_addr();
    let tell = |from, text: &str| network.send_from(from, text.as_bytes(), own).unwrap();

    // Before it is connected, and on its way then.
    tell(addr("203.0.113.7:7"), "a stranger");
    tell(server, "early");
    network.set_conditions(Conditions::default().delay(Duration::from_millis(1)));
    tell(addr("203.0.113.7:7"), "a stranger");
    socket.connect(server);
    let client = UdpClient::from_memory_socket(socket, DatagramProtocol::new(RawSerializer));
    let client = client.unwrap();
    tell(addr("192.0.2.1:9001"), "a stranger");
    tell(server, "late");

    assert_eq!(in_time(client.recv()).await.unwrap(), "early");
    assert_eq!(in_time(client.recv()).await.unwrap(), "late");
    let nothing = client.recv_timeout(HANG).await;
    assert!(
        matches!(nothing, Err(UdpRecvError::TimedOut)),
        "{nothing:?}"
    );
    assert_eq!(network.stats().unreachable, 2);
}

#[tokio::test]
async fn c8_the_network_gives_each_client_an_address_and_takes_it_back() {
    let network = MemoryNetwork::new();
    let protocol = || DatagramProtocol::new(RawSerializer);
    for (server, peer, own) in [
        ("192.0.2.1:9000", "192.0.2.1:9000", "127.0.0.1"),
        ("0.0.0.0:9000", "127.0.0.1:9000", "127.0.0.1"),
        ("[2001:db8::1]:9000", "[2001:db8::1]:9000", "::1"),
        ("[::]:9000", "[::1]:9000", "::1"),
    ] {
        let [one, two] = [(); 2]
            .map(|()| UdpClient::connect_memory(&network, addr(server), protocol()).unwrap());
        assert_eq!((one.peer_addr(), two.peer_addr()), (addr(peer), addr(peer)));
        assert_ne!(one.local_addr(), two.local_addr());
        assert_eq!(one.local_addr().ip().to_string(), own);

        let (clone, address) = (one.clone(), one.local_addr());
        drop(one);
        assert!(network.socket(address).is_err(), "a clone has it");
        drop(clone);
        assert!(network.socket(address).is_ok());
    }
}

#[tokio::test]
async fn c8_a_client_at_an_address_of_the_users_choice() {
    let network = MemoryNetwork::new();
    let (server, _) = connected(&network);
    let socket = network.socket(addr("198.51.100.7:7")).unwrap();
    let unconnected = UdpClient::from_memory_socket(socket, DatagramProtocol::new(RawSerializer));
    assert!(matches!(unconnected, Err(ConnectError::Socket(_))));

    let socket = network.socket(addr("198.51.100.7:7")).unwrap();
    socket.connect(server.local_addr());
    let protocol = DatagramProtocol::new(JsonSerializer::<u8>::new());
    let client = UdpClient::from_memory_socket(socket, protocol).unwrap();
    client.send(7).await.unwrap();
    let (datagram, from) = in_time(server.recv_from()).await.unwrap();
    assert_eq!((&datagram[..], from), (&b"7"[..], addr("198.51.100.7:7")));
    server.send_to(b"8", from).unwrap();
    assert_eq!(in_time(client.recv()).await.unwrap(), 8);
}

#[tokio::test]
async fn c8_all_ports_taken_is_an_error_that_names_the_server() {
    let network = MemoryNetwork::new();
    let server = addr("192.0.2.1:9000");
    let connect = || {
        let protocol = DatagramProtocol::new(RawSerializer);
        UdpClient::connect_memory(&network, server, protocol)
    };
    let clients: Vec<_> = (49_152..=65_535).map(|_: u32| connect().unwrap()).collect();
    let error = connect().unwrap_err();
    assert!(
        matches!(error, ConnectError::Connect { addr, .. } if addr == server),
        "{error:?}"
    );
    drop(clients);
    connect().unwrap();
}

#[test]
fn c8_without_delays_no_runtime_is_needed() {
    let network = MemoryNetwork::new();
    let (server, client) = connected(&network);
    let sent = std::pin::pin!(send(&client, "ask"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(sent.poll(&mut cx).is_ready());
    let (_, from) = server.try_recv_from().unwrap();
    server.send_to(b"answer", from).unwrap();
    assert_eq!(client.try_recv().unwrap().unwrap(), "answer");
}

#[tokio::test]
async fn c8_a_packet_longer_than_udp_allows_is_an_error_of_its_send() {
    let network = MemoryNetwork::new();
    let (server, client) = connected(&network);
    let sent = client.send(Bytes::from(vec![0; 65_508])).await;
    assert!(
        matches!(
            sent,
            Err(UdpSendError::TooLarge {
                len: 65_508,
                limit: 65_507
            })
        ),
        "{sent:?}"
    );
    assert!(server.try_recv_from().is_err());
}

#[tokio::test]
async fn c8_a_loop_of_sends_leaves_other_tasks_their_turn() {
    let network = MemoryNetwork::new();
    let (server, client) = connected(&network);
    const MANY: usize = 1_000; // more than tokio's budget of a task
    let other = tokio::spawn(async move {
        let (_, from) = in_time(server.recv_from()).await.unwrap();
        server.send_to(b"answer", from).unwrap();
        server
    });
    let mut before = 0;
    while before < MANY && client.try_recv().is_none() {
        send(&client, "x").await;
        before += 1;
    }
    assert!(before < MANY, "all were sent before the other task ran");
    other.await.unwrap();
}
