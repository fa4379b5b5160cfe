//! H7: a stream's items have a deadline each, the idle limit.

use std::future::poll_fn;
use std::pin::Pin;

use super::deadlines::{Case, assert_timed_out, ms};
use crate::common::*;
use bytes::Bytes;
use futures_core::Stream;
use postbox_server::Limits;
use tokio::time::{Instant, interval, sleep};

#[test]
fn h7_a_receive_that_was_forgotten_leaves_the_stream_its_own_deadline() {
    run_paused(|world| async move {
        let limits = Limits::default().idle(Some(ms(100)));
        let case = Case::new(&world, limits, |_, mut requests| async move {
            for _ in 0..2 {
                let mut receive = requests.recv_timeout(ms(10));
                assert!(poll_once(&mut receive).await.is_pending());
                std::mem::forget(receive);
                let begin = Instant::now();
                assert_timed_out(&next(&mut requests).await.unwrap(), begin, ms(100));
            }
        })
        .await;
        case.stop().await;
    });
}

#[test]
fn h7_the_items_of_the_stream_come_before_the_idle_limit_or_time_out() {
    run_paused(|world| async move {
        let limits = Limits::default().idle(Some(ms(100)));
        let case = Case::new(&world, limits, |client, mut requests| async move {
            for _ in 0..2 {
                let (begin, mut ticks) = (Instant::now(), interval(ms(7)));
                let item = loop {
                    tokio::select! {
                        item = next(&mut requests) => break item,
                        _ = ticks.tick() => {}
                    }
                };
                assert_timed_out(&item.unwrap(), begin, ms(100));
            }
            client.send(Bytes::from("go on")).await.unwrap();
            assert_eq!(next(&mut requests).await.unwrap().unwrap(), "an item");
            client.send(Bytes::from("thanks")).await.unwrap();
            next(&mut requests).await.is_none()
        })
        .await;
        assert_eq!(case.peer.recv_text().await, "go on");
        assert_eq!(case.peer.ask("an item").await, "thanks");
        case.server.handle.shutdown().await;
        assert!(case.stop().await, "it ends where `recv` answers closed");
    });
}

#[test]
fn h7_an_item_of_the_stream_takes_its_deadline_along() {
    run_paused(|world| async move {
        let limits = Limits::default().idle(Some(ms(100)));
        let case = Case::new(&world, limits, |client, mut requests| async move {
            client.send(Bytes::from("go on")).await.unwrap();
            assert_eq!(next(&mut requests).await.unwrap().unwrap(), "an item");
            for busy in [50, 200] {
                sleep(ms(busy)).await;
                let begin = Instant::now();
                assert_timed_out(&next(&mut requests).await.unwrap(), begin, ms(100));
            }
        })
        .await;
        assert_eq!(case.peer.recv_text().await, "go on");
        case.peer.send("an item").await;
        case.stop().await;
    });
}

/// The next item of a stream.
async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}
