//! H19: when and how a datagram arrived.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use postbox_protocol::DatagramProtocol;
use postbox_server::{
    Addressing, Arrival, Conditions, Ecn, Limits, MemorySocket, RecvError, Server, ServerBuilder,
};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use crate::common::*;
use crate::{contract, paused};

/// A server that tells of each datagram how it arrived, and when it was handed out.
fn tells() -> (ServerBuilder, Told) {
    let (tell, told) = unbounded_channel();
    let builder = raw_server(move |_, mut requests| {
        let tell = tell.clone();
        async move {
            assert!(requests.arrival().is_none(), "nothing was received yet");
            loop {
                let request = requests.recv().await?;
                let arrival = requests.arrival().unwrap();
                assert!(arrival.at() <= Instant::now());
                tell.send((request, arrival)).unwrap();
            }
        }
    });
    (builder, Told(told))
}

struct Told(UnboundedReceiver<(Bytes, Arrival)>);

impl Told {
    /// The next one, which has to be this.
    async fn next(&mut self, request: &str) -> Arrival {
        let next = tokio::time::timeout(HANG, self.0.recv());
        let (told, arrival) = next.await.expect("nothing arrives").unwrap();
        assert_eq!(told, request);
        arrival
    }
}

/// The same that asks for everything.
fn tells_all() -> (ServerBuilder, Told) {
    let (builder, told) = tells();
    let builder = builder.recv_kernel_time(true).recv_hop_limit(true);
    (builder.recv_ecn(true), told)
}

/// A client that chooses what is in the IP header.
enum Marking {
    Memory(MemorySocket),
    Udp(UdpSocket),
}

impl Marking {
    fn new(world: &World, own: &str) -> Self {
        match world.kind {
            Kind::Memory => Self::Memory(world.network.socket(own.parse().unwrap()).unwrap()),
            _ => Self::Udp(UdpSocket::bind(own).unwrap()),
        }
    }

    fn send(&self, hops: u8, ecn: Ecn, datagram: &str, to: SocketAddr) {
        let (bits, hop_limit) = (ecn as u32, hops.into());
        match self {
            Self::Memory(socket) => {
                socket.set_hop_limit(hops);
                socket.set_ecn(ecn);
                socket.send_to(datagram.as_bytes(), to).unwrap();
            }
            Self::Udp(socket) => {
                let options = SockRef::from(socket);
                if to.is_ipv4() {
                    options.set_ttl_v4(hop_limit).unwrap();
                    options.set_tos_v4(0xb8 | bits).unwrap();
                } else {
                    options.set_unicast_hops_v6(hop_limit).unwrap();
                    options.set_tclass_v6(0xb8 | bits).unwrap();
                }
                socket.send_to(datagram.as_bytes(), to).unwrap();
            }
        }
    }
}

/// Datagrams of all kinds arrive as they were sent.
async fn marks_arrive(client: &Marking, to: SocketAddr, told: &mut Told) {
    for (hops, ecn) in [
        (255, Ecn::Ce),
        (1, Ecn::NotEct),
        (64, Ecn::Ect0),
        (2, Ecn::Ect1),
    ] {
        client.send(hops, ecn, "marked", to);
        let arrival = told.next("marked").await;
        assert_eq!(
            (arrival.hop_limit(), arrival.ecn()),
            (Some(hops), Some(ecn))
        );
    }
}

