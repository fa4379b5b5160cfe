//! L7: after everything that can happen to a datagram, the sums are exact.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{
    Admission, Client, Incoming, Limits, RatePerPrefix, RecvError, ServerBuilder,
};
use tokio::sync::{Notify, Semaphore};

use crate::common::*;
use crate::contract;

/// What a handler does is told by its client's address: 127.0.0.8 is refused by the handler,
/// 127.0.0.9 already at the door. Others say what they want.
fn everything(gate: &Arc<Semaphore>) -> ServerBuilder {
    let gate = Arc::clone(gate);
    raw_server(move |client: Client<Bytes>, mut requests| {
        let gate = Arc::clone(&gate);
        async move {
            if client.remote_addr().ip().to_string() == "127.0.0.8" {
                return Ok(());
            }
            let request = requests.recv().await?;
            client.send(request.clone()).await?;
            match &request[..] {
                b"fail" => return Err("told to fail".into()),
                b"panic" => panic!("told to panic"),
                b"busy" => gate.acquire().await?.forget(),
                _ => {}
            }
            Ok(())
        }
    })
    .admit(|incoming| incoming.remote_addr().ip().to_string() != "127.0.0.9")
    .limits(
        Limits::default()
            .client_datagrams(2)
            .clients(2)
            .total_bytes(200)
            .receive_datagram(100)
            .grace(Duration::ZERO),
    )
}

