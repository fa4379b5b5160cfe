//! Postboxes over many handlers: each client begins with a fresh one, and a backlog of any length
//! is worked off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::*;
use crate::contract;
use postbox_server::Limits;
use tokio::sync::Notify;

contract! {
    async fn h3_a_postbox_begins_fresh_after_one_that_ended_with_its_queue_used(world: World) {
        let gate = Arc::new(Notify::new());
        let open = Arc::clone(&gate);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let gate = Arc::clone(&gate);
                async move {
                    client.send(requests.recv().await?).await?;
                    gate.notified().await;
                    client.send(requests.recv().await?).await?; // this one was queued
                    Ok(())
                }
            }))
            .await;
        let witness = world.peer(server.addr).await;
        assert_eq!(witness.ask("-").await, "-");
        // The memory of the first client's handler is used again for the second's.
        for name in ["first", "second"] {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask(name).await, name);
            peer.send("queued").await;
            let other = world.peer(server.addr).await;
            assert_eq!(other.ask("passes after it").await, "passes after it");
            open.notify_waiters();
            assert_eq!(peer.recv_text().await, "queued");
        }
        server.stop().await.unwrap();
    }

    async fn h4_a_refusal_discards_its_datagram_whatever_an_earlier_handler_received(world: World) {
        let gate = Arc::new(Notify::new());
        let open = Arc::clone(&gate);
        let runs = Arc::new(AtomicUsize::new(0));
        let started = Arc::clone(&runs);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let gate = Arc::clone(&gate);
                let run = started.fetch_add(1, Ordering::SeqCst);
                async move {
                    match run {
                        0 => {
                            client.send(requests.recv().await?).await?;
                            gate.notified().await;
                            client.send(requests.recv().await?).await?; // from the queue
                            client.send(requests.recv().await?).await?; // handed over directly
                        }
                        2 => {} // refuses
                        _ => client.send(requests.recv().await?).await?,
                    }
                    Ok(())
                }
            }))
            .await;
        let (first, second) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(first.ask("one").await, "one");
        first.send("two").await;
        assert_eq!(second.ask("passes after it").await, "passes after it");
        open.notify_one();
        assert_eq!(first.recv_text().await, "two");
        assert_eq!(first.ask("three").await, "three");
        second.send("refused").await;
        assert_eq!(second.ask("served").await, "served");
        assert_eq!(runs.load(Ordering::SeqCst), 4);
        assert_eq!(server.handle.stats().discarded, 1);
        server.stop().await.unwrap();
    }

    async fn h5_a_backlog_of_any_length_is_worked_off_one_handler_each(world: World) {
        const BACKLOG: usize = 5_000;
        let gate = Arc::new(Notify::new());
        let open = Arc::clone(&gate);
        let count = Arc::new(AtomicUsize::new(0));
        let server = world
            .serve(
                raw_server(move |client, mut requests| {
                    let (gate, count) = (Arc::clone(&gate), Arc::clone(&count));
                    async move {
                        let request = requests.recv().await?;
                        match &request[..] {
                            b"first" => {
                                client.send(request).await?;
                                gate.notified().await;
                            }
                            b"queued" => {
                                let nth = count.fetch_add(1, Ordering::SeqCst) + 1;
                                if nth == BACKLOG {
                                    client.send(format!("{nth}").into()).await?;
                                }
                            }
                            _ => client.send(request).await?,
                        }
                        Ok(())
                    }
                })
                .limits(Limits::default().client_datagrams(BACKLOG).client_bytes(usize::MAX)),
            )
            .await;
        let (peer, pacer) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(peer.ask("first").await, "first");
        for _ in 0..BACKLOG / 50 {
            for _ in 0..50 {
                peer.send("queued").await;
            }
            assert_eq!(pacer.ask("pace").await, "pace");
        }
        open.notify_one();
        assert_eq!(peer.recv_text().await, BACKLOG.to_string());
        server.stop().await.unwrap();
    }
}
