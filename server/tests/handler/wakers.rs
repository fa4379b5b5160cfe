//! H7 whoever polls the receive: other wakers than the handler's own, other tasks.

use std::time::Duration;

use tokio::time::{Instant, interval, sleep};

use super::deadlines::{after_the_first, assert_timed_out, ms};
use crate::common::*;

#[test]
fn h7_a_deadline_works_among_futures_with_wakers_of_their_own() {
    after_the_first(|_, mut requests| async move {
        for millis in [100, 10] {
            let (begin, mut ticks) = (Instant::now(), interval(ms(7)));
            let mut receive = Member::new(requests.recv_timeout(ms(millis)));
            let result = loop {
                tokio::select! {
                    result = receive.ready() => break result,
                    _ = ticks.tick() => {}
                }
            };
            assert_timed_out(&result, begin, ms(millis));
        }
        let begin = Instant::now();
        assert_timed_out(&requests.recv_timeout(ms(50)).await, begin, ms(50));
    });
}

#[test]
fn h7_a_receive_polled_by_nobody_in_particular_leaves_no_deadline_behind() {
    after_the_first(|_, mut requests| async move {
        for first in [ms(60_000), Duration::MAX, ms(1)] {
            assert!(poll_now(&mut requests.recv_timeout(first)).is_pending());
            let begin = Instant::now();
            assert_timed_out(&requests.recv_timeout(ms(100)).await, begin, ms(100));
        }
    });
}

#[test]
fn h7_a_deadline_counts_from_the_first_poll_whoever_polls_next() {
    after_the_first(|_, mut requests| async move {
        let begin = Instant::now();
        let mut receive = requests.recv_timeout(ms(100));
        assert!(poll_now(&mut receive).is_pending());
        sleep(ms(50)).await;
        assert_timed_out(&receive.await, begin, ms(100));

        let begin = Instant::now();
        let mut receive = requests.recv_timeout(ms(100));
        assert!(poll_now(&mut receive).is_pending());
        assert_timed_out(&receive.await, begin, ms(100));

        let begin = Instant::now();
        let mut receive = requests.recv_timeout(ms(100));
        assert!(poll_once(&mut receive).await.is_pending());
        sleep(ms(50)).await;
        assert_timed_out(&Member::new(receive).ready().await, begin, ms(100));
    });
}

#[test]
fn h7_a_deadline_works_in_another_task() {
    after_the_first(|_, mut requests| async move {
        let elsewhere = tokio::spawn(async move {
            for millis in [50, 1, 500, 5] {
                let begin = Instant::now();
                let result = requests.recv_timeout(ms(millis)).await;
                assert_timed_out(&result, begin, ms(millis));
                assert!(
                    poll_once(&mut requests.recv_timeout(ms(1)))
                        .await
                        .is_pending()
                );
                let begin = Instant::now();
                let result = requests.recv_timeout(Duration::ZERO).await;
                assert_timed_out(&result, begin, Duration::ZERO);
            }
            requests
        });
        let mut requests = elsewhere.await.unwrap();
        let begin = Instant::now(); // and back at home
        assert_timed_out(&requests.recv_timeout(ms(50)).await, begin, ms(50));
    });
}

#[test]
fn h7_a_receive_moved_to_another_task_keeps_its_deadline() {
    after_the_first(|_, mut requests| async move {
        for (asleep, timeout) in [(ms(50), ms(100)), (ms(0), ms(100)), (ms(150), ms(100))] {
            let begin = Instant::now();
            let mut receive = Box::pin(async move {
                let result = requests.recv_timeout(timeout).await;
                (requests, result)
            });
            assert!(poll_once(&mut receive).await.is_pending());
            sleep(asleep).await;
            let (back, result) = tokio::spawn(receive).await.unwrap();
            assert_timed_out(&result, begin, timeout.max(asleep));
            requests = back;
        }
    });
}
