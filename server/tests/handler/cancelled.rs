//! H8: a receive may be dropped at any time, and loses no datagram.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;

use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use postbox_server::{BoxError, Client, Requests};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::common::*;
use crate::contract;

/// A client sends numbered datagrams, in bursts that fit into its postbox; each has to come back,
/// in order.
async fn all_come_back(peer: &Peer) {
    for burst in 0..6 {
        let numbers = burst * 20..(burst + 1) * 20;
        for number in numbers.clone() {
            peer.send(number.to_string()).await;
        }
        for number in numbers {
            assert_eq!(peer.recv_text().await, number.to_string());
        }
    }
}

/// Serves a handler that answers with what `receive` gives.
async fn echoes<F, Fut>(world: &World, receive: F)
where
    F: Fn(Client<Bytes>, Requests<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let server = world.serve(raw_server(receive)).await;
    let peer = world.peer(server.addr).await;
    all_come_back(&peer).await;
    server.stop().await.unwrap();
}

contract! {
    async fn h8_tokio_timeout_around_a_receive_times_out_and_loses_no_datagram(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let first = timeout(Duration::ZERO, requests.recv()).await??;
                client.send(first).await?;
                for wait in [Duration::ZERO, Duration::from_millis(5)] {
                    assert!(timeout(wait, requests.recv()).await.is_err());
                }
                client.send(Bytes::from("timed out")).await?;
                for _ in 0..2 {
                    let next = timeout(HANG, requests.recv()).await??;
                    client.send(next).await?;
                }
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("first").await, "first");
        assert_eq!(peer.recv_text().await, "timed out");
        assert_eq!(peer.ask("second").await, "second");
        assert_eq!(peer.ask("third").await, "third");
        server.stop().await.unwrap();
    }

    async fn h8_tokio_timeout_delivers_what_is_queued_even_if_it_is_zero(world: World) {
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let gate = Arc::clone(&gate);
                async move {
                    client.send(requests.recv().await?).await?;
                    gate.notified().await;
                    for _ in 0..2 {
                        let next = timeout(Duration::ZERO, requests.recv()).await??;
                        client.send(next).await?;
                    }
                    assert!(timeout(Duration::ZERO, requests.recv()).await.is_err());
                    client.send(Bytes::from("no more")).await?;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.ask("first").await;
        peer.send("second").await;
        peer.send("third").await;
        server.queued(2).await;
        opened.notify_one();
        for text in ["second", "third", "no more"] {
            assert_eq!(peer.recv_text().await, text);
        }
        server.stop().await.unwrap();
    }

    async fn h8_a_receive_dropped_in_a_select_loses_no_datagram_and_keeps_their_order(world: World) {
        echoes(&world, |client, mut requests| async move {
            loop {
                tokio::select! {
                    request = requests.recv() => client.send(request?).await?,
                    () = tokio::task::yield_now() => {}
                }
            }
        })
        .await;
    }

    async fn h8_a_receive_dropped_for_another_ready_branch_loses_no_datagram(world: World) {
        let other = Arc::new(Semaphore::new(0));
        echoes(&world, move |client, mut requests| {
            let other = Arc::clone(&other);
            async move {
                loop {
                    tokio::select! {
                        biased;
                        permit = other.acquire() => permit?.forget(),
                        request = requests.recv() => {
                            client.send(request?).await?;
                            other.add_permits(2);
                        }
                    }
                }
            }
        })
        .await;
    }

    // Each kind of receive is polled once and dropped before the one that counts.
    async fn h8_receives_dropped_in_every_way_lose_no_datagram_and_keep_their_order(world: World) {
        echoes(&world, |client, mut requests| async move {
            for round in 0.. {
                let early = match round % 6 {
                    0 => poll_once(&mut requests.recv()).await,
                    1 => poll_now(&mut requests.recv()),
                    2 => poll_once(&mut pin!(Member::new(requests.recv()).ready())).await,
                    3 => poll_once(&mut requests.recv_timeout(Duration::ZERO)).await,
                    4 => {
                        let mut receive = requests.recv();
                        let first = poll_now(&mut receive);
                        if first.is_pending() { poll_once(&mut receive).await } else { first }
                    }
                    _ => poll_fn(|cx| {
                        let poll = Pin::new(&mut requests).poll_next(cx);
                        Poll::Ready(poll.map(Option::unwrap))
                    })
                    .await,
                };
                let request = match early {
                    Poll::Ready(Ok(request)) => request,
                    _ => requests.recv().await?,
                };
                client.send(request).await?;
            }
            Ok(())
        })
        .await;
    }

    async fn h8_receives_dropped_in_another_task_lose_no_datagram_and_keep_their_order(world: World) {
        echoes(&world, |client, mut requests| async move {
            let elsewhere = tokio::spawn(async move {
                loop {
                    tokio::select! {
                        request = requests.recv() => client.send(request?).await?,
                        () = tokio::task::yield_now() => {}
                    }
                }
                #[allow(unreachable_code)]
                Ok::<(), BoxError>(())
            });
            elsewhere.await?
        })
        .await;
    }

    // On a plain thread, and dropped when it was already told of the datagram.
    async fn h8_a_receive_dropped_when_its_datagram_is_there_leaves_it_to_the_next(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                let told = Arc::new(Told::default());
                let waker = Waker::from(Arc::clone(&told));
                let (back, came) = tokio::sync::oneshot::channel();
                let elsewhere = client.clone();
                std::thread::spawn(move || {
                    {
                        let mut receive = pin!(requests.recv());
                        let mut cx = Context::from_waker(&waker);
                        assert!(receive.as_mut().poll(&mut cx).is_pending());
                        block_on(elsewhere.send(Bytes::from("waiting"))).unwrap();
                        block_on(told.now.notified());
                    }
                    let next = block_on(requests.recv()).unwrap();
                    block_on(elsewhere.send(next)).unwrap();
                    back.send(requests).unwrap();
                });
                let mut requests = came.await?;
                client.send(requests.recv().await?).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.ask("first").await;
        assert_eq!(peer.recv_text().await, "waiting");
        assert_eq!(peer.ask("second").await, "second");
        assert_eq!(peer.ask("third").await, "third");
        server.stop().await.unwrap();
    }

    // A combinator need not poll each of its futures whenever it is polled.
    async fn h8_a_receive_that_is_not_polled_at_each_wake_up_gets_its_datagram(world: World) {
        for after_a_stream in [false, true] {
            let server = world
                .serve(raw_server(move |client, mut requests| async move {
                    client.send(requests.recv().await?).await?;
                    if after_a_stream {
                        let mut next = poll_fn(|cx| Pin::new(&mut requests).poll_next(cx));
                        assert!(poll_now(&mut next).is_pending());
                    }
                    let (mut receive, mut polls) = (pin!(requests.recv()), 0);
                    let request = poll_fn(|cx| {
                        polls += 1;
                        match polls {
                            1 => {
                                cx.waker().wake_by_ref();
                                receive.as_mut().poll(cx)
                            }
                            2 => {
                                client.try_send(Bytes::from("not polled")).unwrap();
                                Poll::Pending
                            }
                            _ => receive.as_mut().poll(cx),
                        }
                    });
                    let request = request.await?;
                    client.send(request).await?;
                    Ok(())
                }))
                .await;
            let peer = world.peer(server.addr).await;
            peer.ask("first").await;
            assert_eq!(peer.recv_text().await, "not polled");
            assert_eq!(peer.ask("second").await, "second");
            server.stop().await.unwrap();
        }
    }
}

contract! {
    async fn h8_requests_that_are_dropped_keep_no_waker_of_their_stream(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                let told = Arc::new(Told::default());
                let waker = Waker::from(Arc::clone(&told));
                // As a task does that gives up.
                let polled = Pin::new(&mut requests).poll_next(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
                drop((requests, waker));
                let kept = Arc::strong_count(&told) - 1;
                client.send(format!("{kept} kept").into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(peer.recv_text().await, "0 kept");
        server.stop().await.unwrap();
    }
}

/// A waker that tells whether it was woken.
#[derive(Default)]
struct Told {
    now: Notify,
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.now.notify_one();
    }
}
