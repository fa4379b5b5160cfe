//! H19: when and how a datagram arrived.

mod destinations;
mod info;

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

    async fn h19_a_new_run_has_received_nothing_yet(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let before = requests.arrival().map(|arrival| arrival.len());
                requests.recv().await?;
                let after = requests.arrival().map(|arrival| arrival.len());
                client.send(format!("{before:?} {after:?}").into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        for text in ["one", "of another", "length"] {
            assert_eq!(peer.ask(text).await, format!("None Some({})", text.len()));
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

    async fn h19_a_run_that_begins_on_what_has_waited_has_received_nothing_yet(world: World) {
        for concurrency in [None, Some(1)] {
            let gate = Arc::new(Notify::new());
            let open = Arc::clone(&gate);
            let (tell, told) = unbounded_channel();
            let builder = raw_server(move |_, mut requests| {
                let (gate, tell) = (Arc::clone(&gate), tell.clone());
                async move {
                    assert!(requests.arrival().is_none(), "nothing was received yet");
                    let request = requests.recv().await?;
                    tell.send((request, requests.arrival().unwrap())).unwrap();
                    gate.notified().await;
                    Ok(())
                }
            });
            let builder = match concurrency {
                Some(runs) => builder.concurrency(runs),
                None => builder,
            };
            let mut told = Told(told);
            let server = world.serve(builder.recv_hop_limit(true)).await;
            let client = Marking::new(&world, "127.0.0.1:0");
            let mut times = Vec::new();
            for (hops, text) in [(1, "begins"), (2, "waits"), (3, "waits too")] {
                tokio::time::sleep(Duration::from_millis(77)).await;
                times.push((hops, text, Instant::now()));
                client.send(hops, Ecn::NotEct, text, server.addr);
            }
            tokio::time::sleep(Duration::from_secs(100)).await;
            for (hops, text, time) in times {
                let arrival = told.next(text).await;
                let expected = (time, text.len(), Some(hops));
                assert_eq!((arrival.at(), arrival.len(), arrival.hop_limit()), expected);
                open.notify_one();
            }
            server.stop().await.unwrap();
        }
    }
}
