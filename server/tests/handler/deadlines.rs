//! H7: receives with a deadline, on a clock that stands still unless all wait.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::common::*;
use bytes::Bytes;
use postbox_server::{Client, Limits, RecvError, Requests};
use tokio::sync::mpsc;
use tokio::time::{Instant, advance, interval, sleep};

/// How late an answer may come: what `recv_timeout` states.
const TICK: Duration = Duration::from_millis(2);

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Serves one client in memory, on a paused clock: `handle` runs after its first datagram was
/// received.
pub(crate) struct Case<T> {
    pub(crate) server: TestServer,
    pub(crate) peer: Peer,
    answers: mpsc::UnboundedReceiver<T>,
}

impl<T: Send + 'static> Case<T> {
    pub(crate) async fn new<F, Fut>(world: &World, limits: Limits, handle: F) -> Self
    where
        F: Fn(Client<Bytes>, Requests<Bytes>) -> Fut + Send + Sync + Copy + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let (told, answers) = mpsc::unbounded_channel();
        let builder = raw_server(move |client, mut requests| {
            let told = told.clone();
            async move {
                requests.recv().await?;
                let answer = handle(client, requests).await;
                told.send(answer).map_err(|_| "nobody listens")?;
                Ok(())
            }
        });
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        peer.send("first").await;
        Self {
            server,
            peer,
            answers,
        }
    }

    pub(crate) async fn stop(mut self) -> T {
        let answer = self.answers.recv().await.unwrap();
        self.server.stop().await.unwrap();
        answer
    }
}

/// Runs `handle` as a handler that was just told its first datagram, on a paused clock.
pub(crate) fn after_the_first<F, Fut>(handle: F)
where
    F: Fn(Client<Bytes>, Requests<Bytes>) -> Fut + Send + Sync + Copy + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    run_paused(move |world| async move {
        Case::new(&world, Limits::default(), handle)
            .await
            .stop()
            .await;
    });
}

#[track_caller]
pub(crate) fn assert_timed_out(
    result: &Result<Bytes, RecvError>,
    begin: Instant,
    timeout: Duration,
) {
    assert!(matches!(result, Err(RecvError::TimedOut)), "{result:?}");
    let took = begin.elapsed();
    assert!(took >= timeout, "early: {took:?} for {timeout:?}");
    assert!(took <= timeout + TICK, "late: {took:?} for {timeout:?}");
}

#[test]
fn h7_a_receive_times_out_never_early_and_at_most_a_tick_late() {
    after_the_first(|_, mut requests| async move {
        for micros in [1, 999, 1_000, 1_001, 20_000, 1_234_567, 3_600_000_000] {
            let (begin, timeout) = (Instant::now(), Duration::from_micros(micros));
            let result = requests.recv_timeout(timeout).await;
            assert_timed_out(&result, begin, timeout);
            sleep(Duration::from_micros(333)).await; // begin at odd times too
        }
    });
}

#[test]
fn h7_the_deadlines_of_many_clients_are_kept_apart() {
    run_paused(|world| async move {
        let builder = raw_server(|client, mut requests| async move {
            let millis = std::str::from_utf8(&requests.recv().await?)?.parse()?;
            let begin = Instant::now();
            let result = requests.recv_timeout(ms(millis)).await;
            assert_timed_out(&result, begin, ms(millis));
            client.send(Bytes::from(millis.to_string())).await?;
            Ok(())
        });
        let server = world.serve(builder).await;
        let mut peers = Vec::new();
        for millis in [70, 10, 3_000, 10, 500, 1] {
            let peer = world.peer(server.addr).await;
            peer.send(millis.to_string()).await;
            peers.push((peer, millis));
        }
        for (peer, millis) in peers {
            assert_eq!(peer.recv_text().await, millis.to_string());
        }
        server.stop().await.unwrap();
    });
}

