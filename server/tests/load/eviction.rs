//! L9: newcomers get in where as many clients wait as may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use postbox_server::{Limits, RecvError, ServerBuilder, WhenFull};
use tokio::sync::Notify;

use super::gated;
use crate::common::service::Journal;
use crate::common::*;
use crate::contract;

/// Answers each datagram with its number in this run, and tells the journal who is evicted.
pub(super) fn counting(journal: &Journal) -> ServerBuilder {
    let journal = journal.clone();
    raw_server(move |client, mut requests| {
        let journal = journal.clone();
        async move {
            for number in 1.. {
                match requests.recv().await {
                    Err(RecvError::Evicted) => {
                        journal.add(client.remote_addr().to_string());
                        return Ok(());
                    }
                    received => drop(received?),
                }
                client.send(format!("{number}").into()).await?;
            }
            Ok(())
        }
    })
}

/// A stranger's address, each time another.
fn forged(number: u32) -> SocketAddr {
    let ip = 0x0a00_0000 + number; // 10.0.0.0/8
    SocketAddr::new(std::net::Ipv4Addr::from_bits(ip).into(), 7)
}

contract! {
    async fn l9_a_newcomer_is_answered_where_the_bound_is_full(world: World) {
        let journal = Journal::default();
        let limits = Limits::default().clients(2);
        let server = world.serve(counting(&journal).limits(limits)).await;
        let mut peers = Vec::new();
        for _ in 0..6 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("hello").await, "1");
            peers.push(peer);
        }
        let first: Vec<_> = peers[..4].iter().map(|peer| peer.addr().to_string()).collect();
        assert_eq!(journal.entries(), first, "who has waited longest goes first");
        let stats = server.handle.stats();
        assert_eq!((stats.waiting_clients, stats.handlers_evicted), (2, 4));
        assert_eq!((stats.received, stats.handed_out, stats.dropped()), (6, 6, 0));
        // The others go on as ever.
        assert_eq!(peers[4].ask("more").await, "2");
        assert_eq!(peers[5].ask("more").await, "2");
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        let stats = handle.stats();
        assert_eq!((stats.handlers_evicted, stats.handlers_failed), (4, 2));
        assert_eq!((stats.handlers_returned, stats.handlers_cancelled), (0, 0));
    }

    async fn l9_the_next_datagram_of_a_client_that_was_evicted_starts_a_handler(world: World) {
        let journal = Journal::default();
        let limits = Limits::default().clients(1);
        let server = world.serve(counting(&journal).limits(limits)).await;
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for _ in 0..3 {
            assert_eq!(first.ask("hello").await, "1");
            assert_eq!(first.ask("more").await, "2");
            assert_eq!(second.ask("hello").await, "1");
        }
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        let stats = handle.stats();
        assert_eq!((stats.handlers_evicted, stats.handlers_failed), (5, 1));
        assert_eq!((stats.received, stats.handed_out), (9, 9));
    }

    async fn l9_if_all_are_in_mid_conversation_one_of_them_goes_all_the_same(world: World) {
        let journal = Journal::default();
        let limits = Limits::default().clients(2);
        let server = world.serve(counting(&journal).limits(limits)).await;
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for number in ["1", "2"] {
            assert_eq!(first.ask("hello").await, number);
            assert_eq!(second.ask("hello").await, number);
        }
        let third = world.peer(server.addr).await;
        assert_eq!(third.ask("hello").await, "1");
        assert_eq!(journal.entries(), [second.addr().to_string()], "the last one that was seen");
        server.stop().await.unwrap();
    }

    async fn l9_where_no_handler_waits_in_its_own_receive_the_newcomer_is_dropped(world: World) {
        let gate = Arc::new(Notify::new());
        let limits = Limits::default().clients(2);
        let server = world.serve(gated(&gate).limits(limits)).await;
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(first.ask("1").await, "1");
        assert_eq!(second.ask("2").await, "2");
        let third = world.peer(server.addr).await;
        third.send("3").await;
        let stats = server.stats_where(|stats| stats.dropped_clients_bound == 1).await;
        assert_eq!((stats.handlers_evicted, stats.waiting_clients), (0, 2));
        // As soon as one does, there is room.
        gate.notify_waiters();
        assert_eq!(second.ask("more").await, "more");
        assert_eq!(third.ask("again").await, "again");
        assert_eq!(server.handle.stats().handlers_evicted, 1);
        gate.notify_waiters();
        server.stop().await.unwrap();
    }

    async fn l9_a_handler_that_waits_for_a_timer_or_for_another_task_stays(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            let request = requests.recv().await?;
            client.send(request.clone()).await?;
            if request == "timer" {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            } else {
                // Its receive waits, but the handler waits for the task.
                tokio::spawn(async move { requests.recv().await }).await??;
            }
            Ok(())
        });
        let limits = Limits::default().clients(2).grace(Duration::ZERO);
        let server = world.serve(builder.limits(limits)).await;
        let mut peers = Vec::new();
        for text in ["timer", "task"] {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask(text).await, text);
            peers.push(peer);
        }
        // That the task has begun to wait cannot be seen; it matters not.
        let third = world.peer(server.addr).await;
        for count in 1..=3 {
            third.send("let me in").await;
            server.stats_where(|stats| stats.dropped_clients_bound == count).await;
        }
        assert_eq!(server.handle.stats().handlers_evicted, 0);
        server.stop().await.unwrap();
    }

    async fn l9_a_receive_in_a_select_is_the_handlers_own(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            client.send(requests.recv().await?).await?;
            tokio::select! {
                received = requests.recv() => {
                    assert!(matches!(received, Err(RecvError::Evicted)));
                    client.send("evicted".into()).await?;
                }
                () = tokio::time::sleep(Duration::from_secs(3600)) => {}
            }
            Ok(())
        });
        let limits = Limits::default().clients(1).grace(Duration::ZERO);
        let server = world.serve(builder.limits(limits)).await;
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(first.ask("hello").await, "hello");
        assert_eq!(second.ask("hello").await, "hello");
        assert_eq!(first.recv_text().await, "evicted");
        server.handle.shutdown().await;
        world.logs.take(); // the one that the shutdown has closed panics
        server.stop().await.unwrap();
    }

    async fn l9_refusing_newcomers_is_the_users_to_choose(world: World) {
        let journal = Journal::default();
        let limits = Limits::default().clients(1).when_full(WhenFull::Refuse);
        let server = world.serve(counting(&journal).limits(limits)).await;
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(first.ask("hello").await, "1");
        second.send("hello").await;
        let stats = server.stats_where(|stats| stats.dropped_clients_bound == 1).await;
        assert_eq!((stats.handlers_evicted, stats.waiting_clients), (0, 1));
        assert_eq!(first.ask("more").await, "2");
        assert!(journal.entries().is_empty() && second.is_quiet());
        server.stop().await.unwrap();
    }

    async fn l9_a_handler_that_answers_at_once_drives_nobody_out(world: World) {
        let journal = Journal::default();
        let tell = journal.clone();
        let builder = raw_server(move |client, mut requests| {
            let journal = tell.clone();
            async move {
                let request = requests.recv().await?;
                client.send(request.clone()).await?;
                if request == "wait" {
                    journal.add(format!("{:?}", requests.recv().await));
                }
                Ok(())
            }
        });
        let limits = Limits::default().clients(2);
        let server = world.serve(builder.limits(limits)).await;
        let mut waiting = Vec::new();
        for _ in 0..2 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("wait").await, "wait");
            waiting.push(peer);
        }
        // The first of them needs room, and leaves it to the next.
        for _ in 0..10 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("at once").await, "at once");
        }
        assert_eq!(journal.entries(), ["Err(Evicted)"]);
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn l9_with_several_workers_each_makes_room_among_its_own(world: World) {
        let journal = Journal::default();
        let limits = Limits::default().clients(64);
        let server = world.serve(counting(&journal).limits(limits).workers(2)).await;
        // So many that both workers have some: the others are in one of 2^63 cases.
        let mut peers = Vec::new();
        for number in 0..256_u64 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("hello").await, "1");
            peers.push(peer);
            let stats = server.handle.stats();
            // Each has its part, 32, whatever the other has by then.
            assert!(stats.waiting_clients <= 64 + 32);
            assert_eq!(stats.waiting_clients + stats.handlers_evicted, number + 1);
        }
        let stats = server.handle.stats();
        assert!(stats.waiting_clients >= 64 && stats.dropped() == 0);
        assert_eq!(journal.entries().len() as u64, stats.handlers_evicted);
        server.stop().await.unwrap();
    }
}

