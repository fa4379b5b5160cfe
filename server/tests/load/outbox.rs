//! L1: the bound of what waits to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use postbox_server::{Limits, SendError};

use crate::common::*;
use crate::contract;

/// The smallest outbox: 66 KiB.
fn smallest() -> Limits {
    Limits::default().outbox_bytes(0)
}

/// Two answers of this size do not fit into it.
const LARGE: usize = 40_000;

contract! {
    on memory;
    async fn l1_while_the_outbox_is_full_the_worker_stops_receiving(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            requests.recv().await?;
            client.send(vec![7; LARGE].into()).await?;
            Ok(())
        });
        let server = world.serve(builder.limits(smallest())).await;
        let peer = world.peer(server.addr).await;
        world.network.block_sends(server.addr, true);
        peer.send("first").await;
        server.stats_where(|stats| stats.received == 1).await;
        peer.send("second").await;
        // A turn of the worker that changes nothing: it still takes what others post.
        let (closed, handle) = (server.handle.clone(), server.handle.clone());
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(handle.stats().received, 1, "the second is left in the socket");
        world.network.block_sends(server.addr, false);
        assert_eq!(peer.recv().await.len(), LARGE);
        assert_eq!(peer.recv().await.len(), LARGE);
        assert_eq!(closed.stats().received, 2);
        server.stop().await.unwrap();
    }

    on memory;
    async fn l1_senders_that_wait_for_the_outbox_are_woken_in_order(world: World) {
        let (done, mut dones) = tokio::sync::mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let waits = Arc::clone(&waiting);
        let builder = raw_server(move |client, mut requests| {
            let (done, waiting) = (done.clone(), Arc::clone(&waits));
            async move {
                let request = requests.recv().await?;
                // Tasks of their own: the worker's handlers would be polled in order anyhow.
                for sender in 0..5_u8 {
                    let (client, done) = (client.clone(), done.clone());
                    let mut bytes = vec![sender; LARGE];
                    bytes[..request.len()].copy_from_slice(&request);
                    let mut send = Box::pin(async move { client.send(bytes.into()).await });
                    // Begun here, so that the order is known; finished elsewhere.
                    let begun = poll_once(&mut send).await;
                    waiting.fetch_add(1, Ordering::SeqCst);
                    if begun.is_pending() {
                        tokio::spawn(async move {
                            done.send((sender, send.await)).unwrap();
                        });
                    }
                }
                Ok(())
            }
        });
        let server = world.serve(builder.limits(smallest())).await;
        let peer = world.peer(server.addr).await;
        world.network.block_sends(server.addr, true);
        peer.send("go").await;
        while waiting.load(Ordering::SeqCst) < 5 {
            tokio::task::yield_now().await;
        }
        world.network.block_sends(server.addr, false);
        for sender in 0..5_u8 {
            assert_eq!(peer.recv().await[LARGE - 1], sender);
        }
        // What they do after that is not in order.
        let mut waited = Vec::new();
        for _ in 1..5 {
            let (sender, sent) = dones.recv().await.unwrap();
            sent.unwrap();
            waited.push(sender);
        }
        waited.sort_unstable();
        assert_eq!(waited, [1, 2, 3, 4], "the first did not wait");
        server.stop().await.unwrap();
    }

    on memory;
    async fn l1_try_send_answers_full_and_the_outbox_holds_what_it_says(world: World) {
        let (results, mut told) = tokio::sync::mpsc::unbounded_channel();
        let builder = raw_server(move |client, mut requests| {
            let results = results.clone();
            async move {
                requests.recv().await?;
                for _ in 0..3 {
                    let sent = client.try_send(Bytes::from(vec![1; 30_000]));
                    results.send(sent)?;
                }
                Ok(())
            }
        });
        let server = world.serve(builder.limits(smallest())).await;
        let peer = world.peer(server.addr).await;
        world.network.block_sends(server.addr, true);
        peer.send("go").await;
        assert!(told.recv().await.unwrap().is_ok());
        assert!(told.recv().await.unwrap().is_ok());
        assert!(matches!(told.recv().await.unwrap(), Err(SendError::Full)));
        world.network.block_sends(server.addr, false);
        for _ in 0..2 {
            assert_eq!(peer.recv().await.len(), 30_000);
        }
        server.stop().await.unwrap();
        assert!(peer.is_quiet(), "the third was not sent");
    }

    async fn l1_the_smallest_outbox_holds_the_largest_answer(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            requests.recv().await?;
            client.send(vec![1; 65_507].into()).await?;
            Ok(())
        });
        let server = world.serve(builder.limits(smallest())).await;
        let peer = world.peer(server.addr).await;
        peer.send("go").await;
        assert_eq!(peer.recv().await.len(), 65_507);
        server.stop().await.unwrap();
    }
}
