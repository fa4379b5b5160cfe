//! Failed receives.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::common::*;
use crate::{contract, paused};

contract! {
    on memory;
    async fn v7_a_receive_error_of_whatever_kind_does_not_end_serving(world: World) {
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        let errors: [fn() -> io::Error; 5] = [
            || io::Error::from_raw_os_error(libc::EMSGSIZE),
            || io::ErrorKind::ConnectionReset.into(),
            || io::Error::from_raw_os_error(libc::ENOBUFS),
            || io::ErrorKind::NotConnected.into(),
            || io::Error::other("unheard of"),
        ];
        for (count, error) in (1..).zip(errors) {
            world.network.fail_receives(server.addr, 1, error);
            assert_eq!(peer.ask("goes on").await, "goes on");
            assert_eq!(server.handle.stats().receive_errors, count);
        }
        assert_eq!(server.handle.stats().received, 5);
        assert!(server.handle.is_serving());
        let records = world.logs.take();
        assert!(!records.is_empty());
        server.stop().await.unwrap();
        world.logs.take();
    }

    on memory;
    async fn v7_each_worker_goes_on(world: World) {
        let server = world.serve(echo().workers(2)).await;
        world.network.fail_receives(server.addr, 3, || io::ErrorKind::OutOfMemory.into());
        for _ in 0..8 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("goes on").await, "goes on");
        }
        server.stats_where(|stats| stats.receive_errors == 3).await;
        server.stop().await.unwrap();
        world.logs.take();
    }
}

/// When receives failed. Faults are made by plain functions, which capture nothing.
static FAILED: Mutex<Vec<Instant>> = Mutex::new(Vec::new());

fn fails() -> io::Error {
    FAILED.lock().unwrap().push(Instant::now());
    io::ErrorKind::OutOfMemory.into()
}

/// The pauses before each failure but the first, in milliseconds.
fn pauses() -> Vec<u128> {
    let failed = std::mem::take(&mut *FAILED.lock().unwrap());
    failed
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect()
}

paused! {
    /// One test for all pauses, since they share what they record.
    async fn v7_repeated_receive_errors_are_retried_with_a_growing_pause(world: World) {
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;

        // A single error, and two with a datagram between them, cost no time.
        let begin = Instant::now();
        for _ in 0..2 {
            world.network.fail_receives(server.addr, 1, fails);
            assert_eq!(peer.ask("x").await, "x");
        }
        assert_eq!((begin.elapsed(), pauses()), (Duration::ZERO, vec![0]));

        // The first repetition comes at once, and is paused after; up to 640 milliseconds.
        world.network.fail_receives(server.addr, 11, fails);
        peer.send("after the last pause").await;
        let begin = Instant::now();
        server.stats_where_time_passes(|stats| stats.received == 3).await;
        assert_eq!(pauses(), [0, 10, 20, 40, 80, 160, 320, 640, 640, 640]);
        assert_eq!(begin.elapsed().as_millis(), 10 + 20 + 40 + 80 + 160 + 320 + 4 * 640);
        assert_eq!(peer.recv_text().await, "after the last pause");

        // A datagram ends the pauses, and so does time.
        world.network.fail_receives(server.addr, 1, fails);
        assert_eq!(peer.ask("x").await, "x");
        world.network.fail_receives(server.addr, 1, fails);
        server.stats_where_time_passes(|stats| stats.receive_errors == 15).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        pauses();
        world.network.fail_receives(server.addr, 1, fails);
        let begin = Instant::now();
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(begin.elapsed(), Duration::ZERO);
        server.stop().await.unwrap();
        world.logs.take();
    }

    /// As ICMP errors do on a socket that its user has connected.
    async fn v7_errors_that_come_one_by_one_hold_up_nothing(world: World) {
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        let begin = Instant::now();
        for count in 1..=20 {
            // After each of them the socket works: it tells that nothing is there.
            world.network.fail_receives(server.addr, 1, || io::ErrorKind::HostUnreachable.into());
            server.stats_where(|stats| stats.receive_errors == count).await;
        }
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(begin.elapsed(), Duration::ZERO);
        world.logs.take();
        server.stop().await.unwrap();
        world.logs.take(); // what was left out
    }

    async fn v7_receive_errors_are_logged_once_a_second_with_the_number_of_others(world: World) {
        let server = world.serve(echo()).await;
        let error = || io::Error::other("it failed");
        // 0, 0, 10, 30, 70, 150, 310, 630 and 1270 milliseconds after the first.
        world.network.fail_receives(server.addr, 9, error);
        server.stats_where_time_passes(|stats| stats.receive_errors == 9).await;
        let records = world.logs.take();
        assert_eq!(records.len(), 2, "{records:#?}");
        for (record, suppressed) in records.iter().zip([0, 7]) {
            assert_eq!(record.level, tracing::Level::WARN);
            assert!(record.message.contains("it failed"), "{record:?}");
            assert!(record.fields.contains(&format!("suppressed={suppressed}")), "{record:?}");
            assert!(record.fields.contains(&server.addr.to_string()), "{record:?}");
        }
        server.stop().await.unwrap();
    }

    async fn v7_the_other_handlers_go_on_during_a_pause(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
                client.send("awake".into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("sleeps").await, "sleeps");
        let begin = Instant::now();
        world.network.fail_receives(server.addr, 1_000, || io::ErrorKind::OutOfMemory.into());
        assert_eq!(peer.recv_text().await, "awake");
        assert_eq!(begin.elapsed().as_millis(), 100);
        server.stop().await.unwrap();
        world.logs.take();
    }
}
