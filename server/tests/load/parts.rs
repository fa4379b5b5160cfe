//! L6: admission checks of several parts, their refusals, and how they are replaced.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbox_server::{
    Admission, Incoming, Limits, Networks, RatePerPrefix, Refused, ServerBuilder, ServerHandle,
};

use crate::common::*;
use crate::{contract, paused};

/// Admits what is not longer.
fn at_most(len: usize) -> impl Admission + Clone {
    move |incoming: &Incoming<'_>| incoming.len() <= len
}

/// Conversations without end.
fn conversations() -> ServerBuilder {
    raw_server(|client, mut requests| async move {
        loop {
            client.send(requests.recv().await?).await?;
        }
    })
}

/// The names, and how often each refused.
fn refusals(handle: &ServerHandle) -> String {
    let told = handle.refusals();
    let sum: u64 = told.iter().map(|(_, count)| count).sum();
    assert_eq!(sum, handle.stats().dropped_refused);
    let each = told.iter().map(|(part, count)| format!("{part} {count}"));
    each.collect::<Vec<_>>().join(", ")
}

/// A check that says when it is gone, rudely.
struct Rude(Arc<Mutex<u32>>);

impl Admission for Rude {
    fn admit(&self, _: &Incoming<'_>) -> Result<(), Refused> {
        Err(Refused::by("rude"))
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += 1;
        panic!("no manners");
    }
}