contract! {
    async fn l7_after_everything_at_once_the_sums_are_exact(world: World) {
        let gate = Arc::new(Semaphore::new(0));
        let server = world.serve(everything(&gate)).await;
        let to = server.addr;
        let peer = world.peer(to).await;
        let mut sent = 0;

        // Handed out: as requests, and as an error.
        for text in ["one", "two", "fail", "panic"] {
            assert_eq!(peer.ask(text).await, text);
            sent += 1;
        }
        let cut = server.handle.capabilities().truncation;
        if cut {
            peer.send([1; 101]).await;
            sent += 1;
        }
        world.logs.wait_for(2 + usize::from(cut)).await;

        // Discarded by the handler, refused at the door, from nowhere.
        let discarded = world.peer_at("127.0.0.8:0".parse().unwrap(), to).await;
        let refused = world.peer_at("127.0.0.9:0".parse().unwrap(), to).await;
        for _ in 0..3 {
            discarded.send("x").await;
            refused.send("x").await;
            sent += 2;
            server.settled(sent).await;
        }
        let mut forged = 0;
        if world.kind == Kind::Memory {
            for source in ["127.0.0.1:0", "224.0.0.1:7", "[::ffff:255.255.255.255]:7"] {
                world.network.send_from(source.parse().unwrap(), b"x", to).unwrap();
                forged += 1;
            }
            sent += forged;
        }

        // Over each bound, the newest first.
        let (second, third) = (world.peer(to).await, world.peer(to).await);
        assert_eq!(peer.ask("busy").await, "busy");
        assert_eq!(second.ask("busy").await, "busy");
        sent += 2;
        third.send("one client too many").await;
        sent += 1;
        for _ in 0..2 {
            peer.send([1; 60]).await; // 92 bytes each, and two are more than its share
            sent += 1;
            server.settled(sent).await;
        }
        second.send([1; 60]).await;
        second.send("x").await; // 33 bytes of 16 that are left
        sent += 2;
        let stats = server.settled(sent).await;
        assert_eq!((stats.queued, stats.queued_bytes, stats.waiting_clients), (2, 184, 2));

        // Coalesced, they count singly.
        let mut coalesced = 0;
        if world.kind == Kind::Memory {
            world.network.send_coalesced(peer.addr(), b"aabbc", 2, to);
            coalesced = 3;
            sent += coalesced;
        }
        server.settled(sent).await;

        // One of the two ends, and the next of its datagrams with it; the rest is the shutdown's.
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        let stats = handle.stats();
        assert_eq!((stats.received, stats.accounted()), (sent, sent), "{stats:#?}");
        assert_eq!((stats.handed_out, stats.truncated), (6 + u64::from(cut), u64::from(cut)));
        assert_eq!((stats.discarded, stats.dropped_refused), (3, 3));
        assert_eq!((stats.dropped_source, stats.dropped_clients_bound), (forged, 1));
        assert_eq!((stats.dropped_client_bound, stats.dropped_total_bound), (1, 1 + coalesced));
        assert_eq!((stats.dropped_shutdown, stats.queued, stats.queued_bytes), (2, 0, 0));
        assert_eq!(stats.dropped(), 8 + forged + coalesced);
        assert_eq!((stats.handlers_returned, stats.handlers_failed), (2 + 3, 1 + u64::from(cut)));
        assert_eq!((stats.handlers_panicked, stats.handlers_cancelled), (1, 2));
        assert_eq!((stats.waiting_clients, stats.sent), (0, 6));
        assert_eq!((stats.receive_errors, stats.send_errors), (0, 0));
    }

    async fn l7_several_workers_add_up(world: World) {
        let gate = Arc::new(Semaphore::new(0));
        let grace = Duration::ZERO;
        let limits = Limits::default().client_datagrams(2).grace(grace);
        let server = world.serve(everything(&gate).limits(limits).workers(3)).await;
        let mut peers = Vec::new();
        for number in 0..20 {
            let peer = world.peer(server.addr).await;
            let text = if number % 2 == 0 { "busy" } else { "echo" };
            assert_eq!(peer.ask(text).await, text);
            peers.push(peer);
        }
        for peer in peers.iter().step_by(2) {
            for _ in 0..3 {
                peer.send("x").await;
            }
        }
        let stats = server.settled(20 + 30).await;
        assert_eq!((stats.handed_out, stats.queued, stats.dropped_client_bound), (20, 20, 10));
        gate.add_permits(3);
        server.stats_where(|stats| stats.handed_out == 20 + 6).await;
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        let stats = handle.stats();
        assert_eq!((stats.received, stats.accounted()), (50, 50));
        assert_eq!((stats.handlers_returned, stats.dropped_shutdown), (10 + 3 + 6, 14));
        assert_eq!(stats.handlers_cancelled, 7);
    }

    async fn l7_a_serving_that_is_dropped_leaves_exact_sums(world: World) {
        let gate = Arc::new(Semaphore::new(0));
        let server = world.serve(everything(&gate)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("busy").await, "busy");
        peer.send("queued").await;
        server.queued(1).await;
        server.serving.abort();
        server.handle.shutdown().await; // until it has been cleaned up
        let stats = server.handle.stats();
        assert_eq!((stats.received, stats.accounted()), (2, 2));
        assert_eq!((stats.dropped_shutdown, stats.handlers_cancelled), (1, 1));
        assert_eq!((stats.queued, stats.queued_bytes, stats.waiting_clients), (0, 0, 0));
    }

    on memory;
    /// Bounds, evictions, checks that change, bursts, and a shutdown in between.
    async fn l7_what_evictions_refusals_and_bursts_do_together_adds_up(world: World) {
        let started = Arc::new(AtomicU64::new(0));
        let starts = Arc::clone(&started);
        let builder = raw_server(move |client, mut requests| {
            starts.fetch_add(1, Ordering::Relaxed);
            async move {
                loop {
                    match requests.recv().await {
                        Ok(request) if request == "busy" => pending().await,
                        Ok(request) => client.send(request).await?,
                        Err(RecvError::Evicted) => match client.remote_addr().port() % 4 {
                            0 => return Ok(()),
                            1 => panic!("evicted"),
                            2 => {} // it waits again, and is cancelled
                            _ => return Err("evicted".into()),
                        },
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        });
        let limits = Limits::default().clients(12).clients_per_prefix(3).client_datagrams(2);
        let server = world.serve(builder.limits(limits).grace(Duration::ZERO).workers(3)).await;
        for port in 1..=8 {
            let source = SocketAddr::from(([198, 51, 99, 1], port));
            world.network.send_from(source, b"x", server.addr).unwrap();
        }
        let mut sent = 8;
        let mut send = |round: u16| {
            for number in 0..8 {
                let ip = [198, 51, (round + number) as u8 % 6, 1];
                let source = SocketAddr::from((ip, 1000 + (3 * round + number) % 16));
                let text = if round % 32 == 8 { "busy" } else { "x" };
                if number % 2 == 0 {
                    world.network.send_coalesced(source, b"aabbc", 2, server.addr);
                    sent += 3;
                } else {
                    world.network.send_from(source, text.as_bytes(), server.addr).unwrap();
                    sent += 1;
                }
            }
            sent
        };
        for round in 0..64 {
            let check: Option<Arc<dyn Admission>> = match round % 4 {
                0 => Some(Arc::new(RatePerPrefix::new(1, 2).ipv4_prefix(24))),
                1 => Some(Arc::new(|incoming: &Incoming<'_>| incoming.len() < 2)),
                _ => None,
            };
            server.handle.set_admission(check);
            server.settled(send(round)).await;
        }
        let stats = server.handle.stats();
        for count in [
            stats.handed_out,
            stats.dropped_client_bound,
            stats.dropped_prefix_bound,
            stats.dropped_refused,
            stats.handlers_evicted,
            stats.handlers_panicked,
        ] {
            assert!(count > 0, "{stats:#?}");
        }
        send(64);
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        let stats = handle.stats();
        let refused: u64 = handle.refusals().iter().map(|(_, count)| count).sum();
        assert_eq!(refused, stats.dropped_refused);
        let ended = stats.handlers_returned
            + stats.handlers_failed
            + stats.handlers_panicked
            + stats.handlers_evicted
            + stats.handlers_cancelled;
        assert_eq!(ended, started.load(Ordering::Relaxed), "{stats:#?}");
        world.logs.take(); // those that panicked, and failed
    }

    on udp;
    async fn l7_what_the_kernel_coalesced_counts_singly(world: World) {
        // The one server's socket is the other's client: it is sent two runs of answers of one length
        // each, which leave and arrive as one each.
        let answers = move || (0..100_u8).map(|number| (number, if number < 50 { 60 } else { 100 }));
        let receiving = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let asking = receiving.try_clone().unwrap();
        let done = Arc::new(Notify::new());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (is_done, sees) = (Arc::clone(&done), Arc::clone(&seen));
        let builder = raw_server(move |_, mut requests| {
            let (done, seen) = (Arc::clone(&is_done), Arc::clone(&sees));
            async move {
                let request = requests.recv().await?;
                if request == "done" {
                    done.notify_one();
                } else {
                    seen.lock().unwrap().push(request);
                }
                Ok(())
            }
        });
        let receiver = TestServer::start(builder.from_sockets([receiving]).unwrap()).await;
        let builder = raw_server(move |client, mut requests| async move {
            requests.recv().await?;
            for (number, len) in answers() {
                client.send(vec![number; len].into()).await?;
            }
            client.send("done".into()).await?;
            Ok(())
        });
        let sender = world.serve(builder).await;
        asking.send_to(b"go", sender.addr).unwrap();
        done.notified().await;
        let stats = receiver.settled(101).await;
        assert_eq!((stats.handed_out, stats.truncated), (101, 0));
        let sent: Vec<_> = answers().map(|(number, len)| vec![number; len]).collect();
        assert_eq!(*seen.lock().unwrap(), sent);
        sender.stop().await.unwrap();
        receiver.stop().await.unwrap();
    }
}
