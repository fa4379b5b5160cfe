//! L11: nothing is lost in silence.

use std::future::pending;
use std::net::UdpSocket;
use std::time::Duration;

use postbox_server::{Limits, ServerBuilder};
use tracing::Level;

use super::number;
use crate::common::*;
use crate::{contract, paused};

/// Answers each client's first datagram, and receives no other.
fn busy(limits: Limits) -> ServerBuilder {
    raw_server(|client, mut requests| async move {
        client.send(requests.recv().await?).await?;
        pending().await
    })
    .limits(limits.grace(Duration::ZERO))
}

/// A record about the datagrams of a client.
fn record(level: Level, message: &str, client: &Peer, count: u64, see: &str) -> Record {
    Record {
        level,
        message: message.into(),
        fields: format!("client={} count={count} see={see:?} ", client.addr()),
    }
}

const CLIENT: &str = "datagrams dropped: their client's queue is full";
const SEE_CLIENT: &str = "Limits::client_datagrams, Limits::client_bytes, Limits::total_bytes";

contract! {
    async fn l11_a_full_queue_is_told_at_once_and_what_is_left_when_serving_ends(world: World) {
        let server = world.serve(busy(Limits::default().client_datagrams(2))).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("first").await, "first");
        for _ in 0..7 {
            peer.send("more").await;
        }
        let stats = server.settled(8).await;
        assert_eq!(stats.dropped_client_bound, 5);
        let first = world.logs.wait_for_lost(1).await;
        assert_eq!(first, [record(Level::WARN, CLIENT, &peer, 1, SEE_CLIENT)]);
        server.stop().await.unwrap();
        let rest = world.logs.take_lost();
        assert!(rest.contains(&record(Level::WARN, CLIENT, &peer, 4, SEE_CLIENT)), "{rest:#?}");
        // And of what the shutdown dropped, for who wants to know.
        let shutdown = rest.iter().find(|record| record.level == Level::DEBUG).unwrap();
        assert_eq!(shutdown.message, "datagrams dropped by the shutdown");
        assert_eq!(number(shutdown, "count"), 2);
    }

    async fn l11_what_is_left_is_told_when_the_serving_future_is_dropped(world: World) {
        let server = world.serve(busy(Limits::default().client_datagrams(2))).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("first").await, "first");
        for _ in 0..7 {
            peer.send("more").await;
        }
        server.settled(8).await;
        server.serving.abort();
        server.handle.shutdown().await;
        let records = world.logs.take_lost();
        let warnings = records.iter().filter(|record| record.level == Level::WARN);
        assert_eq!(warnings.map(|record| number(record, "count")).sum::<u64>(), 5);
    }

    async fn l11_the_bounds_of_all_clients_are_told_by_name(world: World) {
        let limits = Limits::default().total_bytes(33).clients(2);
        let server = world.serve(busy(limits)).await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        let three = world.peer(server.addr).await;
        assert_eq!(one.ask("first").await, "first");
        assert_eq!(two.ask("first").await, "first");
        one.send("x").await;
        server.settled(3).await;
        two.send("x").await;
        server.settled(4).await;
        three.send("x").await;
        server.settled(5).await;
        let records = world.logs.wait_for_lost(2).await;
        let total = "datagrams dropped: all clients' queues together are full";
        let clients = "datagrams dropped: too many clients have a handler";
        let expected = [
            record(Level::WARN, total, &two, 1, "Limits::total_bytes"),
            record(Level::WARN, clients, &three, 1, "Limits::clients"),
        ];
        assert_eq!(records, expected);
        server.stop().await.unwrap();
    }

    async fn l11_evictions_and_the_bound_of_a_prefix_are_told_by_name(world: World) {
        let builder = || raw_server(|client, mut requests| async move {
            while let Ok(request) = requests.recv().await {
                client.send(request).await?;
            }
            Ok(())
        });
        let evicts = Limits::default().clients(1);
        let drops = Limits::default().clients_per_prefix(1);
        for (limits, evicted) in [(evicts, true), (drops, false)] {
            let server = world.serve(builder().limits(limits)).await;
            let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
            assert_eq!(one.ask("first").await, "first");
            two.send("first").await;
            let records = world.logs.wait_for_lost(1).await;
            let told = if evicted {
                let message = "silent clients ended in favour of new ones: too many have a handler";
                record(Level::WARN, message, &one, 1, "Limits::clients")
            } else {
                let message = "datagrams dropped: too many clients of their prefix have a handler";
                record(Level::WARN, message, &two, 1, "Limits::clients_per_prefix")
            };
            assert_eq!(records, [told]);
            server.stop().await.unwrap();
        }
    }

    async fn l11_refused_datagrams_are_told_at_info(world: World) {
        let server = world.serve(echo().admit(|incoming| incoming.len() != 7)).await;
        let peer = world.peer(server.addr).await;
        peer.send("refused").await;
        assert_eq!(peer.ask("x").await, "x");
        let refused = "datagrams refused by the admission check or the session key";
        let expected = record(Level::INFO, refused, &peer, 1, "ServerHandle::refusals");
        assert_eq!(world.logs.wait_for_lost(1).await, [expected]);
        server.stop().await.unwrap();
    }

    on memory;
    async fn l11_sources_that_are_never_answered_are_told_at_info(world: World) {
        let server = world.serve(echo()).await;
        let forged = "127.0.0.1:0".parse().unwrap();
        world.network.send_coalesced(forged, b"aabbc", 2, server.addr);
        let records = world.logs.wait_for_lost(1).await;
        let expected = Record {
            level: Level::INFO,
            message: "datagrams dropped: their source address cannot be answered".into(),
            fields: "client=127.0.0.1:0 count=3 see=\"Stats::dropped_source\" ".into(),
        };
        assert_eq!(records, [expected]);
        server.stop().await.unwrap();
    }

    async fn l11_what_the_kernel_dropped_is_told_with_what_to_look_at(world: World) {
        if world.kind == Kind::Plain && !cfg!(target_os = "linux") {
            return; // nobody tells
        }
        let server = world.bind(echo().recv_buffer(4096)).await;
        let handle = server.handle();
        let peer = world.peer(handle.addresses()[0]).await;
        // More than the system keeps, or the network in memory.
        let datagrams = if world.kind == Kind::Memory { 17_000 } else { 200 };
        for _ in 0..datagrams {
            peer.send([1; 1000]).await; // nobody receives yet
        }
        let drops = handle.stats().kernel_drops.unwrap();
        assert!(drops > 0);
        let server = TestServer::start(server).await;
        let records = world.logs.wait_for_lost(1).await;
        let expected = Record {
            level: Level::WARN,
            message: "datagrams dropped by the system: the socket's receive buffer was full".into(),
            fields: format!(
                "bound={} count={drops} see=\"ServerBuilder::recv_buffer, net.core.rmem_max\" ",
                server.addr
            ),
        };
        assert_eq!(records, [expected]);
        handle.close().await;
        server.serving.await.unwrap().unwrap();
        assert_eq!(world.logs.take_lost(), [], "told once");
    }

    // What is in the buffer then is handled by the next serving, and not told a second time.
    on udp, plain;
    async fn l11_a_second_serving_tells_what_the_kernel_dropped_since_the_first(world: World) {
        let mut server = world.bind(echo().recv_buffer(4096)).await;
        let handle = server.handle();
        let (mut told, mut counted) = (0, 0);
        for _ in 0..3 {
            let peer = world.peer(handle.addresses()[0]).await;
            for _ in 0..100 {
                peer.send([1; 1000]).await;
            }
            counted = handle.stats().kernel_drops.unwrap();
            let serving = TestServer::start(server).await;
            let records = world.logs.wait_for_lost(1).await;
            told += records.iter().map(|record| number(record, "count")).sum::<u64>();
            handle.shutdown().await;
            serving.serving.await.unwrap().unwrap();
            server = serving.server;
        }
        assert!(counted > 0);
        assert_eq!(told, counted);
    }
}

