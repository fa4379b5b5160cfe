//! Each datagram for itself: so many of one address at once.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::*;
use crate::{contract, paused};
use bytes::Bytes;
use futures_core::Stream;
use postbox_server::{Client, Limits, RecvError, ServerBuilder, Session};
use tokio::sync::Semaphore;

/// Handlers that answer once they are let go on, and how many run.
struct Held {
    gate: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    clients: Arc<Mutex<Vec<Client<Bytes>>>>,
}

impl Held {
    fn server() -> (Self, ServerBuilder) {
        let held = Self {
            gate: Arc::new(Semaphore::new(0)),
            running: Arc::default(),
            clients: Arc::default(),
        };
        let (gate, running) = (Arc::clone(&held.gate), Arc::clone(&held.running));
        let clients = Arc::clone(&held.clients);
        let builder = raw_server(move |client, mut requests| {
            let (gate, running) = (Arc::clone(&gate), Arc::clone(&running));
            clients.lock().expect("nobody panics").push(client.clone());
            async move {
                let request = requests.recv().await?;
                running.fetch_add(1, Ordering::Relaxed);
                gate.acquire().await?.forget();
                running.fetch_sub(1, Ordering::Relaxed);
                client.send(request).await?;
                Ok(())
            }
        });
        (held, builder)
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    fn let_go(&self, handlers: usize) {
        self.gate.add_permits(handlers);
    }
}

contract! {
    async fn h15_so_many_datagrams_of_an_address_are_handled_at_once_the_rest_waits(world: World) {
        let (held, builder) = Held::server();
        let server = world.serve(builder.concurrency(3)).await;
        let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for text in ["1", "2", "3", "4", "5"] {
            peer.send(text).await;
        }
        let stats = server.settled(5).await;
        assert_eq!((held.running(), stats.waiting_clients, stats.queued), (3, 3, 2));
        other.send("other").await;
        let stats = server.settled(6).await;
        assert_eq!((held.running(), stats.waiting_clients, stats.queued), (4, 4, 2));
        held.let_go(6);
        let mut answers = [(); 5].map(|()| String::new());
        for answer in &mut answers {
            *answer = peer.recv_text().await;
        }
        answers.sort();
        assert_eq!(answers, ["1", "2", "3", "4", "5"]);
        assert_eq!(other.recv_text().await, "other");
        let stats = server.stats_where(|stats| stats.handlers_returned == 6).await;
        assert_eq!((stats.waiting_clients, stats.queued, stats.handed_out), (0, 0, 6));
        server.stop().await.unwrap();
    }

    async fn h15_what_waits_for_a_run_is_bounded_as_one_clients_queue(world: World) {
        let (held, builder) = Held::server();
        let limits = Limits::default().client_datagrams(2);
        let server = world.serve(builder.concurrency(1).limits(limits)).await;
        let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for text in ["1", "2", "3", "4", "5"] {
            peer.send(text).await;
        }
        other.send("1").await;
        let stats = server.settled(6).await;
        assert_eq!((stats.queued, stats.dropped_client_bound, held.running()), (2, 2, 2));
        held.let_go(4);
        for text in ["1", "2", "3"] {
            assert_eq!(peer.recv_text().await, text, "one after the other in order");
        }
        server.stop().await.unwrap();
    }

    async fn h15_the_key_that_says_so_lets_256_be_handled_at_once_or_as_many_as_is_said(world: World) {
        for (said, at_once) in [(None, 256), (Some(2), 2)] {
            let (held, builder) = Held::server();
            let builder = builder.session_key(|_, _| Session::Each);
            let builder = match said {
                Some(runs) => builder.concurrency(runs),
                None => builder,
            };
            let server = world.serve(builder).await;
            let peer = world.peer(server.addr).await;
            for number in 0..260_u32 {
                peer.send(number.to_be_bytes()).await;
            }
            let stats = server.settled(260).await;
            assert_eq!((held.running(), stats.queued), (at_once, 260 - at_once as u64));
            held.let_go(260);
            server.stats_where(|stats| stats.handlers_returned == 260).await;
            server.stop().await.unwrap();
        }
    }

    async fn h15_what_such_runs_receive_late_is_in_that_one_bound_too(world: World) {
        let [begin, gate] = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
        let gates = [Arc::clone(&begin), Arc::clone(&gate)];
        let builder = raw_server(move |client, mut requests| {
            let [begin, gate] = gates.clone();
            async move {
                begin.acquire().await?.forget();
                let received = requests.recv().await;
                gate.acquire().await?.forget();
                let text = received.unwrap_or_else(|error| format!("{error:?}").into());
                client.send(text).await?;
                Ok(())
            }
        });
        let limits = Limits::default().client_datagrams(2);
        let server = world.serve(builder.concurrency(4).limits(limits)).await;
        let peer = world.peer(server.addr).await;
        for text in ["1", "2", "3"] {
            peer.send(text).await;
        }
        let stats = server.settled(3).await;
        assert_eq!((stats.queued, stats.dropped_client_bound), (2, 1));
        begin.add_permits(3);
        server.stats_where(|stats| stats.handed_out == 2).await;
        // They have received theirs, and run on: there is room again.
        for text in ["4", "5", "6"] {
            peer.send(text).await;
        }
        let stats = server.settled(6).await;
        assert_eq!((stats.queued, stats.dropped_client_bound), (2, 2));
        begin.add_permits(9);
        gate.add_permits(9);
        let mut answers = [(); 5].map(|()| String::new());
        for answer in &mut answers {
            *answer = peer.recv_text().await;
        }
        answers.sort();
        assert_eq!(answers, ["1", "2", "4", "5", "Closed"]);
        server.stop().await.unwrap();
    }

    async fn h15_the_clients_of_such_runs_are_equal_and_are_the_address(world: World) {
        let (held, builder) = Held::server();
        let builder = builder.session_key(|datagram, _| match datagram {
            b"address" => Session::Address,
            _ => Session::Each,
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for text in ["one", "two", "address"] {
            peer.send(text).await;
        }
        server.stats_where(|stats| stats.waiting_clients == 3).await;
        assert_eq!(held.running(), 3, "the address has its own run beside those");
        let clients = std::mem::take(&mut *held.clients.lock().unwrap());
        assert!(clients[0] == clients[1] && clients[1] == clients[2]);
        assert_eq!(clients[0].to_string(), peer.addr().to_string());
        drop(clients);
        held.let_go(3);
        for _ in 0..3 {
            peer.recv().await;
        }
        server.stop().await.unwrap();
    }

    async fn h15_a_second_receive_of_such_a_run_answers_closed_whatever_comes(world: World) {
        let server = world.serve(raw_server(|client, mut requests| async move {
            let first = requests.recv().await?;
            client.send("first".into()).await?;
            let minute = Duration::from_secs(60);
            let closed = |result| matches!(result, Err(RecvError::Closed));
            let mut all = closed(requests.recv().await);
            all &= closed(requests.recv_timeout(Duration::ZERO).await);
            all &= closed(requests.recv_timeout(minute).await);
            all &= closed(requests.recv_until(tokio::time::Instant::now() + minute).await);
            let mut requests = requests;
            let next = std::future::poll_fn(|cx| pin!(&mut requests).poll_next(cx)).await;
            all &= next.is_none();
            let elsewhere = tokio::spawn(async move { requests.recv().await });
            all &= closed(elsewhere.await?);
            client.send(if all { first } else { "received more".into() }).await?;
            Ok(())
        }).concurrency(1)).await;
        let peer = world.peer(server.addr).await;
        peer.send("one").await;
        peer.send("two").await;
        for text in ["first", "one", "first", "two"] {
            assert_eq!(peer.recv_text().await, text);
        }
        server.stop().await.unwrap();
    }

    async fn h15_such_a_run_receives_its_datagram_late_and_elsewhere_too(world: World) {
        let server = world.serve(raw_server(|client, mut requests| async move {
            tokio::task::yield_now().await;
            let request = tokio::spawn(async move { requests.recv().await }).await??;
            client.send(request).await?;
            Ok(())
        }).concurrency(2)).await;
        let peer = world.peer(server.addr).await;
        for text in ["1", "2", "3", "4"] {
            peer.send(text).await;
        }
        let mut answers = [(); 4].map(|()| String::new());
        for answer in &mut answers {
            *answer = peer.recv_text().await;
        }
        answers.sort();
        assert_eq!(answers, ["1", "2", "3", "4"]);
        let stats = server.stats_where(|stats| stats.handlers_returned == 4).await;
        assert_eq!((stats.handed_out, stats.discarded), (4, 0));
        server.stop().await.unwrap();
    }

    async fn h15_such_a_run_that_receives_nothing_discards_its_one_datagram(world: World) {
        let begun = Arc::new(AtomicUsize::new(0));
        let server = world.serve(raw_server(move |client, mut requests| {
            let number = begun.fetch_add(1, Ordering::Relaxed);
            async move {
                if number.is_multiple_of(2) {
                    return Ok(());
                }
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        }).concurrency(8)).await;
        let peer = world.peer(server.addr).await;
        for text in ["1", "2", "3", "4"] {
            peer.send(text).await;
        }
        let stats = server.settled(4).await;
        assert_eq!((stats.discarded, stats.handed_out), (2, 2));
        server.stop().await.unwrap();
    }

    async fn v4_a_shutdown_drops_what_waits_for_a_run(world: World) {
        let (held, builder) = Held::server();
        let server = world.serve(builder.concurrency(1)).await;
        let peer = world.peer(server.addr).await;
        for text in ["1", "2", "3"] {
            peer.send(text).await;
        }
        server.stats_where(|stats| stats.queued == 2).await;
        let stop = server.handle.clone();
        let stopping = tokio::spawn(async move { stop.shutdown().await });
        let stats = server.stats_where(|stats| stats.dropped_shutdown == 2).await;
        assert_eq!((stats.queued, stats.queued_bytes), (0, 0));
        held.let_go(9);
        stopping.await.unwrap();
        assert_eq!(peer.recv_text().await, "1", "it had its grace");
        assert_eq!(server.handle.stats().handed_out, 1);
        server.stop().await.unwrap();
    }

    async fn v11_a_drain_handles_what_waits_for_a_run_and_nothing_new(world: World) {
        let (held, builder) = Held::server();
        let server = world.serve(builder.concurrency(1)).await;
        let peer = world.peer(server.addr).await;
        peer.send("1").await;
        peer.send("2").await;
        server.stats_where(|stats| stats.queued == 1).await;
        let drain = server.handle.clone();
        let draining = tokio::spawn(async move { drain.drain(HANG).await });
        // One that is dropped says that the drain has begun.
        while server.handle.stats().dropped_shutdown == 0 {
            peer.send("too late").await;
            tokio::task::yield_now().await;
        }
        held.let_go(1000);
        draining.await.unwrap();
        let stats = server.handle.stats();
        assert_eq!((stats.received, stats.queued), (stats.accounted(), 0));
        assert_eq!(peer.recv_text().await, "1");
        server.stop().await.unwrap();
    }
}

paused! {
    /// What a RADIUS proxy does: 200 open questions from one port, each looked up for 50 ms.
    async fn h15_two_thousand_questions_of_one_port_take_as_long_as_their_look_ups(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            let request = requests.recv().await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.send(request).await?;
            Ok(())
        });
        let by_key = builder.session_key(Session::be_u16(0));
        let each = raw_server(|client, mut requests| async move {
            let request = requests.recv().await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.send(request).await?;
            Ok(())
        });
        for builder in [by_key, each.concurrency(200)] {
            let server = world.serve(builder).await;
            let peer = world.peer(server.addr).await;
            let began = tokio::time::Instant::now();
            for number in 0..200_u16 {
                peer.send(number.to_be_bytes()).await;
            }
            for number in 200..2_000_u16 {
                peer.recv().await;
                peer.send(number.to_be_bytes()).await;
            }
            for _ in 0..200 {
                peer.recv().await;
            }
            let took = began.elapsed();
            assert!(took <= Duration::from_millis(10 * 53), "{took:?}");
            assert_eq!(server.handle.stats().handed_out, 2_000);
            server.stop().await.unwrap();
        }
    }
}
