//! L5 and L6: who is not answered, before a handler starts.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use postbox_server::{Client, Incoming, MemoryNetwork, ServerHandle};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::gated;
use crate::common::*;
use crate::{contract, paused};

contract! {
    on memory;
    async fn l5_sources_that_must_not_be_answered_are_dropped_before_a_handler_starts(world: World) {
        let runs = Arc::new(AtomicUsize::new(0));
        let started = Arc::clone(&runs);
        let builder = raw_server(move |client, mut requests| {
            started.fetch_add(1, Ordering::SeqCst);
            async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        });
        let server = world.serve(builder).await;
        let forged = [
            "127.0.0.1:0",
            "0.0.0.0:7",
            "255.255.255.255:7",
            "224.0.0.1:7",
            "239.1.2.3:7",
            "[::]:7",
            "[ff02::1]:7",
            "[::1]:0",
            "[::ffff:0.0.0.0]:7",
            "[::ffff:255.255.255.255]:7",
            "[::ffff:224.0.0.1]:7",
            "[::ffff:127.0.0.1]:0",
        ];
        for source in forged {
            world.network.send_from(source.parse().unwrap(), b"forged", server.addr).unwrap();
        }
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("good").await, "good");
        let stats = server.handle.stats();
        assert_eq!(stats.dropped_source, forged.len() as u64);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        server.stop().await.unwrap();
    }

    async fn l6_a_datagram_that_an_ending_handler_left_is_not_asked_about_again(world: World) {
        let asked = Arc::new(AtomicUsize::new(0));
        let admit = |asked: &Arc<AtomicUsize>| {
            let asked = Arc::clone(asked);
            move |_: &Incoming<'_>| {
                asked.fetch_add(1, Ordering::SeqCst);
                true
            }
        };
        let refusing = raw_server(|_, _| async { Ok(()) }).admit(admit(&asked));
        let server = world.serve(refusing).await;
        let peer = world.peer(server.addr).await;
        for number in 1..=2 {
            peer.send("left").await;
            assert_eq!(server.settled(number).await.discarded, number);
        }
        assert_eq!(asked.swap(0, Ordering::SeqCst), 2);
        server.stop().await.unwrap();

        // It waits for the second in a receive, and leaves it to the next handler.
        let leaving = raw_server(|client, mut requests| async move {
            client.send(requests.recv().await?).await?;
            let mut next = pin!(requests.recv());
            begin(&mut next).await;
            pause().await;
            Ok(())
        });
        let server = world.serve(leaving.admit(admit(&asked))).await;
        let peer = world.peer(server.addr).await;
        for text in ["a", "b", "c"] {
            assert_eq!(peer.ask(text).await, text);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        server.stop().await.unwrap();
    }

    async fn l6_the_admission_check_is_asked_for_each_datagram_and_told_what_it_is(world: World) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let builder = raw_server(|client, mut requests| async move {
            // A conversation of two.
            client.send(requests.recv().await?).await?;
            client.send(requests.recv().await?).await?;
            Ok(())
        })
        .admit(move |incoming| {
            let (remote, local) = (incoming.remote_addr(), incoming.local_addr());
            let told = (remote, local, incoming.len(), incoming.has_handler());
            seen.lock().unwrap().push(told);
            true
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..2 {
            assert_eq!(peer.ask("first").await, "first");
            assert_eq!(peer.ask("second").await, "second");
        }
        let (peer, local) = (peer.addr(), Some(server.addr));
        let conversation = [(peer, local, 5, false), (peer, local, 6, true)];
        assert_eq!(*asked.lock().unwrap(), [conversation, conversation].concat());
        server.stop().await.unwrap();
    }

    async fn l6_what_is_refused_in_a_conversation_is_neither_received_nor_queued(world: World) {
        let gate = Arc::new(Notify::new());
        let builder = gated(&gate).admit(|incoming| !incoming.has_handler() || incoming.len() <= 3);
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("a long beginning").await, "a long beginning");
        // Its handler is busy, then it waits in a receive.
        peer.send("refused").await;
        server.stats_where(|stats| stats.dropped_refused == 1).await;
        peer.send("one").await;
        server.queued(1).await;
        gate.notify_one();
        assert_eq!(peer.recv_text().await, "one");
        peer.send("refused").await;
        assert_eq!(peer.ask("two").await, "two");
        assert_eq!(peer.ask("end").await, "end");
        let stats = server.settled(6).await;
        assert_eq!((stats.handed_out, stats.dropped_refused), (4, 2));
        server.stop().await.unwrap();
    }

    async fn l6_what_the_admission_check_sends_is_no_step_of_the_handler_before(world: World) {
        let first = Arc::new(Mutex::new(None::<Client<Bytes>>));
        let (keep, kept) = (Arc::clone(&first), first);
        let ready = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ready);
        let builder = raw_server(move |client, mut requests| {
            keep.lock().unwrap().get_or_insert(client.clone());
            async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        })
        .admit(move |_| {
            if let Some(client) = &*kept.lock().unwrap() {
                // More than one poll of a handler may send.
                for _ in 0..200 {
                    let mut sending = pin!(client.send(Bytes::from_static(b"news")));
                    let polled = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    count.fetch_add(usize::from(polled.is_ready()), Ordering::SeqCst);
                }
            }
            true
        });
        let server = world.serve(builder).await;
        assert_eq!(world.peer(server.addr).await.ask("one").await, "one");
        assert_eq!(world.peer(server.addr).await.ask("two").await, "two");
        assert_eq!(ready.load(Ordering::SeqCst), 200);
        server.stop().await.unwrap();
    }

    async fn l6_a_refused_datagram_is_counted_and_starts_nothing(world: World) {
        let runs = Arc::new(AtomicUsize::new(0));
        let started = Arc::clone(&runs);
        let banned = Arc::new(Mutex::new(None::<SocketAddr>));
        let ban = Arc::clone(&banned);
        let builder = raw_server(move |client, mut requests| {
            started.fetch_add(1, Ordering::SeqCst);
            async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        })
        .admit(move |incoming| Some(incoming.remote_addr()) != *ban.lock().unwrap());
        let server = world.serve(builder).await;
        let bad = world.peer(server.addr).await;
        let good = world.peer(server.addr).await;
        *banned.lock().unwrap() = Some(bad.addr());
        for _ in 0..3 {
            bad.send("let me in").await;
        }
        server.stats_where(|stats| stats.dropped_refused == 3).await;
        assert_eq!(good.ask("hello").await, "hello");
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert!(bad.is_quiet());
        server.stop().await.unwrap();
    }

    async fn l6_a_refusal_is_asked_before_the_bound_of_clients(world: World) {
        let limits = postbox_server::Limits::default().clients(1);
        let first = Mutex::new(true);
        let builder = gated(&Arc::default()).limits(limits);
        let builder = builder.admit(move |_| std::mem::take(&mut *first.lock().unwrap()));
        let server = world.serve(builder.grace(std::time::Duration::ZERO)).await;
        let (waiting, peer) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(waiting.ask("waits").await, "waits");
        peer.send("x").await;
        let stats = server.settled(2).await;
        assert_eq!((stats.dropped_refused, stats.dropped_clients_bound), (1, 0));
        server.stop().await.unwrap();
    }

    async fn l6_an_admission_check_that_panics_refuses_and_is_logged(world: World) {
        let calls = AtomicUsize::new(0);
        let builder = echo().admit(move |_| {
            assert!(calls.fetch_add(1, Ordering::SeqCst) > 0, "the list cannot be read");
            true
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        peer.send("x").await;
        let records = world.logs.wait_for(1).await;
        assert!(records[0].message.contains("the list cannot be read"), "{records:?}");
        assert!(records[0].fields.contains(&peer.addr().to_string()), "{records:?}");
        assert_eq!(peer.ask("again").await, "again");
        assert_eq!(server.handle.stats().dropped_refused, 1);
        server.stop().await.unwrap();
    }
}

paused! {
    async fn l6_panics_of_the_admission_check_are_logged_once_a_second_with_the_number_of_others(world: World) {
        let server = world.serve(echo().admit(|_| panic!("the list cannot be read"))).await;
        for round in 0..2 {
            // Each from another client: strangers choose how many they seem to be.
            for port in 1..=100 {
                let from = SocketAddr::from(([127, 0, 2, 1], port));
                world.network.send_from(from, b"x", server.addr).unwrap();
            }
            server.settled((round + 1) * 100).await;
            let records = world.logs.take();
            assert_eq!(records.len(), 1, "{records:#?}");
            assert_eq!(records[0].level, tracing::Level::ERROR);
            let suppressed = format!("suppressed={}", round * 99);
            assert!(records[0].fields.contains(&suppressed), "{records:?}");
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        assert_eq!(server.handle.stats().dropped_refused, 200);
        server.stop().await.unwrap();
        assert_eq!(world.logs.take()[0].message, "the admission check panicked: 99 more");
    }
}

/// How often a worker takes memory for 40 datagrams that it drops, each from another source.
fn dropping(
    server: &ServerHandle,
    network: &MemoryNetwork,
    runtime: &Runtime,
    source: fn(u8) -> ([u8; 4], u16),
) -> u64 {
    for number in 0..40 {
        let from = SocketAddr::from(source(number));
        network
            .send_from(from, b"let me in", server.addresses()[0])
            .unwrap();
    }
    let dropped = server.stats().dropped() + 40;
    let all = async {
        while server.stats().dropped() < dropped {
            tokio::task::yield_now().await;
        }
    };
    allocation_counter::measure(|| runtime.block_on(all)).count_total
}

/// Waits until the task is polled again, for whatever reason.
async fn pause() {
    let mut again = false;
    poll_fn(|_| match std::mem::replace(&mut again, true) {
        false => Poll::Pending,
        true => Poll::Ready(()),
    })
    .await;
}

#[test]
fn l6_a_refusal_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let network = MemoryNetwork::new();
    let builder = echo().admit(|_| false);
    let server = builder
        .bind_memory(&network, "127.0.0.1:0".parse().unwrap())
        .unwrap();
    let handle = server.handle();
    runtime.spawn(server.serve_forever());
    runtime.block_on(handle.started()).unwrap();
    // Port 0 may not be answered. From the second time on that takes what waiting for it takes.
    let mut waiting = 0;
    for _ in 0..2 {
        waiting = dropping(&handle, &network, &runtime, |number| {
            ([127, 0, 2, number], 0)
        });
    }
    assert_eq!(handle.stats().dropped_source, 80);
    let refusing = dropping(&handle, &network, &runtime, |number| {
        ([127, 0, 2, number], 7)
    });
    assert_eq!((handle.stats().dropped_refused, refusing), (40, waiting));
    assert!(waiting < 40, "{waiting}");
    runtime.block_on(handle.close());
}
