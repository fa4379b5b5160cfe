//! L1: the bounds of what waits to be received. Over a bound the newest datagram is dropped.

use std::sync::Arc;
use std::time::Duration;

use postbox_server::Limits;
use tokio::sync::Notify;

use super::gated;
use crate::common::*;
use crate::contract;

contract! {
    async fn l1_a_client_queues_so_many_datagrams_and_the_newest_is_dropped(world: World) {
        let gate = Arc::new(Notify::new());
        let limits = Limits::default().client_datagrams(2);
        let server = world.serve(gated(&gate).limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("first").await, "first");
        for datagram in ["one", "two", "three", "four"] {
            peer.send(datagram).await;
        }
        let stats = server.settled(5).await;
        assert_eq!((stats.queued, stats.dropped_client_bound), (2, 2));
        gate.notify_waiters();
        assert_eq!(peer.recv_text().await, "one");
        assert_eq!(peer.recv_text().await, "two");
        assert_eq!(peer.ask("end").await, "end");
        server.stop().await.unwrap();
    }

    async fn l1_a_client_queues_so_many_bytes_overhead_included(world: World) {
        let gate = Arc::new(Notify::new());
        // Each datagram of 10 bytes costs 42.
        let limits = Limits::default().client_bytes(2 * 42 + 41);
        let server = world.serve(gated(&gate).limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("first").await, "first");
        for datagram in ["0123456789", "abcdefghij", "dropped...", "123456789"] {
            peer.send(datagram).await;
        }
        let stats = server.settled(5).await;
        assert_eq!(stats.dropped_client_bound, 1);
        assert_eq!((stats.queued, stats.queued_bytes), (3, 42 + 42 + 41));
        gate.notify_waiters();
        for datagram in ["0123456789", "abcdefghij", "123456789"] {
            assert_eq!(peer.recv_text().await, datagram);
        }
        assert_eq!(peer.ask("end").await, "end");
        server.stop().await.unwrap();
    }

    async fn l1_all_clients_together_queue_so_many_bytes(world: World) {
        let gate = Arc::new(Notify::new());
        let limits = Limits::default().total_bytes(3 * 33);
        let server = world.serve(gated(&gate).limits(limits)).await;
        let mut peers = Vec::new();
        for _ in 0..4 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("first").await, "first");
            peers.push(peer);
        }
        for (count, peer) in (1..).zip(&peers) {
            peer.send("x").await;
            server.settled(4 + count).await;
        }
        let stats = server.handle.stats();
        assert_eq!((stats.queued, stats.dropped_total_bound), (3, 1));
        gate.notify_waiters();
        for peer in &peers[..3] {
            assert_eq!(peer.recv_text().await, "x");
        }
        // What was taken made room again.
        for peer in &peers {
            assert_eq!(peer.ask("end").await, "end");
        }
        server.stop().await.unwrap();
    }

    async fn l1_so_many_clients_have_a_handler_and_others_are_dropped(world: World) {
        let gate = Arc::new(Notify::new());
        let limits = Limits::default().clients(2).grace(Duration::ZERO);
        let server = world.serve(gated(&gate).limits(limits)).await;
        let first = world.peer(server.addr).await;
        let second = world.peer(server.addr).await;
        let third = world.peer(server.addr).await;
        assert_eq!(first.ask("1").await, "1");
        assert_eq!(second.ask("2").await, "2");
        third.send("3").await;
        let stats = server.stats_where(|stats| stats.dropped_clients_bound == 1).await;
        assert_eq!(stats.waiting_clients, 2);
        // Those who have one are served on.
        gate.notify_waiters();
        assert_eq!(first.ask("more").await, "more");
        // One that ends makes room.
        assert_eq!(second.ask("end").await, "end");
        server.stats_where(|stats| stats.waiting_clients == 1).await;
        assert_eq!(third.ask("again").await, "again");
        server.stop().await.unwrap();
    }

    async fn l1_handlers_that_answer_at_once_do_not_count_as_waiting_clients(world: World) {
        let limits = Limits::default().clients(1);
        let server = world.serve(echo().limits(limits)).await;
        for _ in 0..10 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("x").await, "x");
        }
        assert_eq!(server.handle.stats().dropped(), 0);
        server.stop().await.unwrap();
    }

    async fn l1_the_defaults_keep_a_burst_of_one_client_whole(world: World) {
        let gate = Arc::new(Notify::new());
        let server = world.serve(gated(&gate).grace(Duration::ZERO)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("first").await, "first");
        for count in 0..2000 {
            peer.send([b'x'; 100]).await;
            if count % 50 == 0 {
                // Paced: no more than the socket's buffer holds.
                server.settled(2 + count).await;
            }
        }
        let stats = server.settled(2001).await;
        assert_eq!((stats.queued, stats.dropped()), (2000, 0));
        server.stop().await.unwrap();
    }

    async fn l1_beside_greedy_clients_a_modest_one_loses_nothing(world: World) {
        let gate = Arc::new(Notify::new());
        let limits = Limits::default().total_bytes(100_000).grace(Duration::ZERO);
        let server = world.serve(gated(&gate).limits(limits)).await;
        let modest = world.peer(server.addr).await;
        assert_eq!(modest.ask("first").await, "first");
        let mut received = 1;
        for _ in 0..8 {
            let greedy = world.peer(server.addr).await;
            assert_eq!(greedy.ask("first").await, "first");
            received += 1;
            for _ in 0..300 {
                greedy.send([b'x'; 100]).await;
                received += 1;
                server.settled(received).await;
            }
        }
        let before = server.handle.stats();
        assert!(before.dropped_client_bound > 0 && before.queued_bytes <= 100_000);
        for _ in 0..10 {
            modest.send([b'x'; 100]).await;
        }
        let stats = server.settled(received + 10).await;
        assert_eq!(stats.dropped(), before.dropped());
        server.stop().await.unwrap();
    }

    /// None of them is ever served: each takes what it may, one after the other.
    async fn l1_beside_64_greedy_clients_a_modest_one_loses_nothing(world: World) {
        let gate = Arc::new(Notify::new());
        let limits = Limits::default().total_bytes(4 << 20);
        let server = world.serve(gated(&gate).limits(limits)).await;
        let (mut received, mut peers) = (0, Vec::new());
        for _ in 0..64 {
            let greedy = world.peer(server.addr).await;
            assert_eq!(greedy.ask("first").await, "first");
            received += 1;
            let before = server.handle.stats().dropped();
            while server.settled(received).await.dropped() == before {
                greedy.send([b'x'; 1000]).await;
                received += 1;
            }
            peers.push(greedy);
        }
        let before = server.handle.stats();
        assert_eq!((before.dropped(), before.dropped_total_bound), (64, 0));
        let modest = world.peer(server.addr).await;
        assert_eq!(modest.ask("first").await, "first");
        // As much as it always may: a 16,384th of all.
        for _ in 0..4 {
            modest.send([b'x'; 32]).await;
        }
        let stats = server.settled(received + 5).await;
        assert_eq!(stats.dropped(), 64);
        assert!(stats.queued_bytes <= 4 << 20);
        server.stop().await.unwrap();
    }
}

#[test]
fn l1_the_defaults_are_what_the_documentation_says() {
    let limits = Limits::default();
    assert_eq!(limits.max_client_datagrams(), usize::MAX);
    assert_eq!(limits.max_client_bytes(), usize::MAX);
    assert_eq!(limits.max_clients(), 65_536);
    assert_eq!(limits.max_clients_per_prefix(), None);
    assert_eq!(limits.max_total_bytes(), 64 * 1024 * 1024);
    assert_eq!(limits.max_outbox_bytes(), 4 * 1024 * 1024);
}