contract! {
    async fn h19_it_is_asked_of_the_datagram_that_was_received_last(world: World) {
        let (builder, mut told) = tells();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for text in ["a", "", "of some length", "b"] {
            peer.send(text).await;
            let arrival = told.next(text).await;
            assert_eq!((arrival.len(), arrival.is_empty()), (text.len(), text.is_empty()));
            assert_eq!(arrival.local_addr(), Some(server.addr));
            assert_eq!(arrival.addressing(), Some(Addressing::Unicast));
            assert!(!arrival.is_broadcast() && !arrival.is_multicast());
            let not_asked_for = (arrival.kernel_time(), arrival.hop_limit(), arrival.ecn());
            assert_eq!(not_asked_for, (None, None, None));
        }
        server.stop().await.unwrap();
    }

    async fn h19_capabilities_say_what_can_be_told_and_the_rest_is_none(world: World) {
        let (builder, mut told) = tells_all();
        let server = world.serve(builder).await;
        let can = server.handle.capabilities();
        let expected = world.kind != Kind::Plain;
        assert_eq!((can.kernel_time, can.hop_limit, can.ecn), (expected, expected, expected));
        world.peer(server.addr).await.send("x").await;
        let arrival = told.next("x").await;
        assert_eq!(arrival.kernel_time().is_some(), expected);
        assert_eq!(arrival.hop_limit(), expected.then_some(64));
        assert_eq!(arrival.ecn(), expected.then_some(Ecn::NotEct));
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h19_hop_limit_and_ecn_are_told_where_they_are_asked_for(world: World) {
        for (bind, own) in [("127.0.0.1:0", "127.0.0.1:0"), ("0.0.0.0:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
            let (builder, mut told) = tells_all();
            let server = world.bind_to(builder, bind.parse().unwrap()).await;
            let server = TestServer::start(server).await;
            let client = Marking::new(&world, own);
            let ip = own.parse::<SocketAddr>().unwrap().ip();
            marks_arrive(&client, (ip, server.addr.port()).into(), &mut told).await;
            server.stop().await.unwrap();
        }
    }

    on memory, udp;
    async fn h19_each_is_asked_for_by_itself(world: World) {
        for asked in [(true, false, false), (false, true, false), (false, false, true)] {
            let (builder, mut told) = tells();
            let builder = builder.recv_kernel_time(asked.0).recv_hop_limit(asked.1).recv_ecn(asked.2);
            let server = world.serve(builder).await;
            let client = Marking::new(&world, "127.0.0.1:0");
            client.send(9, Ecn::Ect0, "x", server.addr);
            let arrival = told.next("x").await;
            let told = (arrival.kernel_time().is_some(), arrival.hop_limit().is_some(), arrival.ecn().is_some());
            assert_eq!(told, asked);
            server.stop().await.unwrap();
        }
    }

    on memory, udp;
    async fn h19_a_queued_datagram_keeps_what_is_its_own(world: World) {
        let gate = Arc::new(Notify::new());
        let open = Arc::clone(&gate);
        let (tell, told) = unbounded_channel();
        let builder = raw_server(move |_, mut requests| {
            let (gate, tell) = (Arc::clone(&gate), tell.clone());
            async move {
                loop {
                    let request = requests.recv().await?;
                    tell.send((request, requests.arrival().unwrap())).unwrap();
                    gate.notified().await;
                    // What arrives meanwhile changes nothing of it.
                    tell.send((Bytes::from("again"), requests.arrival().unwrap())).unwrap();
                }
            }
        });
        let mut told = Told(told);
        let server = world.serve(builder.recv_hop_limit(true).recv_ecn(true)).await;
        let client = Marking::new(&world, "127.0.0.1:0");
        for hops in 1..=3 {
            client.send(hops, Ecn::Ect0, &"x".repeat(hops.into()), server.addr);
            server.queued(u64::from(hops) - 1).await;
        }
        // 24 bytes for what is told of each.
        assert_eq!(server.handle.stats().queued_bytes, 2 + 3 + 2 * (32 + 24));
        for hops in 1..=3 {
            let first = told.next(&"x".repeat(hops.into())).await;
            open.notify_one();
            for arrival in [first, told.next("again").await] {
                assert_eq!((arrival.hop_limit(), arrival.len()), (Some(hops), hops.into()));
                assert_eq!(arrival.at(), first.at());
            }
        }
        server.stop().await.unwrap();
    }

    async fn h19_it_can_be_asked_in_another_task_and_after_the_handlers_end(world: World) {
        let (tell, told) = unbounded_channel();
        let builder = raw_server(move |_, mut requests| {
            let tell = tell.clone();
            async move {
                let tells = tell.clone();
                let waits = tokio::spawn(async move {
                    for _ in 0..2 {
                        let request = requests.recv().await.unwrap();
                        tells.send((request, requests.arrival().unwrap())).unwrap();
                    }
                    requests
                });
                let requests = waits.await?;
                tokio::spawn(async move {
                    let mut requests = requests;
                    while !matches!(requests.recv().await, Err(RecvError::Closed)) {}
                    tell.send((Bytes::from("ended"), requests.arrival().unwrap())).unwrap();
                });
                Ok(())
            }
        });
        let mut told = Told(told);
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for text in ["first", "the second"] {
            peer.send(text).await;
            assert_eq!(told.next(text).await.len(), text.len());
        }
        assert_eq!(told.next("ended").await.len(), 10);
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h19_errors_about_a_datagram_have_one_and_others_change_nothing(world: World) {
        let (tell, told) = unbounded_channel();
        let protocol = DatagramProtocol::new(postbox_codec_json::JsonSerializer::<u32>::new());
        let builder = Server::builder_fn(protocol, move |_, mut requests: postbox_server::Requests<u32>| {
            let tell = tell.clone();
            async move {
                loop {
                    let text = match requests.recv_timeout(Duration::from_secs(60)).await {
                        Ok(number) => number.to_string(),
                        Err(RecvError::Parse(_)) => "parse".into(),
                        Err(RecvError::Truncated { .. }) => "cut".into(),
                        Err(error) => return Err(error.into()),
                    };
                    let arrival = requests.arrival().unwrap();
                    let nothing = requests.recv_timeout(Duration::ZERO).await;
                    assert!(matches!(nothing, Err(RecvError::TimedOut)), "{nothing:?}");
                    assert_eq!(requests.arrival().unwrap().at(), arrival.at());
                    tell.send((Bytes::from(text), arrival)).unwrap();
                }
            }
        });
        let mut told = Told(told);
        let server = world.serve(builder.limits(Limits::default().receive_datagram(10))).await;
        let peer = world.peer(server.addr).await;
        for (sent, received, len) in [("77", "77", 2), ("no number", "parse", 9), ("12345678901", "cut", 10)] {
            peer.send(sent).await;
            assert_eq!(told.next(received).await.len(), len);
        }
        world.logs.take();
        server.stop().await.unwrap();
        world.logs.take();
    }

    on memory;
    async fn h19_each_of_coalesced_datagrams_has_its_own_length(world: World) {
        let (builder, mut told) = tells();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"aaabbbc", 3, server.addr);
        for text in ["aaa", "bbb", "c"] {
            assert_eq!(told.next(text).await.len(), text.len());
        }
        server.stop().await.unwrap();
    }

    on memory;
    async fn h19_broadcast_and_multicast_destinations_are_told(world: World) {
        for (bind, ip, expected) in [
            ("0.0.0.0:0", "127.0.0.1", Addressing::Unicast),
            ("0.0.0.0:0", "255.255.255.255", Addressing::Broadcast),
            ("0.0.0.0:0", "239.1.2.3", Addressing::Multicast),
            ("[::]:0", "ff02::1", Addressing::Multicast),
            ("[::]:0", "::1", Addressing::Unicast),
            ("239.1.2.3:0", "239.1.2.3", Addressing::Multicast),
            ("255.255.255.255:0", "255.255.255.255", Addressing::Broadcast),
        ] {
            let (builder, mut told) = tells();
            let server = TestServer::start(world.bind_to(builder, bind.parse().unwrap()).await).await;
            let to = SocketAddr::new(ip.parse().unwrap(), server.addr.port());
            world.peer(server.addr).await.send_to("x", to).await;
            let arrival = told.next("x").await;
            assert_eq!((arrival.local_addr(), arrival.addressing()), (Some(to), Some(expected)));
            assert_eq!(arrival.is_broadcast(), expected == Addressing::Broadcast);
            assert_eq!(arrival.is_multicast(), expected == Addressing::Multicast);
            server.stop().await.unwrap();
        }
    }

    on udp;
    async fn h19_broadcast_and_multicast_destinations_are_told_of_sockets(world: World) {
        let group = "239.255.77.19".parse().unwrap();
        for (bind, ip, expected) in [
            ("0.0.0.0:0", "127.0.0.2", Addressing::Unicast),
            ("0.0.0.0:0", "127.255.255.255", Addressing::Broadcast),
            ("0.0.0.0:0", "239.255.77.19", Addressing::Multicast),
            ("127.255.255.255:0", "127.255.255.255", Addressing::Broadcast),
            ("239.255.77.19:0", "239.255.77.19", Addressing::Multicast),
        ] {
            let (builder, mut told) = tells();
            let builder = builder.join_multicast_v4(group, "127.0.0.1".parse().unwrap());
            let server = TestServer::start(world.bind_to(builder, bind.parse().unwrap()).await).await;
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_broadcast(true).unwrap();
            SockRef::from(&client).set_multicast_if_v4(&"127.0.0.1".parse().unwrap()).unwrap();
            let to = SocketAddr::new(ip.parse().unwrap(), server.addr.port());
            client.send_to(b"x", to).unwrap();
            let arrival = told.next("x").await;
            assert_eq!((arrival.local_addr(), arrival.addressing()), (Some(to), Some(expected)));
            server.stop().await.unwrap();
        }
    }

    on plain;
    async fn h19_the_plain_transport_cannot_tell_the_destination_on_a_wildcard_bind(world: World) {
        let (builder, mut told) = tells();
        let server = TestServer::start(world.bind_to(builder, "0.0.0.0:0".parse().unwrap()).await).await;
        world.peer(server.addr).await.send_to("x", ([127, 0, 0, 1], server.addr.port()).into()).await;
        let arrival = told.next("x").await;
        assert_eq!((arrival.local_addr(), arrival.addressing()), (None, None));
        assert!(!arrival.is_broadcast() && !arrival.is_multicast());
        server.stop().await.unwrap();
    }

    on udp;
    async fn h19_a_socket_for_both_families_tells_of_both(world: World) {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        socket.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let (builder, mut told) = tells_all();
        let server = TestServer::start(builder.from_sockets([socket.into()]).unwrap()).await;
        for own in ["127.0.0.1:0", "[::1]:0"] {
            let client = Marking::new(&world, own);
            let ip = own.parse::<SocketAddr>().unwrap().ip();
            marks_arrive(&client, (ip, server.addr.port()).into(), &mut told).await;
        }
        server.stop().await.unwrap();
    }

    on udp;
    async fn h19_the_kernels_time_is_that_of_the_arrival_also_before_serving(world: World) {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let begin = Instant::now();
        loop {
            let (builder, mut told) = tells_all();
            let server = world.bind(builder).await;
            client.send_to(b"x", server.handle().addresses()[0]).unwrap();
            let sent = SystemTime::now();
            let server = TestServer::start(server).await;
            let arrived = told.next("x").await.kernel_time().unwrap();
            server.stop().await.unwrap();
            if arrived <= sent {
                break;
            }
            // The kernel begins to take times some moments after it was asked first.
            assert!(begin.elapsed() < HANG, "it is that of the receive");
        }
    }
}

paused! {
    async fn h19_the_workers_clock_tells_when_each_was_received(world: World) {
        let gate = Arc::new(Notify::new());
        let open = Arc::clone(&gate);
        let (tell, told) = unbounded_channel();
        let builder = raw_server(move |_, mut requests| {
            let (gate, tell) = (Arc::clone(&gate), tell.clone());
            async move {
                gate.notified().await;
                loop {
                    let request = requests.recv().await?;
                    tell.send((request, requests.arrival().unwrap())).unwrap();
                }
            }
        });
        let mut told = Told(told);
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        let mut times = Vec::new();
        for text in ["started", "queued", "queued too"] {
            tokio::time::sleep(Duration::from_millis(77)).await;
            times.push((text, Instant::now()));
            peer.send(text).await;
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        open.notify_one();
        for (text, time) in times {
            assert_eq!(told.next(text).await.at(), time);
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        peer.send("to one that waits").await;
        assert_eq!(told.next("to one that waits").await.at(), Instant::now());
        server.stop().await.unwrap();
    }

    async fn h19_on_a_network_in_memory_the_networks_clock_stands_in_for_the_kernels(world: World) {
        let (builder, mut told) = tells_all();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(world.network.time(), SystemTime::UNIX_EPOCH);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        peer.send("at once").await;
        let arrived = told.next("at once").await.kernel_time().unwrap();
        assert_eq!(arrived, SystemTime::UNIX_EPOCH + Duration::from_millis(1500));
        assert_eq!(arrived, world.network.time());
        world.network.set_conditions(Conditions::default().delay(Duration::from_micros(2300)));
        let sent = world.network.time();
        peer.send("later").await;
        let arrival = told.next("later").await;
        assert_eq!(arrival.kernel_time(), Some(sent + Duration::from_micros(2300)));
        server.stop().await.unwrap();
    }
}