contract! {
    on udp, plain;
    async fn l11_what_the_kernel_dropped_before_a_socket_was_given_is_not_told(world: World) {
        if !cfg!(target_os = "linux") {
            return; // nobody tells
        }
        let bound = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (socket, sender) = (bound(), bound());
        socket2::SockRef::from(&socket).set_recv_buffer_size(4096).unwrap();
        for _ in 0..200 {
            sender.send_to(&[1; 1000], socket.local_addr().unwrap()).unwrap();
        }
        let server = TestServer::start(echo().from_sockets([socket]).unwrap()).await;
        assert!(server.handle.stats().kernel_drops.unwrap() > 0);
        server.stats_where(|stats| stats.handed_out > 0).await;
        server.stop().await.unwrap();
        let records = world.logs.take_lost();
        assert!(!records.iter().any(|one| one.fields.contains("rmem_max")), "{records:#?}");
    }
}

/// More than the network keeps for a server that does not get to receive.
fn overflow(world: &World, server: &TestServer) {
    for _ in 0..20_000 {
        let from = "127.0.9.9:9".parse().unwrap();
        world.network.send_from(from, b"x", server.addr).unwrap();
    }
}

paused! {
    async fn l11_answers_that_cannot_leave_are_counted_and_told_when_serving_ends(world: World) {
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        world.network.block_sends(server.addr, true);
        for _ in 0..3 {
            peer.send("x").await;
        }
        server.settled(3).await;
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        assert_eq!((handle.stats().sent, handle.stats().answers_abandoned), (0, 3));
        let records = world.logs.take_lost();
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!((records[0].level, number(&records[0], "count")), (Level::WARN, 3));
    }

    async fn l11_a_bound_that_bites_is_one_line_in_ten_seconds(world: World) {
        let server = world.serve(busy(Limits::default().client_datagrams(1))).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("first").await, "first");
        peer.send("fills the queue").await;
        server.queued(1).await;
        let mut counts = Vec::new();
        for _ in 0..300 {
            for _ in 0..10 {
                peer.send("x").await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            let records = world.logs.take_lost();
            assert!(records.iter().all(|one| one.fields.contains(&peer.addr().to_string())));
            counts.extend(records.iter().map(|record| number(record, "count")));
        }
        assert!(counts.len() <= 4 && counts[0] == 1 && counts[1] > 900, "{counts:?}");
        server.stop().await.unwrap();
        let rest = world.logs.take_lost();
        let rest = rest.iter().filter(|record| record.level == Level::WARN); // not the queued one
        counts.extend(rest.map(|record| number(record, "count")));
        assert_eq!(counts.iter().sum::<u64>(), 3000);
    }

    async fn l11_what_was_dropped_before_all_went_quiet_is_told_after_ten_seconds(world: World) {
        let server = world.serve(busy(Limits::default().client_datagrams(1))).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("first").await, "first");
        peer.send("fills the queue").await;
        server.queued(1).await;
        for _ in 0..5 {
            peer.send("x").await;
        }
        server.settled(7).await;
        assert_eq!(world.logs.take_lost().len(), 1);
        tokio::time::sleep(Duration::from_millis(10_001)).await;
        let expected = record(Level::WARN, CLIENT, &peer, 4, SEE_CLIENT);
        assert_eq!(world.logs.take_lost(), [expected]);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(world.logs.take_lost(), []);
        server.stop().await.unwrap();
    }

    async fn l11_the_kernel_is_asked_again_after_ten_seconds_also_if_all_is_quiet(world: World) {
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        tokio::time::sleep(Duration::from_secs(5)).await;
        overflow(&world, &server);
        let drops = server.handle.stats().kernel_drops.unwrap();
        assert!(drops > 0);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(world.logs.take_lost(), [], "it was asked nine seconds ago");
        tokio::time::sleep(Duration::from_millis(1_001)).await;
        let records = world.logs.take_lost();
        assert_eq!(records.iter().map(|one| number(one, "count")).collect::<Vec<_>>(), [drops]);
        server.stop().await.unwrap();
    }

    async fn l11_what_the_kernel_dropped_last_is_told_when_serving_ends(world: World) {
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        overflow(&world, &server);
        let drops = server.handle.stats().kernel_drops.unwrap();
        server.stop().await.unwrap();
        let records = world.logs.take_lost();
        let of_kernel = |one: &&Record| one.fields.contains("rmem_max");
        let told = records.iter().filter(of_kernel).map(|one| number(one, "count"));
        assert_eq!(told.collect::<Vec<_>>(), [drops]);
    }
}