contract! {
    on udp, plain;
    async fn l9_a_flood_on_one_socket_does_not_close_the_others(world: World) {
        let limits = Limits::default().clients(64);
        for when_full in [WhenFull::Evict, WhenFull::Refuse] {
            // Handlers that wait for something else than their receive make room for nobody.
            let builder = raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                std::future::pending().await
            });
            let limits = limits.clone().when_full(when_full).grace(Duration::ZERO);
            let builder = builder.limits(limits).plain_transport(world.kind == Kind::Plain);
            let server = builder.bind(["127.0.0.1:0", "127.0.0.2:0"]).await.unwrap();
            let server = TestServer::start(server).await;
            let [one, other] = server.handle.addresses()[..] else { panic!("two") };
            let mut peers = Vec::new(); // no port is used twice
            for (to, part) in [(one, 64), (other, 32)] {
                for _ in 0..part {
                    let peer = world.peer(to).await;
                    assert_eq!(peer.ask("hello").await, "hello");
                    peers.push(peer);
                }
                let peer = world.peer(to).await;
                let before = server.handle.stats().dropped_clients_bound;
                peer.send("one too many").await;
                peers.push(peer);
                server.stats_where(|stats| stats.dropped_clients_bound > before).await;
            }
            server.stop().await.unwrap();
        }
    }
}

