//! H16: receives until a moment, which what else arrives does not move.

use std::time::Duration;

use crate::common::*;
use crate::handler::deadlines::{Case, after_the_first, assert_timed_out, ms};
use postbox_server::{Limits, RecvError};
use tokio::time::{Instant, advance, sleep};

#[test]
fn h16_a_receive_until_a_moment_times_out_then() {
    after_the_first(|_, mut requests| async move {
        for timeout in [ms(1), ms(1_234), Duration::from_secs(3600)] {
            let begin = Instant::now();
            let result = requests.recv_until(begin + timeout).await;
            assert_timed_out(&result, begin, timeout);
        }
    });
}

#[test]
fn h16_a_moment_that_has_passed_answers_timed_out_at_once() {
    after_the_first(|_, mut requests| async move {
        let begin = Instant::now();
        sleep(ms(10)).await;
        let late = Instant::now();
        for _ in 0..3 {
            let result = requests.recv_until(begin).await;
            assert!(matches!(result, Err(RecvError::TimedOut)), "{result:?}");
        }
        assert_eq!(late.elapsed(), Duration::ZERO);
    });
}

#[test]
fn h16_what_arrives_meanwhile_does_not_move_the_moment() {
    run_paused(|world| async move {
        let case = Case::new(
            &world,
            Limits::default(),
            |client, mut requests| async move {
                let begin = Instant::now();
                let mut received = 0;
                let result = loop {
                    match requests.recv_until(begin + ms(1_000)).await {
                        Ok(request) => {
                            received += 1;
                            client.send(request).await.unwrap();
                        }
                        Err(error) => break Err(error),
                    }
                };
                assert_timed_out(&result, begin, ms(1_000));
                received
            },
        );
        let case = case.await;
        for _ in 0..9 {
            advance(ms(100)).await;
            case.peer.send("not what it waits for").await;
            case.peer.recv().await;
        }
        assert_eq!(case.stop().await, 9);
    });
}

#[test]
fn h16_a_queued_datagram_is_delivered_after_the_moment_too() {
    run_paused(|world| async move {
        let case = Case::new(
            &world,
            Limits::default(),
            |client, mut requests| async move {
                let begin = Instant::now();
                client.send("busy".into()).await.unwrap();
                sleep(ms(10)).await;
                requests.recv_until(begin).await.unwrap()
            },
        );
        let case = case.await;
        assert_eq!(case.peer.recv_text().await, "busy");
        case.peer.send("second").await;
        assert_eq!(case.stop().await, "second");
    });
}

#[test]
fn h16_a_dropped_receive_until_a_moment_loses_no_datagram() {
    run_paused(|world| async move {
        let case = Case::new(
            &world,
            Limits::default(),
            |client, mut requests| async move {
                let far = Instant::now() + Duration::from_secs(60);
                assert!(poll_once(&mut requests.recv_until(far)).await.is_pending());
                client.send("dropped".into()).await.unwrap();
                requests.recv_until(far).await.unwrap()
            },
        );
        let case = case.await;
        assert_eq!(case.peer.recv_text().await, "dropped");
        case.peer.send("second").await;
        assert_eq!(case.stop().await, "second");
    });
}

#[test]
fn h16_it_works_from_another_task() {
    after_the_first(|_, mut requests| async move {
        let task = tokio::spawn(async move {
            let begin = Instant::now();
            let result = requests.recv_until(begin + ms(70)).await;
            assert_timed_out(&result, begin, ms(70));
        });
        task.await.unwrap();
    });
}