#[test]
fn h7_a_zero_timeout_answers_timed_out_at_once_if_nothing_is_queued() {
    after_the_first(|_, mut requests| async move {
        let begin = Instant::now();
        for _ in 0..3 {
            let result = poll_once(&mut requests.recv_timeout(Duration::ZERO)).await;
            assert!(matches!(result, Poll::Ready(Err(RecvError::TimedOut))));
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    });
}

#[test]
fn h7_a_timeout_after_earlier_receives_counts_from_its_own_start() {
    run_paused(|world| async move {
        let builder = raw_server(|client, mut requests| async move {
            loop {
                let begin = Instant::now();
                let Ok(request) = requests.recv_timeout(ms(100)).await else {
                    assert_timed_out(&Err(RecvError::TimedOut), begin, ms(100));
                    client.send(Bytes::from("late")).await?;
                    return Ok(());
                };
                client.send(request).await?;
            }
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..3 {
            assert_eq!(peer.ask("in time").await, "in time");
            sleep(ms(95)).await;
        }
        assert_eq!(peer.ask("in time").await, "in time");
        assert_eq!(peer.recv_text().await, "late");
        server.stop().await.unwrap();
    });
}

// Its datagram and its deadline are found in one turn: the next receive has the whole of its time.
#[test]
fn h7_a_deadline_that_a_datagram_just_met_is_not_the_next_receives() {
    run_paused(|world| async move {
        let case = Case::new(
            &world,
            Limits::default(),
            |client, mut requests| async move {
                client.send(Bytes::from("begin")).await.unwrap();
                assert_eq!(requests.recv_timeout(ms(100)).await.unwrap(), "just met");
                let begin = Instant::now();
                assert_timed_out(&requests.recv_timeout(ms(50)).await, begin, ms(50));
            },
        )
        .await;
        assert_eq!(case.peer.recv_text().await, "begin");
        case.peer.send("just met").await;
        advance(ms(200)).await;
        case.stop().await;
    });
}

// The datagrams come in one batch: each meets a receive that has no deadline yet.
#[test]
fn h7_of_receives_that_begin_in_one_turn_the_last_has_its_own_deadline() {
    run_paused(|world| async move {
        for last in [ms(100), Duration::MAX] {
            let builder = raw_server(move |client, mut requests| async move {
                requests.recv().await?;
                requests.recv_timeout(ms(10)).await?;
                requests.recv_timeout(ms(1_000)).await?;
                let begin = Instant::now();
                let result = requests.recv_timeout(last).await;
                if last == Duration::MAX {
                    assert_eq!(result?, "much later");
                } else {
                    assert_timed_out(&result, begin, last);
                }
                client.send(Bytes::from("done")).await?;
                Ok(())
            });
            let server = world.serve(builder).await;
            let peer = world.peer(server.addr).await;
            for datagram in ["one", "two", "three"] {
                peer.send(datagram).await;
            }
            sleep(ms(5_000)).await;
            if last == Duration::MAX {
                peer.send("much later").await;
            }
            assert_eq!(peer.recv_text().await, "done");
            server.stop().await.unwrap();
        }
    });
}

#[test]
fn h7_a_longer_deadline_after_a_shorter_one_and_the_other_way_round() {
    after_the_first(|_, mut requests| async move {
        for millis in [50, 500, 5, 5_000, 1, 50] {
            let begin = Instant::now();
            let result = requests.recv_timeout(ms(millis)).await;
            assert_timed_out(&result, begin, ms(millis));
            // One that is given up leaves nothing behind.
            assert!(
                poll_once(&mut requests.recv_timeout(ms(20)))
                    .await
                    .is_pending()
            );
        }
    });
}

#[test]
fn h7_the_largest_duration_means_none() {
    run_paused(|world| async move {
        let limits = Limits::default().idle(Some(ms(50)));
        let huge = [
            Duration::MAX,
            Duration::MAX - Duration::from_nanos(1),
            Duration::from_secs(u64::MAX),
            Duration::from_millis(u64::MAX),
            Duration::from_secs(u64::MAX / 2),
        ];
        for timeout in huge {
            let builder = raw_server(move |client, mut requests| async move {
                requests.recv().await?;
                client.send(Bytes::from("waiting")).await?;
                client.send(requests.recv_timeout(timeout).await?).await?;
                Ok(())
            });
            let server = world.serve(builder.limits(limits.clone())).await;
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("first").await, "waiting");
            sleep(Duration::from_secs(30 * 24 * 3600)).await;
            assert_eq!(peer.ask("still there").await, "still there");
            server.stop().await.unwrap();
        }
    });
}

#[test]
fn h7_a_receive_polled_again_in_a_loop_keeps_its_deadline() {
    after_the_first(|_, mut requests| async move {
        let (begin, mut ticks) = (Instant::now(), interval(ms(7)));
        let mut receive = pin!(requests.recv_timeout(ms(100)));
        let result = loop {
            tokio::select! {
                biased;
                result = &mut receive => break result,
                _ = ticks.tick() => {}
            }
        };
        assert_timed_out(&result, begin, ms(100));
    });
}

#[test]
fn h7_a_receive_not_polled_at_each_wake_up_keeps_its_deadline() {
    after_the_first(|_, mut requests| async move {
        let (begin, mut ticks) = (Instant::now(), interval(ms(7)));
        let mut receive = pin!(requests.recv_timeout(ms(100)));
        let result = loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                result = &mut receive => break result,
            }
        };
        assert_timed_out(&result, begin, ms(100));
    });
}

