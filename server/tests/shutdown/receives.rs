//! What receives answer from its start, and what becomes of what is queued.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use postbox_server::Requests;
use tokio::sync::{Notify, mpsc};

use super::{HOUR, told};
use crate::common::*;
use crate::contract;

contract! {
    async fn v4_a_handler_waiting_in_a_receive_is_told_closed_at_shutdown(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                client.send(told(requests.recv().await)).await?;
                Ok(())
            }).grace(HOUR))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        server.handle.shutdown().await;
        assert_eq!(peer.recv_text().await, "closed");
        assert_eq!(server.handle.stats().handlers_returned, 1);
        server.stop().await.unwrap();
    }

    async fn v4_a_handler_waiting_with_a_timeout_or_a_stream_is_told_closed_at_shutdown(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let first = requests.recv().await?;
                client.send(first.clone()).await?;
                let answer = if first == "timeout" {
                    told(requests.recv_timeout(HOUR).await)
                } else {
                    let mut stream = pin!(requests);
                    let next = poll_fn(|cx| futures_core::Stream::poll_next(stream.as_mut(), cx));
                    next.await.map_or_else(|| "closed".into(), told)
                };
                client.send(answer).await?;
                Ok(())
            }).grace(HOUR))
            .await;
        let peers = [world.peer(server.addr).await, world.peer(server.addr).await];
        assert_eq!(peers[0].ask("timeout").await, "timeout");
        assert_eq!(peers[1].ask("stream").await, "stream");
        server.handle.shutdown().await;
        for peer in peers {
            assert_eq!(peer.recv_text().await, "closed");
        }
        server.stop().await.unwrap();
    }

    async fn v4_a_receive_in_another_task_is_told_closed_at_shutdown(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                let elsewhere = tokio::spawn(async move { told(requests.recv().await) });
                client.send(elsewhere.await?).await?;
                Ok(())
            }).grace(HOUR))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        server.handle.shutdown().await;
        assert_eq!(peer.recv_text().await, "closed");
        server.stop().await.unwrap();
    }

    async fn v4_receives_after_that_are_told_closed_too(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                requests.recv().await.unwrap_err();
                for answer in [
                    told(requests.recv().await),
                    told(requests.recv_timeout(Duration::ZERO).await),
                    told(tokio::spawn(async move { requests.recv().await }).await?),
                ] {
                    client.send(answer).await?;
                }
                Ok(())
            }).grace(HOUR))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        server.handle.shutdown().await;
        for _ in 0..3 {
            assert_eq!(peer.recv_text().await, "closed");
        }
        server.stop().await.unwrap();
    }

    async fn v4_from_its_start_a_receive_answers_closed_whatever_is_queued(world: World) {
        let (give, mut taken) = mpsc::unbounded_channel::<Requests<Bytes>>();
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let give = give.clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    give.send(requests)?;
                    pending().await
                }
            }).grace(Duration::ZERO))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("busy").await, "busy");
        let mut requests = taken.recv().await.unwrap();
        peer.send("queued").await;
        server.queued(1).await;
        let handle = server.handle.clone();
        let mut shutdown = pin!(handle.shutdown());
        begin(&mut shutdown).await;
        // Nothing of the server has run since, on one thread.
        assert_eq!(told(requests.recv().await), "closed");
        shutdown.await;
        assert_eq!(server.handle.stats().dropped_shutdown, 1);
        server.stop().await.unwrap();
    }

    async fn v4_from_its_start_the_handler_that_began_it_receives_and_starts_nothing(world: World) {
        let handle = Arc::new(Mutex::new(None::<postbox_server::ServerHandle>));
        let go = Arc::new(Notify::new());
        let (to, goes) = (Arc::clone(&handle), Arc::clone(&go));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let (handle, go) = (to.lock().unwrap().clone(), Arc::clone(&goes));
                async move {
                    client.send(requests.recv().await?).await?;
                    go.notified().await;
                    let handle = handle.unwrap();
                    begin(&mut pin!(handle.shutdown())).await;
                    client.send(told(requests.recv().await)).await?;
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        *handle.lock().unwrap() = Some(server.handle.clone());
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("busy").await, "busy");
        for text in ["a", "b", "c"] {
            peer.send(text).await;
        }
        server.queued(3).await;
        go.notify_one();
        assert_eq!(peer.recv_text().await, "closed");
        let handle = server.handle.clone();
        handle.shutdown().await;
        let stats = handle.stats();
        assert_eq!((stats.dropped_shutdown, stats.handlers_returned), (3, 1));
        server.stop().await.unwrap();
    }

    async fn v4_from_its_start_no_handler_begins_for_what_came_in_the_same_batch(world: World) {
        let handle = Arc::new(Mutex::new(None::<postbox_server::ServerHandle>));
        let to = Arc::clone(&handle);
        let server = world
            .bind(raw_server(move |client, mut requests| {
                let handle = to.lock().unwrap().clone();
                async move {
                    begin(&mut pin!(handle.unwrap().shutdown())).await;
                    client.send(told(requests.recv().await)).await?;
                    Ok(())
                }
            }))
            .await;
        *handle.lock().unwrap() = Some(server.handle());
        let addr = server.handle().addresses()[0];
        let peers = [world.peer(addr).await, world.peer(addr).await];
        for peer in &peers {
            peer.send("x").await;
        }
        server.serve_forever().await.unwrap();
        assert_eq!(peers[0].recv_text().await, "closed");
        let stats = server.handle().stats();
        assert_eq!((stats.received, stats.discarded, stats.dropped_shutdown), (2, 0, 2));
        assert_eq!(stats.handlers_returned, 1);
        assert!(peers[1].is_quiet());
    }

    async fn v4_a_datagram_that_a_handler_leaves_as_it_begins_a_shutdown_is_dropped_and_counted(world: World) {
        let handle = Arc::new(Mutex::new(None::<postbox_server::ServerHandle>));
        let to = Arc::clone(&handle);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let handle = to.lock().unwrap().clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    {
                        let mut next = pin!(requests.recv());
                        begin(&mut next).await;
                        let mut polls = 0; // the second poll is the one with the next datagram
                        poll_fn(|_| {
                            polls += 1;
                            if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
                        })
                        .await;
                    }
                    begin(&mut pin!(handle.unwrap().shutdown())).await;
                    Ok(())
                }
            }))
            .await;
        *handle.lock().unwrap() = Some(server.handle.clone());
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        peer.send("left").await;
        let handle = server.handle.clone();
        server.stats_where(|stats| stats.handlers_returned == 1).await;
        handle.shutdown().await;
        let stats = handle.stats();
        assert_eq!((stats.handed_out, stats.dropped_shutdown, stats.discarded), (1, 1, 0));
        assert_eq!(stats.handlers_returned, 1);
        server.stop().await.unwrap();
    }

    async fn v4_datagrams_queued_behind_a_busy_handler_are_dropped_and_counted_at_shutdown(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                pending().await
            }).grace(Duration::ZERO))
            .await;
        let peers = [world.peer(server.addr).await, world.peer(server.addr).await];
        for peer in &peers {
            assert_eq!(peer.ask("busy").await, "busy");
            for text in ["a", "b", "c"] {
                peer.send(text).await;
            }
        }
        server.queued(6).await;
        server.handle.shutdown().await;
        let stats = server.handle.stats();
        assert_eq!((stats.dropped_shutdown, stats.handlers_cancelled), (6, 2));
        assert_eq!((stats.handed_out, stats.received), (2, 8));
        server.stop().await.unwrap();
    }
}