contract! {
    async fn l6_all_parts_have_to_admit_and_the_first_that_refuses_is_counted(world: World) {
        let local = Networks::new().allow(["127.0.0.0/8".parse().unwrap()]);
        let nobody = Networks::new().deny(["0.0.0.0/0".parse().unwrap()]).named("never asked");
        let list: Vec<Arc<dyn Admission>> = vec![
            Arc::new(at_most(9)),
            Arc::new(local.and(at_most(6).named("six"))),
            Arc::new(at_most(3).named("three")),
        ];
        let first = at_most(12).named("twelve");
        let refused_by_all = at_most(0).named("also never asked").and(nobody);
        let some = |incoming: &Incoming<'_>| incoming.len() < 100;
        let server = world.serve(echo().admission(first.and(list).and(some))).await;
        let peer = world.peer(server.addr).await;
        for len in [12, 13, 9, 7, 6, 4, 4, 3] {
            peer.send("x".repeat(len)).await;
        }
        assert_eq!(peer.recv_text().await, "xxx");
        assert_eq!(refusals(&server.handle), "check 1, six 2, three 3, twelve 1");
        server.handle.set_admission(Some(Arc::new(refused_by_all)));
        peer.send("x").await;
        server.settled(9).await;
        assert_eq!(refusals(&server.handle), "also never asked 1, check 1, six 2, three 3, twelve 1");
        server.stop().await.unwrap();
    }

    async fn l6_networks_are_refused_as_such(world: World) {
        let networks = Networks::new().deny(["127.0.0.1/32".parse().unwrap()]);
        let server = world.serve(echo().admission(networks)).await;
        let peer = world.peer(server.addr).await;
        peer.send("let me in").await;
        server.settled(1).await;
        assert_eq!(refusals(&server.handle), "networks 1");
        if cfg!(target_os = "linux") {
            let other = world.peer_at("127.0.0.2:0".parse().unwrap(), server.addr).await;
            assert_eq!(other.ask("hello").await, "hello");
        }
        server.stop().await.unwrap();
    }

    async fn l6_the_check_is_replaced_while_the_server_serves(world: World) {
        let server = world.serve(conversations().workers(2).admission(at_most(9))).await;
        let peer = world.peer(server.addr).await;
        // Its own workers', whoever they are: enough of them to reach both.
        let mut others = Vec::new();
        for _ in 0..10 {
            let other = world.peer(server.addr).await;
            assert_eq!(other.ask("hello").await, "hello");
            others.push(other);
        }
        assert_eq!(peer.ask("a").await, "a");
        server.handle.set_admission(Some(Arc::new(at_most(0))));
        for other in others.iter().chain([&peer]) {
            other.send("refused").await;
        }
        let stats = server.settled(22).await;
        assert_eq!((stats.handed_out, stats.dropped_refused), (11, 11));
        server.handle.set_admission(None);
        for other in others.iter().chain([&peer]) {
            assert_eq!(other.ask("as long as it likes").await, "as long as it likes");
        }
        // The same name goes on, and others with it.
        let check = at_most(9).and(at_most(3).named("three"));
        server.handle.set_admission(Some(Arc::new(check)));
        peer.send("0123456789").await;
        peer.send("0123").await;
        assert_eq!(peer.ask("012").await, "012");
        assert_eq!(refusals(&server.handle), "check 12, three 1");
        server.handle.shutdown().await;
    }

    async fn l6_a_check_that_is_set_while_nothing_serves_holds_from_the_beginning(world: World) {
        let server = world.bind_alone(echo().admission(at_most(1))).await;
        let handle = server.handle();
        handle.set_admission(Some(Arc::new(at_most(2))));
        let mut server = TestServer::start(server).await;
        for _ in 0..2 {
            let peer = world.peer_at(world.alone(), server.addr).await;
            peer.send("123").await;
            assert_eq!(peer.ask("12").await, "12");
            handle.shutdown().await;
            server.serving.await.unwrap().unwrap();
            // It holds for the next serving too.
            server.serving = tokio::spawn(server.server.serve_forever());
            handle.started().await.unwrap();
        }
        assert_eq!(refusals(&handle), "check 2");
        server.stop().await.unwrap();
    }

    async fn l6_a_former_check_is_dropped_and_what_it_does_then_ends_no_worker(world: World) {
        let dropped = Arc::new(Mutex::new(0));
        let server = world.serve(echo().admission(Rude(Arc::clone(&dropped)))).await;
        let peer = world.peer(server.addr).await;
        peer.send("refused").await;
        server.settled(1).await;
        server.handle.set_admission(None);
        assert_eq!(peer.ask("hello").await, "hello");
        assert_eq!(*dropped.lock().unwrap(), 1);
        let records = world.logs.wait_for(1).await;
        assert!(records[0].message.contains("no manners"), "{records:?}");
        assert_eq!(refusals(&server.handle), "rude 1");
        server.stop().await.unwrap();
    }

    /// The worker is the last that holds it.
    async fn l6_a_former_check_after_which_nothing_came_ends_no_serving(world: World) {
        let dropped = Arc::new(Mutex::new(0));
        let server = world.serve(echo().admission(Rude(Arc::clone(&dropped)))).await;
        server.handle.set_admission(None);
        server.stop().await.unwrap();
        assert_eq!(*dropped.lock().unwrap(), 1);
        let records = world.logs.wait_for(1).await;
        assert!(records[0].message.contains("no manners"), "{records:?}");
    }

    async fn l6_a_log_that_panics_when_it_is_told_of_a_former_check_ends_nothing(world: World) {
        let dropped = Arc::new(Mutex::new(0));
        let server = world.serve(echo().admission(Rude(Arc::clone(&dropped)))).await;
        let peer = world.peer(server.addr).await;
        world.logs.hook(|| panic!("in the log"));
        server.handle.set_admission(None);
        assert_eq!(peer.ask("hello").await, "hello");
        server.handle.set_admission(Some(Arc::new(Rude(Arc::clone(&dropped)))));
        peer.send("refused").await;
        server.settled(2).await;
        server.handle.set_admission(None);
        server.stop().await.unwrap();
        assert_eq!(*dropped.lock().unwrap(), 2);
        world.logs.hook(|| {});
        assert_eq!(world.logs.take().len(), 2);
    }

    async fn l6_a_check_that_panics_counts_as_that(world: World) {
        let check = at_most(3).and(|_: &Incoming<'_>| -> bool { panic!("the list cannot be read") });
        let server = world.serve(echo().admission(check)).await;
        let peer = world.peer(server.addr).await;
        peer.send("abcd").await;
        peer.send("abc").await;
        server.settled(2).await;
        assert_eq!(refusals(&server.handle), "check 1, panicked 1");
        assert_eq!(world.logs.wait_for(1).await.len(), 1);
        server.stop().await.unwrap();
    }

    async fn l1_clients_of_one_prefix_that_wait_are_bounded(world: World) {
        let limits = Limits::default().clients_per_prefix(2);
        let server = world.serve(conversations().limits(limits)).await;
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(first.ask("1").await, "1");
        assert_eq!(second.ask("2").await, "2");
        let third = world.peer(server.addr).await;
        third.send("3").await;
        let stats = server.stats_where(|stats| stats.dropped_prefix_bound == 1).await;
        assert_eq!((stats.waiting_clients, stats.dropped(), stats.accounted()), (2, 1, 3));
        if cfg!(target_os = "linux") {
            let elsewhere = world.peer_at("127.0.1.1:0".parse().unwrap(), server.addr).await;
            assert_eq!(elsewhere.ask("4").await, "4");
        }
        assert_eq!(first.ask("again").await, "again");
        server.handle.shutdown().await;
        let stats = server.handle.stats();
        assert_eq!((stats.received, stats.waiting_clients), (stats.accounted(), 0));
    }
}

paused! {
    async fn l6_a_prefix_has_its_rate_in_answers_and_in_conversations(world: World) {
        for builder in [echo(), conversations()] {
            let rate = RatePerPrefix::new(10, 3).ipv4_prefix(24);
            let server = world.serve(builder.admission(rate)).await;
            let mut sent = 0;
            let mut from = |prefix: u8, count: u8| {
                for host in 0..count {
                    let source = SocketAddr::from(([198, 51, prefix, host % 2], 7));
                    world.network.send_from(source, b"x", server.addr).unwrap();
                }
                sent += u64::from(count);
                sent
            };
            from(1, 5);
            let stats = server.settled(from(2, 4)).await;
            assert_eq!((stats.handed_out, stats.dropped_refused), (6, 3));
            tokio::time::sleep(Duration::from_millis(99)).await;
            let stats = server.settled(from(1, 5)).await;
            assert_eq!((stats.handed_out, stats.dropped_refused), (6, 8));
            tokio::time::sleep(Duration::from_millis(2)).await;
            let stats = server.settled(from(1, 5)).await;
            assert_eq!((stats.handed_out, stats.dropped_refused), (7, 12));
            tokio::time::sleep(Duration::from_secs(10)).await;
            let stats = server.settled(from(1, 5)).await;
            assert_eq!((stats.handed_out, stats.dropped_refused), (10, 14));
            assert_eq!(refusals(&server.handle), "rate 14");
            server.handle.shutdown().await;
        }
        world.logs.take();
    }

    async fn l6_one_rate_holds_for_all_servers_that_share_it(world: World) {
        let rate = Arc::new(RatePerPrefix::new(1, 4).ipv4_prefix(0));
        let mut sum = 0;
        for count in [3, 3] {
            let server = world.serve(echo().workers(3).admission(Arc::clone(&rate))).await;
            for port in 1..=count {
                let source = SocketAddr::from(([198, 51, 100, 7], port));
                world.network.send_from(source, b"x", server.addr).unwrap();
            }
            sum += server.settled(count.into()).await.handed_out;
            server.stop().await.unwrap();
        }
        assert_eq!(sum, 4);
    }
}