#[test]
fn h7_a_deadline_that_passed_unnoticed_is_told_at_the_next_poll() {
    after_the_first(|_, mut requests| async move {
        let begin = Instant::now();
        let mut receive = requests.recv_timeout(ms(10));
        assert!(poll_once(&mut receive).await.is_pending());
        sleep(ms(50)).await;
        assert_timed_out(&receive.await, begin, ms(50));
    });
}

#[test]
fn h7_a_deadline_that_passed_unnoticed_is_not_the_next_receives() {
    after_the_first(|_, mut requests| async move {
        let mut receive = requests.recv_timeout(ms(10));
        assert!(poll_once(&mut receive).await.is_pending());
        sleep(ms(50)).await;
        drop(receive);
        let begin = Instant::now();
        let mut receive = requests.recv_timeout(ms(100));
        assert!(poll_once(&mut receive).await.is_pending());
        assert_timed_out(&receive.await, begin, ms(100));
    });
}

// In one turn, so the worker learns of the deadline when the next run is already in its place.
#[test]
fn h7_a_deadline_that_a_run_gave_up_is_not_the_next_runs() {
    run_paused(|world| async move {
        let builder = raw_server(|client, mut requests| async move {
            if requests.recv().await? == "gives up" {
                // Polled as a receive in another task is.
                assert!(poll_now(&mut requests.recv_timeout(ms(10))).is_pending());
                return Ok(());
            }
            let answer = Member::new(requests.recv_timeout(Duration::MAX))
                .ready()
                .await?;
            client.send(answer).await?;
            Ok(())
        });
        let server = world.serve(builder).await;
        let peers = [world.peer(server.addr).await, world.peer(server.addr).await];
        peers[0].send("gives up").await;
        peers[1].send("waits").await;
        sleep(ms(1_000)).await;
        assert_eq!(peers[1].ask("still there").await, "still there");
        server.stop().await.unwrap();
    });
}

// Those who are told that they have timed out would hold the turn together.
#[test]
fn h7_a_crowd_whose_deadlines_pass_at_once_does_not_hold_up_the_datagrams() {
    const CROWD: usize = 3_000;
    run_paused(|world| async move {
        let (told, mut is_told) = mpsc::unbounded_channel();
        let network = world.network.clone();
        let builder = raw_server(move |_, mut requests| {
            let (told, network) = (told.clone(), network.clone());
            async move {
                let server = requests.recv().await?;
                if !server.is_empty() {
                    assert!(matches!(
                        requests.recv_timeout(ms(100)).await,
                        Err(RecvError::TimedOut)
                    ));
                    if &server[..] != b"another" {
                        let server = std::str::from_utf8(&server)?.parse()?;
                        network.send_from(([127, 0, 0, 1], 1).into(), b"", server)?;
                    }
                }
                told.send(server.is_empty())?;
                Ok(())
            }
        });
        let server = world.serve(builder).await;
        let to = server.addr;
        for number in 0..CROWD as u16 {
            let [high, low] = number.to_be_bytes();
            let text = if number == 0 {
                to.to_string()
            } else {
                "another".to_owned()
            };
            let from = ([127, 1, high, low], 7).into();
            world.network.send_from(from, text.as_bytes(), to).unwrap();
        }
        let waiting = |stats: &postbox_server::Stats| stats.waiting_clients == CROWD as u64;
        server.stats_where(waiting).await;
        advance(ms(200)).await;
        let mut before = 0;
        while !is_told.recv().await.unwrap() {
            before += 1;
        }
        assert!(
            (1..CROWD / 2).contains(&before),
            "{before} were told before"
        );
        while before < CROWD {
            assert!(!is_told.recv().await.unwrap());
            before += 1;
        }
        server.stop().await.unwrap();
    });
}
