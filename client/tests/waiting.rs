//! Waiting for what arrives: timeouts, cancel safety, what is there now, several tasks.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;
use postbox_client::{UdpClient, UdpRecvError};
use postbox_codec_json::JsonSerializer;
use postbox_protocol::DatagramProtocol;
use tokio::sync::oneshot;

use crate::common::*;
use crate::contract;

/// Polls a future once.
async fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    let mut future = future;
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// The stream's next item.
async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    in_time(poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx))).await
}

contract! {
    async fn a_receive_times_out_never_early_and_receiving_goes_on(world: World) {
        let server = world.server();
        let client = raw_client(&server).await;
        for limit in [Duration::from_millis(1), Duration::from_millis(30)] {
            let start = Instant::now();
            let result = in_time(client.recv_timeout(limit)).await;
            assert!(matches!(result, Err(UdpRecvError::TimedOut)), "{result:?}");
            assert!(start.elapsed() >= limit);
        }
        server.tell(client.local_addr(), "late");
        assert_eq!(in_time(client.recv_timeout(HANG)).await.unwrap(), "late");
    }

    async fn a_zero_timeout_answers_at_once_and_delivers_what_is_there(world: World) {
        let server = world.server();
        let client = raw_client(&server).await;
        for _ in 0..2 {
            let mut recv = pin!(client.recv_timeout(Duration::ZERO));
            match poll_once(recv.as_mut()).await {
                Poll::Ready(Err(UdpRecvError::TimedOut)) => {}
                other => panic!("{other:?}"),
            }
            // The runtime has had no occasion to look at the socket.
            server.tell(client.local_addr(), "there");
            let mut recv = pin!(client.recv_timeout(Duration::ZERO));
            match poll_once(recv.as_mut()).await {
                Poll::Ready(Ok(datagram)) => assert_eq!(datagram, "there"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn zero_and_the_largest_timeout_need_no_timer() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::v4();
        let protocol = DatagramProtocol::new(postbox_protocol::RawSerializer);
        let client = UdpClient::connect(server.addr, protocol).await.unwrap();
        let nothing = client.recv_timeout(Duration::ZERO).await;
        assert!(matches!(nothing, Err(UdpRecvError::TimedOut)));
        server.tell(client.local_addr(), "there");
        assert_eq!(client.recv_timeout(Duration::MAX).await.unwrap(), "there");
    });
}

contract! {
    async fn a_receive_that_is_dropped_loses_no_datagram(world: World) {
        let server = world.server();
        let client = raw_client(&server).await;
        for number in 0..20_u8 {
            {
                let mut recv = pin!(client.recv());
                assert!(poll_once(recv.as_mut()).await.is_pending());
                server.tell(client.local_addr(), [number]);
                // So that the runtime may see it, and wake the receive.
                tokio::task::yield_now().await;
            }
            assert_eq!(in_time(client.recv()).await.unwrap(), [number][..]);
        }
    }

    async fn a_send_that_is_dropped_before_its_first_poll_sends_nothing(world: World) {
        let server = world.server();
        let client = raw_client(&server).await;
        drop(client.send(Bytes::from_static(b"dropped")));
        client.send(Bytes::from_static(b"sent")).await.unwrap();
        assert_eq!(server.hear(), b"sent");
    }

    async fn try_recv_answers_what_has_arrived(world: World) {
        let server = world.server();
        let client = raw_client(&server).await;
        assert!(client.try_recv().is_none());
        server.tell(client.local_addr(), "there");
        assert_eq!(client.try_recv().unwrap().unwrap(), "there");
        assert!(client.try_recv().is_none());
    }

    async fn draining_yields_what_has_arrived_parse_errors_included_and_ends(world: World) {
        let server = world.server();
        let protocol = DatagramProtocol::new(JsonSerializer::<u8>::new());
        let client = server.client(protocol).await;
        assert_eq!(client.drain().count(), 0);

        for datagram in ["1", "two", "3"] {
            server.tell(client.local_addr(), datagram);
        }
        let mut drain = client.drain();
        assert!(matches!(drain.next(), Some(Ok(1))));
        assert!(matches!(drain.next(), Some(Err(UdpRecvError::Parse(_)))));
        assert!(matches!(drain.next(), Some(Ok(3))));
        assert!(drain.next().is_none());
        server.tell(client.local_addr(), "4");
        assert!(drain.next().is_none(), "it stays ended");
        assert_eq!(client.drain().map(Result::unwrap).collect::<Vec<_>>(), [4]);
    }

    async fn the_stream_yields_what_arrives_parse_errors_included(world: World) {
        let server = world.server();
        let protocol = DatagramProtocol::new(JsonSerializer::<u8>::new());
        let mut client = server.client(protocol).await;
        for datagram in ["1", "two", "3"] {
            server.tell(client.local_addr(), datagram);
        }
        assert!(matches!(next(&mut client).await, Some(Ok(1))));
        assert!(matches!(
            next(&mut client).await,
            Some(Err(UdpRecvError::Parse(_)))
        ));
        assert!(matches!(next(&mut client).await, Some(Ok(3))));

        // A wait of the stream that is given up loses nothing either.
        let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut client).poll_next(cx))).await;
        assert!(pending.is_pending());
        server.tell(client.local_addr(), "4");
        assert_eq!(in_time(client.recv()).await.unwrap(), 4);
    }

    async fn one_task_sends_while_another_receives(world: World) {
        let server = world.server();
        let client = raw_client(&server).await;
        let to = client.local_addr();
        let (waits, is_waiting) = oneshot::channel();
        let receiver = client.clone();
        let received = tokio::spawn(async move {
            let mut recv = pin!(receiver.recv());
            assert!(poll_once(recv.as_mut()).await.is_pending());
            waits.send(()).unwrap();
            recv.await
        });
        in_time(is_waiting).await.unwrap();

        client.send(Bytes::from_static(b"ask")).await.unwrap();
        assert_eq!(server.hear_from(), (b"ask".to_vec(), to));
        server.tell(to, "answer");
        assert_eq!(in_time(received).await.unwrap().unwrap(), "answer");
    }

    async fn clones_that_wait_at_once_share_what_arrives(world: World) {
        const EACH: usize = 3;
        let server = world.server();
        let client = raw_client(&server).await;
        let to = client.local_addr();
        let (heard, mut all_heard) = tokio::sync::mpsc::unbounded_channel();
        for clone in 0..2 * EACH {
            let (mut client, heard) = (client.clone(), heard.clone());
            tokio::spawn(async move {
                // Half of them by the stream, half of them by `recv`.
                let datagram = match clone % 2 {
                    0 => next(&mut client).await.unwrap(),
                    _ => client.recv().await,
                };
                heard.send(datagram.unwrap()).unwrap();
            });
        }
        let mut expected = Vec::new();
        for number in 0..2 * EACH as u8 {
            server.tell(to, [number]);
            expected.push(Bytes::copy_from_slice(&[number]));
        }
        let mut received = Vec::new();
        for _ in 0..2 * EACH {
            received.push(in_time(all_heard.recv()).await.unwrap());
        }
        received.sort();
        assert_eq!(received, expected, "each by one of them");
    }
}

contract! {
    on current;

    async fn a_receive_loop_leaves_other_tasks_their_turn(world: World) {
        let server = world.server();
        let client = raw_client(&server).await;
        // As many as the socket's buffer holds without a loss, and more than tokio's budget of a
        // task.
        const MANY: usize = 200;
        for _ in 0..MANY {
            server.tell(client.local_addr(), "x");
        }
        let (tell, told) = oneshot::channel();
        let other = tokio::spawn(async move { tell.send(()).unwrap() });
        let mut told = pin!(told);
        let mut before = 0;
        while before < MANY {
            in_time(client.recv()).await.unwrap();
            if poll_once(told.as_mut()).await.is_ready() {
                break;
            }
            before += 1;
        }
        assert!(before < MANY, "all were received before the other task ran");
        other.await.unwrap();
    }
}
