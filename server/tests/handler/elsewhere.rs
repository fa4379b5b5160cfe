//! H7 where the requests are not their handler's own any more: other tasks, plain threads, the real
//! clock.

use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postbox_server::RecvError;
use tokio::sync::oneshot;

use crate::common::*;
use crate::contract;

/// Never early. How late is left to the tests with a paused clock.
fn assert_not_early(result: &Result<Bytes, RecvError>, begin: Instant, timeout: Duration) {
    assert!(matches!(result, Err(RecvError::TimedOut)), "{result:?}");
    assert!(begin.elapsed() >= timeout, "early: {:?}", begin.elapsed());
}

contract! {
    async fn h7_a_receive_times_out_never_early(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                for millis in [1, 20, 0, 5] {
                    let (begin, timeout) = (Instant::now(), Duration::from_millis(millis));
                    assert_not_early(&requests.recv_timeout(timeout).await, begin, timeout);
                }
                client.send(Bytes::from("in time")).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "in time");
        server.stop().await.unwrap();
    }

    async fn h7_a_deadline_works_on_a_plain_thread(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                let (back, came) = oneshot::channel();
                let elsewhere = client.clone();
                std::thread::spawn(move || {
                    for millis in [1, 20, 0, 5, 0] {
                        let (begin, timeout) = (Instant::now(), Duration::from_millis(millis));
                        let result = block_on(requests.recv_timeout(timeout));
                        assert_not_early(&result, begin, timeout);
                    }
                    block_on(elsewhere.send(Bytes::from("in time"))).unwrap();
                    let next = block_on(requests.recv_timeout(HANG)).unwrap();
                    block_on(elsewhere.send(next)).unwrap();
                    let _ = back.send(requests);
                });
                let mut requests = came.await?;
                let begin = Instant::now();
                let timeout = Duration::from_millis(5);
                assert_not_early(&requests.recv_timeout(timeout).await, begin, timeout);
                client.send(Bytes::from("back")).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "in time");
        assert_eq!(peer.ask("y").await, "y");
        assert_eq!(peer.recv_text().await, "back");
        server.stop().await.unwrap();
    }

    async fn h7_a_deadline_works_in_another_handler(world: World) {
        let kept = Arc::new(Mutex::new(None));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let kept = Arc::clone(&kept);
                async move {
                    if requests.recv().await? == "give" {
                        let (end, ended) = oneshot::channel::<()>();
                        *kept.lock().unwrap() = Some((requests, end));
                        client.send(Bytes::from("given")).await?;
                        ended.await?;
                        client.send(Bytes::from("ended")).await?;
                        return Ok(());
                    }
                    let (mut others, end) = kept.lock().unwrap().take().unwrap();
                    let (begin, timeout) = (Instant::now(), Duration::from_millis(20));
                    assert_not_early(&others.recv_timeout(timeout).await, begin, timeout);
                    client.send(Bytes::from("timed out")).await?;
                    client.send(others.recv().await?).await?;
                    let _ = end.send(());
                    Ok(())
                }
            }))
            .await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(one.ask("give").await, "given");
        assert_eq!(two.ask("take").await, "timed out");
        one.send("for the other").await;
        assert_eq!(two.recv_text().await, "for the other");
        assert_eq!(one.recv_text().await, "ended");
        server.stop().await.unwrap();
    }

    async fn h7_the_first_receive_has_its_datagram_whatever_its_timeout(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv_timeout(Duration::ZERO).await?).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        server.stop().await.unwrap();
    }

    // It is still in the worker's hands when the thread asks for it.
    async fn h7_the_first_receive_on_a_thread_has_its_datagram_whatever_its_timeout(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let ((asked, ask), (answer, answered)) =
                    (mpsc::channel(), oneshot::channel());
                std::thread::spawn(move || {
                    let mut receive = requests.recv_timeout(Duration::ZERO);
                    let first = poll_now(&mut receive);
                    asked.send(()).unwrap();
                    let result = match first {
                        Poll::Ready(result) => result,
                        Poll::Pending => block_on(receive),
                    };
                    answer.send(result).unwrap();
                });
                ask.recv()?; // the handler does not return before
                client.send(answered.await??).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        server.stop().await.unwrap();
    }

    async fn h7_zero_delivers_what_is_queued_also_on_a_thread(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                let (back, came) = oneshot::channel();
                let elsewhere = client.clone();
                std::thread::spawn(move || {
                    while let Err(RecvError::TimedOut) = block_on(requests.recv_timeout(Duration::ZERO)) {
                        std::thread::yield_now(); // until the second datagram is there
                    }
                    block_on(elsewhere.send(Bytes::from("second"))).unwrap();
                    let _ = back.send(requests);
                });
                let mut requests = came.await?;
                client.send(requests.recv().await?).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.ask("first").await;
        assert_eq!(peer.ask("x").await, "second");
        assert_eq!(peer.ask("third").await, "third");
        server.stop().await.unwrap();
    }
}
