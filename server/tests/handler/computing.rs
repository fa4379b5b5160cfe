//! H7 where a handler computes: the clock goes on in the middle of a turn, and a deadline counts
//! from when its own receive began.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{Limits, RecvError};
use tokio::time::{Instant, advance, sleep};

use super::deadlines::{after_the_first, assert_timed_out, ms};
use crate::common::*;
use crate::paused;

/// Lets time pass within this very poll, as a handler does that computes.
fn compute(time: Duration) {
    let mut passes = pin!(advance(time));
    let polled = passes
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "it pauses, when time has passed");
}

/// Begins a receive as another task would, and lets it wait: for ever, or until it is dropped.
fn wait_elsewhere<F: Future<Output = Result<Bytes, RecvError>>>(receive: &mut Pin<&mut F>) {
    let polled = receive
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

#[test]
fn h7_a_deadline_counts_from_its_receive_however_long_its_handler_computed_before() {
    after_the_first(|_, mut requests| async move {
        for millis in [1, 20, 300] {
            for computes in [ms(1), ms(50), ms(5_000)] {
                compute(computes);
                let begin = Instant::now();
                let result = requests.recv_timeout(ms(millis)).await;
                assert_timed_out(&result, begin, ms(millis));
            }
        }
    });
}

#[test]
fn h7_a_deadline_of_a_receive_elsewhere_counts_from_there_too() {
    after_the_first(|_, mut requests| async move {
        for millis in [1, 20, 300] {
            compute(ms(50));
            let begin = Instant::now();
            let result = Member::new(requests.recv_timeout(ms(millis))).ready().await;
            assert_timed_out(&result, begin, ms(millis));
        }
    });
}

paused! {
    async fn h7_the_idle_limit_counts_from_its_receive_however_long_the_handler_computed(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            client.send(requests.recv().await?).await?;
            compute(ms(5_000));
            let begin = Instant::now();
            assert_timed_out(&requests.recv().await, begin, ms(100));
            client.send("in time".into()).await?;
            Ok(())
        });
        let limits = Limits::default().idle(Some(ms(100)));
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(peer.recv_text().await, "in time");
        server.stop().await.unwrap();
    }

    /// Their datagrams come in one batch: the clock that the second moves on is the first's too.
    async fn h7_a_deadline_is_not_early_where_another_handler_computed_in_the_same_turn(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            let computes = requests.recv().await? == "computes";
            if computes {
                compute(ms(500));
            }
            let begin = Instant::now();
            let result = requests.recv_timeout(ms(20)).await;
            assert!(matches!(result, Err(RecvError::TimedOut)), "{result:?}");
            // Late by that turn, at most.
            let (took, turn) = (begin.elapsed(), ms(if computes { 0 } else { 500 }));
            assert!(took >= ms(20) && took <= ms(22) + turn, "{took:?}");
            client.send("in time".into()).await?;
            Ok(())
        });
        let server = world.serve(builder).await;
        let peers = [world.peer(server.addr).await, world.peer(server.addr).await];
        for order in [["waits", "computes"], ["computes", "waits"]] {
            for (peer, what) in peers.iter().zip(order) {
                peer.send(what).await;
            }
            for peer in &peers {
                assert_eq!(peer.recv_text().await, "in time");
            }
        }
        server.stop().await.unwrap();
    }

    /// Both runs have the same place, and each has begun one receive elsewhere. What is said of the
    /// first run's comes when that run has ended.
    async fn h7_the_deadline_of_a_run_that_has_ended_is_not_its_successors(world: World) {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&kept);
        let builder = raw_server(move |client, mut requests| {
            let keep = Arc::clone(&keep);
            async move {
                if requests.recv().await? == "ends" {
                    // Kept, as by a task that somebody forgot.
                    let mut receive = Box::pin(async move { requests.recv_timeout(ms(10)).await });
                    wait_elsewhere(&mut receive.as_mut());
                    keep.lock().unwrap().push(receive);
                    return Ok(());
                }
                client.send(Member::new(requests.recv_timeout(Duration::MAX)).ready().await?).await?;
                Ok(())
            }
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        // In one batch, so that the second run is there before the worker reads its mail.
        peer.send("ends").await;
        peer.send("stays").await;
        sleep(ms(1_000)).await;
        assert_eq!(server.handle.stats().handlers_returned, 1);
        assert_eq!(peer.ask("much later").await, "much later");
        drop(kept.lock().unwrap().drain(..));
        server.stop().await.unwrap();
    }
}

#[test]
fn h7_the_deadline_of_a_receive_that_was_dropped_is_not_the_next_ones() {
    after_the_first(|_, mut requests| async move {
        // What is said of the dropped one is read only when the handler's own waits.
        wait_elsewhere(&mut pin!(requests.recv_timeout(ms(10))));
        let begin = Instant::now();
        assert_timed_out(&requests.recv_timeout(ms(100)).await, begin, ms(100));

        wait_elsewhere(&mut pin!(requests.recv_timeout(ms(10))));
        let begin = Instant::now();
        let result = Member::new(requests.recv_timeout(ms(100))).ready().await;
        assert_timed_out(&result, begin, ms(100));

        wait_elsewhere(&mut pin!(requests.recv_timeout(ms(10))));
        let mut endless = requests.recv_timeout(Duration::MAX);
        assert!(poll_once(&mut endless).await.is_pending());
        sleep(ms(1_000)).await;
        assert!(matches!(poll_once(&mut endless).await, Poll::Pending));
    });
}