contract! {
    on memory;
    async fn l9_conversations_stay_while_forged_first_datagrams_come_and_go(world: World) {
        let journal = Journal::default();
        let limits = Limits::default().clients(8);
        let server = world.serve(counting(&journal).limits(limits)).await;
        let mut peers = Vec::new();
        for _ in 0..4 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("hello").await, "1");
            peers.push(peer);
        }
        let mut strangers = 0;
        for round in 2..100 {
            for peer in &peers {
                assert_eq!(peer.ask("more").await, round.to_string(), "the same run");
            }
            for _ in 0..4 {
                strangers += 1;
                world.network.send_from(forged(strangers), b"forged", server.addr).unwrap();
            }
            server.settled(4 * round + u64::from(strangers)).await;
        }
        assert_eq!(server.handle.stats().handlers_evicted, u64::from(strangers) - 4);
        server.stop().await.unwrap();
    }

    on memory;
    async fn l9_however_many_datagrams_were_forged_a_newcomer_gets_in(world: World) {
        let journal = Journal::default();
        let limits = Limits::default().clients(1000).idle(None);
        let server = world.serve(counting(&journal).limits(limits)).await;
        for number in 0..5000 {
            world.network.send_from(forged(number), b"forged", server.addr).unwrap();
            if number % 100 == 99 {
                server.settled(u64::from(number) + 1).await; // no more than the queue holds
            }
        }
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "1");
        assert_eq!(peer.ask("more").await, "2");
        let stats = server.handle.stats();
        assert_eq!((stats.waiting_clients, stats.handlers_evicted), (1000, 4001));
        assert_eq!(stats.dropped(), 0);
        server.stop().await.unwrap();
    }

    on memory;
    /// What came with the first is more than the first.
    async fn l9_a_burst_that_the_first_poll_receives_counts_as_a_conversation(world: World) {
        let journal = Journal::default();
        let limits = Limits::default().clients(2);
        let server = world.serve(counting(&journal).limits(limits)).await;
        let first = world.peer(server.addr).await;
        world.network.send_coalesced(first.addr(), b"aabb", 2, server.addr);
        assert_eq!((first.recv_text().await, first.recv_text().await), ("1".into(), "2".into()));
        let (second, third) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(second.ask("hello").await, "1");
        assert_eq!(third.ask("hello").await, "1");
        assert_eq!(journal.entries(), [second.addr().to_string()]);
        server.stop().await.unwrap();
    }
}
