//! H11: each kind of line has a limit, and what was left out is told too.

use std::sync::Arc;
use std::time::Duration;

use postbox_server::inherit_context;
use tracing::Level;

use super::{BOMB, Bomb, number, obedient, told};
use crate::common::*;
use crate::{contract, paused};

/// What clients can tell handlers to do, and how the log begins to tell it.
const KINDS: [(&str, Level, &str); 9] = [
    ("fail", Level::ERROR, "handler failed"),
    ("fault", Level::WARN, "bad request"),
    ("bad", Level::WARN, "bad datagram"),
    (
        "perhaps bad",
        Level::ERROR,
        "handler failed at a parse error",
    ),
    ("silent", Level::WARN, "client fell silent"),
    ("crash", Level::ERROR, "protocol crashed"),
    ("panic", Level::ERROR, "handler panicked"),
    ("drop", Level::ERROR, "handler panicked when dropped"),
    (
        "variable",
        Level::ERROR,
        "a context variable panicked when dropped",
    ),
];

paused! {
    /// However many there are, of each kind the first is told at once, and hides no other.
    async fn h11_each_kind_is_told_once_a_second_with_the_number_of_others(world: World) {
        let server = world.serve(obedient()).await;
        let peer = world.peer(server.addr).await;
        let mut sent = 0;
        for (text, level, begins) in KINDS {
            for _ in 0..10 {
                for _ in 0..100 {
                    peer.send(text).await;
                }
                sent += 100;
                server.settled(sent).await;
            }
            let records = world.logs.take();
            assert_eq!(records.len(), 1, "{records:#?}");
            assert_eq!(records[0].level, level);
            assert!(records[0].message.starts_with(&format!("{begins}: ")), "{records:?}");
            let fields = format!("client={} suppressed=0 ", peer.addr());
            assert_eq!(records[0].fields, fields);
        }
        // The next of its kind says how many were left out before it.
        tokio::time::sleep(Duration::from_millis(1_001)).await;
        for (text, level, begins) in KINDS {
            peer.send(text).await;
            sent += 1;
            server.settled(sent).await;
            let records = world.logs.take();
            assert_eq!(records.len(), 1, "{records:#?}");
            assert_eq!((records[0].level, number(&records[0], "suppressed")), (level, 999));
            assert!(!records[0].message.ends_with("more") && records[0].message.starts_with(begins));
        }
        server.stop().await.unwrap();
    }

    async fn h11_when_no_more_come_what_was_left_out_is_told_within_two_seconds(world: World) {
        let server = world.serve(obedient()).await;
        let (first, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
        let mut sent = 0;
        for (text, ..) in KINDS {
            first.send(text).await;
            for _ in 0..7 {
                other.send(text).await;
            }
            sent += 8;
            server.settled(sent).await;
        }
        assert_eq!(world.logs.take().len(), KINDS.len());
        tokio::time::sleep(Duration::from_millis(2_001)).await;
        let mut records = world.logs.take();
        assert_eq!(records.len(), KINDS.len(), "{records:#?}");
        for (_, level, begins) in KINDS {
            let message = format!("{begins}: 7 more");
            let at = records.iter().position(|record| record.message == message);
            let record = records.swap_remove(at.unwrap_or_else(|| panic!("{message}")));
            let fields = format!("client={} suppressed=7 ", other.addr());
            assert_eq!((record.level, record.fields), (level, fields));
        }
        // That is all, also when serving ends; and it counts as a line.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(world.logs.take(), []);
        server.stop().await.unwrap();
    }

    async fn h11_a_line_of_what_was_left_out_counts_as_the_line_of_its_second(world: World) {
        let server = world.serve(obedient()).await;
        let peer = world.peer(server.addr).await;
        for sent in 1..=2 {
            peer.send("fail").await;
            server.settled(sent).await;
        }
        tokio::time::sleep(Duration::from_millis(2_001)).await;
        assert_eq!(world.logs.take().len(), 2);
        peer.send("fail").await;
        server.settled(3).await;
        assert_eq!(world.logs.take(), []);
        server.stop().await.unwrap();
        assert_eq!(world.logs.take()[0].message, "handler failed: 1 more");
    }

    async fn h11_a_flood_is_a_line_a_second_which_tells_an_error_and_how_many(world: World) {
        let server = world.serve(obedient()).await;
        let peer = world.peer(server.addr).await;
        let mut records = Vec::new();
        for round in 1..=100 {
            for _ in 0..30 {
                peer.send("fail").await;
            }
            server.settled(round * 30).await;
            records.extend(world.logs.take());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!((10..=11).contains(&records.len()), "{records:#?}");
        assert!(records.iter().all(|record| record.message == "handler failed: told to"));
        server.stop().await.unwrap();
        records.extend(world.logs.take());
        assert_eq!(told(&records), 3000);
    }

    async fn h11_values_that_spawned_tasks_inherit_are_told_with_a_limit_too(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let request = requests.recv().await?;
                BOMB.set(Arc::new(Bomb));
                tokio::spawn(inherit_context(async {
                    tokio::task::yield_now().await; // the handler has ended
                }));
                client.send(request).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        for _ in 0..100 {
            assert_eq!(peer.ask("x").await, "x");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let records = world.logs.take();
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_eq!(records[0].message, "a context variable panicked when dropped: it blew up");
        assert_eq!(records[0].fields, "suppressed=0 ");
        server.stop().await.unwrap();
    }
}

contract! {
    async fn h11_what_was_left_out_is_told_when_serving_ends(world: World) {
        let server = world.serve(obedient()).await;
        let peer = world.peer(server.addr).await;
        let mut sent = 0;
        for (text, ..) in KINDS {
            for _ in 0..5 {
                peer.send(text).await;
            }
            sent += 5;
            server.settled(sent).await;
        }
        server.stop().await.unwrap();
        let records = world.logs.take();
        for (_, level, begins) in KINDS {
            let of_kind = |record: &&Record| {
                record.level == level && record.message.starts_with(&format!("{begins}: "))
            };
            let records: Vec<_> = records.iter().filter(of_kind).cloned().collect();
            assert_eq!(told(&records), 5, "{records:#?}");
        }
    }

    async fn h11_what_was_left_out_is_told_when_the_serving_future_is_dropped(world: World) {
        let server = world.serve(obedient()).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..5 {
            peer.send("fail").await;
        }
        server.settled(5).await;
        server.serving.abort();
        server.handle.shutdown().await;
        assert_eq!(told(&world.logs.take()), 5);
    }

    on memory;
    async fn h11_what_was_left_out_is_told_when_the_worker_dies(world: World) {
        let server = world.serve(obedient()).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..5 {
            peer.send("fail").await;
        }
        server.settled(5).await;
        world.network.panic_at_receive(server.addr);
        peer.send("x").await;
        assert!(server.serving.await.unwrap().is_err());
        assert_eq!(told(&world.logs.take()), 5);
    }

    // The limit is each worker's own.
    async fn h11_several_workers_tell_each_of_their_own(world: World) {
        let server = world.serve(obedient().workers(2)).await;
        for sent in 1..=32 {
            world.peer(server.addr).await.send("fail").await;
            server.settled(sent).await;
        }
        server.stop().await.unwrap();
        let records = world.logs.take();
        assert!(records.len() >= 4, "{records:#?}");
        assert_eq!(told(&records), 32);
    }
}
