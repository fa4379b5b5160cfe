//! What the conditions do that need a clock; and what a server makes of them.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use postbox_server::{Conditions, Limits, RecvError};
use tokio::time::Instant;

use super::conditions::*;
use crate::common::*;
use crate::paused;

paused! {
    /// Neither early nor late, and what is there is there without being waited for.
    async fn a_delay_is_exact_on_a_paused_clock(_world: World) {
        let (network, a, b) = pair(Conditions::default().delay(ms(70)));
        let begin = Instant::now();
        send(&a, b.local_addr(), 2);
        assert_eq!((received(&b).len(), network.stats().in_flight), (0, 2));
        b.recv_from().await.unwrap();
        assert_eq!(begin.elapsed(), ms(70));
        b.recv_from().await.unwrap();
        assert_eq!(begin.elapsed(), ms(70));

        send(&a, b.local_addr(), 1);
        tokio::time::advance(ms(69)).await;
        assert!(b.try_recv_from().is_err());
        tokio::time::advance(ms(1)).await;
        assert_eq!(network.stats().delivered, 3);
        assert!(b.try_recv_from().is_ok());
    }

    async fn jitter_is_within_its_bounds_and_keeps_the_order(_world: World) {
        let (network, a, b) = pair(Conditions::default().delay(ms(10)).jitter(ms(40)));
        let begin = Instant::now();
        let mut took = Vec::new();
        for number in 0..200_u32 {
            let sent = Instant::now();
            send(&a, b.local_addr(), 1);
            b.recv_from().await.unwrap();
            took.push(sent.elapsed());
            a.send_to(&number.to_be_bytes(), b.local_addr()).unwrap();
            assert_eq!(b.recv_from().await.unwrap().0, number.to_be_bytes());
        }
        assert!(took.iter().all(|took| (ms(10)..=ms(50)).contains(took)));
        let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
        assert!(*least < ms(15) && *most > ms(45), "{least:?} to {most:?}");

        send(&a, b.local_addr(), 200);
        let all_sent = begin.elapsed();
        let mut numbers = Vec::new();
        for _ in 0..200 {
            numbers.push(number(b.recv_from().await.unwrap()));
        }
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
        assert!(begin.elapsed() - all_sent <= ms(50));
        assert_accounted(&network.stats());
    }

    /// Also where conditions change meanwhile: only `reorder` changes the order.
    async fn a_shorter_delay_overtakes_nothing_of_the_same_sender(_world: World) {
        let (network, a, b) = pair(Conditions::default().delay(ms(100)));
        let other = network.socket("127.0.0.1:0".parse().unwrap()).unwrap();
        a.send_to(b"first", b.local_addr()).unwrap();
        for shorter in [Conditions::default().delay(ms(10)), Conditions::default()] {
            network.set_conditions(shorter);
            a.send_to(b"second", b.local_addr()).unwrap();
        }
        other.send_to(b"other", b.local_addr()).unwrap();
        for expected in [&b"other"[..], b"first", b"second", b"second"] {
            assert_eq!(b.recv_from().await.unwrap().0, expected);
        }
    }

    async fn what_is_reordered_is_overtaken(_world: World) {
        let (network, a, b) = pair(Conditions::default().delay(ms(5)).reorder(0.1, ms(20)));
        let begin = Instant::now();
        send(&a, b.local_addr(), 1000);
        tokio::time::sleep(ms(5)).await;
        let in_order = received(&b);
        let reordered = network.stats().reordered;
        assert!((60..140).contains(&reordered));
        assert_eq!(in_order.len() as u64, 1000 - reordered);
        assert!(is_sorted_and_single(&in_order));
        let mut late = Vec::new();
        for _ in 0..reordered {
            late.push(number(b.recv_from().await.unwrap()));
        }
        assert_eq!(begin.elapsed(), ms(25));
        assert!(late.iter().all(|number| !in_order.contains(number)));
    }

    /// Also what was on its way when its address was let go of, and claimed again.
    async fn what_is_held_back_is_overtaken_whoever_has_its_address(_world: World) {
        let (network, a, b) = pair(Conditions::default().delay(ms(5)).reorder(1.0, ms(95)));
        let (to, begin) = (b.local_addr(), Instant::now());
        a.send_to(b"held back", to).unwrap();
        drop(b);
        let b = network.socket(to).unwrap();
        network.set_conditions(Conditions::default().delay(ms(5)));
        a.send_to(b"overtakes", to).unwrap();
        assert_eq!(b.recv_from().await.unwrap().0, b"overtakes");
        assert_eq!(begin.elapsed(), ms(5));
        assert_eq!(b.recv_from().await.unwrap().0, b"held back");
        assert_eq!(begin.elapsed(), ms(100));
    }

    /// Order holds between two addresses: of a sender to nobody, and to a server on a wildcard
    /// address.
    async fn a_slow_way_holds_up_no_other_way_of_the_same_sender(world: World) {
        let (network, a, b) = pair(Conditions::default().delay(ms(10)));
        let (slow, fast) = ("127.0.0.1:1".parse().unwrap(), b.local_addr());
        drop(b);
        network.set_conditions_between(a.local_addr(), slow, Conditions::default().delay(ms(100)));
        let begin = Instant::now();
        a.send_to(b"slow", slow).unwrap();
        a.send_to(b"fast", fast).unwrap();
        let b = network.socket(fast).unwrap();
        b.recv_from().await.unwrap();
        assert_eq!(begin.elapsed(), ms(10));

        let server = world.bind_to(echo(), "0.0.0.0:0".parse().unwrap()).await;
        let server = TestServer::start(server).await;
        let [slow, fast] = [2, 1].map(|last| SocketAddr::from(([127, 0, 0, last], server.addr.port())));
        let peer = world.peer(fast).await;
        let conditions = Conditions::default().delay(ms(100));
        world.network.set_conditions_between(peer.addr(), slow, conditions);
        let begin = Instant::now();
        peer.send_to("slow", slow).await;
        assert_eq!(peer.ask("fast").await, "fast");
        assert_eq!(begin.elapsed(), ms(0));
        server.stop().await.unwrap();
    }

    /// An earlier one wakes who waits for a later one.
    async fn a_receiver_that_waits_is_woken_by_whatever_arrives_first(_world: World) {
        let (network, a, b) = pair(Conditions::default().delay(ms(100)));
        let (to, begin) = (b.local_addr(), Instant::now());
        let receiving = tokio::spawn(async move { b.recv_from().await.unwrap().0 });
        a.send_to(b"slow", to).unwrap();
        tokio::time::sleep(ms(10)).await;
        network.set_conditions(Conditions::default().delay(ms(5)));
        network.send_from("127.0.0.1:9".parse().unwrap(), b"fast", to).unwrap();
        assert_eq!(receiving.await.unwrap(), b"fast");
        assert_eq!(begin.elapsed(), ms(15));
    }

    /// Several who wait share what arrives; one that goes takes nothing with it.
    async fn h8_a_dropped_receive_loses_no_datagram_that_is_on_its_way(_world: World) {
        let (_network, a, b) = pair(Conditions::default().delay(ms(10)));
        send(&a, b.local_addr(), 2);
        {
            let mut dropped = Box::pin(b.recv_from());
            assert!(poll_once(&mut dropped).await.is_pending());
        }
        let (one, two) = tokio::join!(b.recv_from(), b.recv_from());
        let mut both = [one.unwrap().0, two.unwrap().0]; // `join!` begins with either
        both.sort();
        assert_eq!(both, [[0; 4], [0, 0, 0, 1]]);
    }

    /// What counts is who has the address when it arrives.
    async fn a_datagram_arrives_at_whoever_has_the_address_then(_world: World) {
        let (network, a, b) = pair(Conditions::default().delay(ms(100)));
        let to = b.local_addr();
        let send_at = |text: &str| a.send_to(text.as_bytes(), to).unwrap();
        send_at("before");
        tokio::time::sleep(ms(100)).await; // it has arrived, and was not read
        send_at("gone");
        drop(b);
        assert_eq!(network.stats().in_flight, 1);
        tokio::time::sleep(ms(60)).await;
        send_at("in time");
        tokio::time::sleep(ms(40)).await; // nobody was there
        let b = network.socket(to).unwrap();
        assert_eq!(network.stats().unreachable, 1);
        assert_eq!(b.recv_from().await.unwrap().0, b"in time");
        let stats = network.stats();
        assert_eq!((stats.delivered, stats.in_flight), (2, 0));
        assert_accounted(&stats);
    }

    async fn l1_what_is_on_its_way_is_bounded(_world: World) {
        let (network, a, b) = pair(Conditions::default().delay(ms(100)));
        send(&a, b.local_addr(), 20_000);
        send(&a, "127.0.0.1:9".parse().unwrap(), 20_000); // to nobody
        let stats = network.stats();
        assert_eq!((stats.in_flight, stats.overflowed), (2 * 16_384, 2 * 3_616));
        assert_accounted(&stats);
        drop(b); // now all of it is to nobody
        let stats = network.stats();
        assert_eq!((stats.in_flight, stats.overflowed), (16_384, 2 * 3_616 + 16_384));
        assert_accounted(&stats);
    }

    async fn a_delayed_datagram_is_answered_at_its_time(world: World) {
        let network = &world.network;
        network.set_conditions(Conditions::default().delay(ms(30)));
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        let begin = Instant::now();
        for round in 1..=3 {
            assert_eq!(peer.ask("hello").await, "hello");
            assert_eq!(begin.elapsed(), ms(60) * round);
        }
        server.stop().await.unwrap();
        assert_accounted(&network.stats());
    }

    /// It arrived while nobody served, and the first serving that comes handles it.
    async fn v3_what_arrives_between_servings_is_handled_first(world: World) {
        world.network.set_conditions(Conditions::default().delay(ms(30)));
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        peer.send("hello").await;
        server.handle.shutdown().await;
        server.serving.await.unwrap().unwrap();
        tokio::time::sleep(ms(1000)).await;
        assert_eq!(world.network.stats().delivered, 1);
        let begin = Instant::now();
        let serving = tokio::spawn(server.server.serve_forever());
        assert_eq!(peer.recv_text().await, "hello");
        assert_eq!(begin.elapsed(), ms(30), "only the way back");
        server.handle.shutdown().await;
        serving.await.unwrap().unwrap();
    }

    async fn l4_a_datagram_that_is_cut_short_on_the_way_is_told_as_truncated(world: World) {
        world.network.set_conditions(Conditions::default().truncate(1.0));
        let (told, mut was_told) = tokio::sync::mpsc::unbounded_channel();
        let server = world.serve(raw_server(move |_client, mut requests| {
            let told = told.clone();
            async move {
                if let Err(RecvError::Truncated { received }) = requests.recv().await {
                    told.send(received).unwrap();
                }
                Ok(())
            }
        }).limits(Limits::default().receive_datagram(1000))).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..10 {
            peer.send([1; 100]).await;
            assert!(was_told.recv().await.unwrap() < 100);
        }
        assert_eq!(server.handle.stats().truncated, 10);
        server.stop().await.unwrap();
    }
}

/// With a clock that runs, and more threads than one.
#[test]
fn a_delay_is_never_early_on_a_running_clock() {
    run(Kind::Memory, Rt::Multi, |world: World| async move {
        world
            .network
            .set_conditions(Conditions::default().delay(ms(20)).jitter(ms(10)));
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        let begin = std::time::Instant::now();
        assert_eq!(peer.ask("hello").await, "hello");
        assert!(begin.elapsed() >= ms(40));
        server.stop().await.unwrap();
    });
}

#[test]
fn waiting_for_a_delayed_datagram_outside_of_a_runtime_panics() {
    let (_network, a, b) = pair(Conditions::default().delay(ms(1)));
    send(&a, b.local_addr(), 1);
    let receive = AssertUnwindSafe(|| block_on(b.recv_from()));
    assert!(catch_unwind(receive).is_err());
}
