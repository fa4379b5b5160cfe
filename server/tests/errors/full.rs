//! A full outbox: senders wait, in order, and the worker stops to receive.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{Client, Limits, SendError};
use tokio::sync::mpsc;

use super::{pushed, pushing};
use crate::common::*;
use crate::contract;

/// The smallest outbox, whatever less is asked for.
const ROOM: usize = 66 * 1024;

/// As much as there is room for twice.
const LARGE: usize = 30_000;

fn limits() -> Limits {
    Limits::default().outbox_bytes(0)
}

/// Fills the outbox of a server that sends nothing. Returns how many datagrams that took.
async fn fill(client: &Client<Bytes>, len: usize) -> usize {
    let mut filled = 0;
    loop {
        match client.try_send(Bytes::from(vec![0; len])) {
            Ok(()) => filled += 1,
            Err(SendError::Full) => return filled,
            Err(other) => panic!("{other}"),
        }
    }
}

contract! {
    on memory;
    async fn v7_send_waits_while_the_outbox_is_full(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder.limits(limits())).await;
        let (peer, client) = pushed(&world, &server, &mut taken).await;
        world.network.block_sends(server.addr, true);
        assert_eq!(fill(&client, LARGE).await, 2);
        let mut send = pin!(client.send(Bytes::from(vec![1; LARGE])));
        begin(&mut send).await;
        assert!(matches!(client.try_send(Bytes::from(vec![2; LARGE])), Err(SendError::Full)));
        world.network.block_sends(server.addr, false);
        send.await.unwrap();
        client.flush().await.unwrap();
        for expected in [0, 0, 1] {
            assert_eq!(peer.recv().await[0], expected);
        }
        assert_eq!(server.handle.stats().sent, 3);
        server.stop().await.unwrap();
    }

    on memory;
    async fn v7_send_datagram_waits_too_and_what_cannot_be_sent_does_not(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder.limits(limits())).await;
        let (peer, client) = pushed(&world, &server, &mut taken).await;
        world.network.block_sends(server.addr, true);
        fill(&client, LARGE).await;
        let encoded = vec![1; LARGE];
        let mut send = pin!(client.send_datagram(&encoded));
        begin(&mut send).await;
        let too_large = client.send(Bytes::from(vec![0; 65_508])).await;
        assert!(matches!(too_large, Err(SendError::TooLarge { .. })));
        world.network.block_sends(server.addr, false);
        send.await.unwrap();
        for expected in [0, 0, 1] {
            assert_eq!(peer.recv().await[0], expected);
        }
        server.stop().await.unwrap();
    }

    on memory;
    async fn v7_a_waiting_send_that_is_dropped_sends_nothing_and_holds_nobody(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder.limits(limits())).await;
        let (peer, client) = pushed(&world, &server, &mut taken).await;
        world.network.block_sends(server.addr, true);
        fill(&client, LARGE).await;
        let mut last = pin!(client.send(Bytes::from(vec![2; LARGE])));
        {
            let mut dropped = pin!(client.send(Bytes::from(vec![1; LARGE])));
            begin(&mut dropped).await;
            begin(&mut last).await;
        }
        world.network.block_sends(server.addr, false);
        last.await.unwrap();
        for expected in [0, 0, 2] {
            assert_eq!(peer.recv().await[0], expected);
        }
        client.flush().await.unwrap();
        assert_eq!(server.handle.stats().sent, 3);
        server.stop().await.unwrap();
    }

    on memory;
    async fn v7_a_waiting_send_is_told_closed_when_serving_ends(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder.limits(limits())).await;
        let (_peer, client) = pushed(&world, &server, &mut taken).await;
        world.network.block_sends(server.addr, true);
        fill(&client, LARGE).await;
        let mut send = pin!(client.send(Bytes::from(vec![1; LARGE])));
        begin(&mut send).await;
        server.serving.abort();
        assert!(matches!(send.await, Err(SendError::Closed)));
        server.handle.shutdown().await;
    }

    on memory;
    async fn v7_waiting_senders_are_woken_in_order(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder.limits(limits())).await;
        let (peer, client) = pushed(&world, &server, &mut taken).await;
        world.network.block_sends(server.addr, true);
        // Each fills the outbox alone, so that each has to wait for the one before.
        let large = |number: u8| Bytes::from(vec![number; 60_000]);
        client.send(large(0)).await.unwrap();
        let (done, mut dones) = mpsc::unbounded_channel();
        for number in 1..=8 {
            let (client, done) = (client.clone(), done.clone());
            let waits = std::sync::Arc::new(tokio::sync::Notify::new());
            let waiting = std::sync::Arc::clone(&waits);
            tokio::spawn(async move {
                let mut send = pin!(client.send(large(number)));
                begin(&mut send).await;
                waiting.notify_one();
                send.await.unwrap();
                done.send(number).unwrap();
            });
            waits.notified().await;
        }
        world.network.block_sends(server.addr, false);
        for number in 0..=8 {
            assert_eq!(peer.recv().await[0], number);
        }
        // What they do after that is not in order.
        let mut sent = Vec::new();
        for _ in 1..=8 {
            sent.push(dones.recv().await.unwrap());
        }
        sent.sort_unstable();
        assert_eq!(sent, [1, 2, 3, 4, 5, 6, 7, 8]);
        server.stop().await.unwrap();
    }

    on memory;
    async fn v7_a_later_small_send_does_not_overtake_a_waiting_large_one(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder.limits(limits())).await;
        let (peer, client) = pushed(&world, &server, &mut taken).await;
        world.network.block_sends(server.addr, true);
        fill(&client, LARGE).await; // room for a small one is left
        let mut large = pin!(client.send(Bytes::from(vec![1; LARGE])));
        begin(&mut large).await;
        let mut small = pin!(client.send(Bytes::from(vec![2])));
        begin(&mut small).await;
        assert!(matches!(client.try_send(Bytes::new()), Err(SendError::Full)));
        world.network.block_sends(server.addr, false);
        large.await.unwrap();
        small.await.unwrap();
        for expected in [0, 0, 1, 2] {
            assert_eq!(peer.recv().await[0], expected);
        }
        server.stop().await.unwrap();
    }

    on memory;
    async fn v7_a_worker_with_a_full_outbox_stops_to_receive(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let request = requests.recv().await?;
                client.send(Bytes::from(vec![request[0]; LARGE])).await?;
                Ok(())
            }).limits(limits()))
            .await;
        let peer = world.peer(server.addr).await;
        world.network.block_sends(server.addr, true);
        peer.send([1]).await;
        // One answer waits: there is no room for another of the largest.
        server.stats_where(|stats| stats.handlers_returned == 1).await;
        for number in 2..=5 {
            peer.send([number]).await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.handle.stats().received, 1);
        world.network.block_sends(server.addr, false);
        for number in 1..=5 {
            assert_eq!(peer.recv().await[0], number);
        }
        assert_eq!(server.handle.stats().received, 5);
        server.stop().await.unwrap();
    }

    on memory;
    async fn v7_handlers_that_wait_for_room_go_on_in_order(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let request = requests.recv().await?;
                client.send(Bytes::from(vec![request[0]; 60_000])).await?;
                Ok(())
            }).limits(limits()))
            .await;
        world.network.block_sends(server.addr, true);
        // They arrive in one batch, and wait for each other.
        let mut peers = Vec::new();
        for number in 0..5 {
            let peer = world.peer(server.addr).await;
            peer.send([number]).await;
            peers.push(peer);
        }
        server.stats_where(|stats| stats.received > 0).await;
        world.network.block_sends(server.addr, false);
        for (number, peer) in (0..).zip(&peers) {
            assert_eq!(peer.recv().await, vec![number; 60_000]);
        }
        server.stop().await.unwrap();
    }

    on memory;
    async fn v7_room_that_a_sender_does_not_use_does_not_stop_the_worker(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder.limits(limits())).await;
        let (peer, client) = pushed(&world, &server, &mut taken).await;
        world.network.block_sends(server.addr, true);
        fill(&client, LARGE).await;
        let mut waits = pin!(client.send(Bytes::from(vec![1; LARGE])));
        begin(&mut waits).await;
        world.network.block_sends(server.addr, false);
        // It is given its room, and is not polled.
        for _ in 0..2 {
            assert_eq!(peer.recv().await[0], 0);
        }
        peer.send("hello").await;
        let again = taken.recv().await.unwrap();
        assert!(again == client);
        waits.await.unwrap();
        assert_eq!(peer.recv().await[0], 1);
        server.stop().await.unwrap();
    }

    on memory;
    async fn l1_the_outbox_holds_as_much_as_the_user_says(world: World) {
        for (asked, room) in [(0, ROOM), (ROOM + 1, ROOM + 1), (1_000_000, 1_000_000)] {
            let (builder, mut taken) = pushing();
            let limits = Limits::default().outbox_bytes(asked);
            let server = world.serve(builder.limits(limits).grace(Duration::ZERO)).await;
            let (_peer, client) = pushed(&world, &server, &mut taken).await;
            world.network.block_sends(server.addr, true);
            // 64 bytes of overhead for each.
            assert_eq!(fill(&client, 936).await, room / 1_000);
            server.serving.abort();
            server.handle.shutdown().await;
        }
        assert_eq!(Limits::default().max_outbox_bytes(), 4 * 1024 * 1024);
    }
}
