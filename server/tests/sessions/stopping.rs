//! Sessions, and runs for one datagram, where a server stops; and what is kept of such runs.

use std::sync::Arc;

use crate::common::*;
use crate::contract;
use bytes::Bytes;
use postbox_server::{Client, RecvError, Requests, SendError, ServerBuilder, Session};
use tokio::sync::{Semaphore, mpsc};

/// Conversations of two requests, each answered with both, or with what ends it; a session for each
/// first two bytes.
fn pairs() -> ServerBuilder {
    let builder = raw_server(|client, mut requests| async move {
        let first = requests.recv().await?;
        let second = match requests.recv().await {
            Err(RecvError::Closed) => "closed".into(),
            second => second?,
        };
        client.send([first, second].concat().into()).await?;
        Ok(())
    });
    builder.session_key(Session::bytes(0..2))
}

contract! {
    async fn v11_sessions_with_a_handler_go_on_in_a_drain_and_no_other_of_their_address_begins(world: World) {
        let server = world.serve(pairs()).await;
        let peer = world.peer(server.addr).await;
        peer.send("a-1").await;
        server.stats_where(|stats| stats.waiting_clients == 1).await;
        let drain = server.handle.clone();
        let draining = tokio::spawn(async move { drain.drain(HANG).await });
        // Some may begin yet, until one that is dropped says that the drain has begun.
        let mut begun = 0_u16;
        loop {
            let received = server.handle.stats().received;
            peer.send(begun.to_be_bytes()).await;
            let stats = server.stats_where(|stats| stats.accounted() > received).await;
            if stats.dropped_shutdown > 0 {
                break;
            }
            begun += 1;
        }
        assert_eq!(peer.ask("a-2").await, "a-1a-2");
        for key in 0..begun {
            peer.send(key.to_be_bytes()).await;
            peer.recv().await;
        }
        draining.await.unwrap();
        let stats = server.handle.stats();
        assert_eq!((stats.received, stats.handlers_cancelled), (stats.accounted(), 0));
        server.stop().await.unwrap();
        world.logs.take_lost();
    }

    async fn v11_a_hand_over_ends_the_receives_of_all_sessions(world: World) {
        let server = world.serve(pairs()).await;
        let peer = world.peer(server.addr).await;
        for text in ["a-1", "b-1"] {
            peer.send(text).await;
        }
        server.stats_where(|stats| stats.waiting_clients == 2).await;
        server.handle.hand_over(HANG).await;
        let mut answers = [peer.recv_text().await, peer.recv_text().await];
        answers.sort();
        assert_eq!(answers, ["a-1closed", "b-1closed"]);
        assert_eq!(server.handle.stats().handlers_returned, 2);
        server.stop().await.unwrap();
    }

    async fn v11_a_hand_over_hands_out_what_waits_for_a_run(world: World) {
        let gate = Arc::new(Semaphore::new(0));
        let gates = Arc::clone(&gate);
        let server = world.serve(raw_server(move |client, mut requests| {
            let gate = Arc::clone(&gates);
            async move {
                let request = requests.recv().await?;
                gate.acquire().await?.forget();
                client.send(request).await?;
                Ok(())
            }
        }).concurrency(1)).await;
        let peer = world.peer(server.addr).await;
        for text in ["1", "2", "3"] {
            peer.send(text).await;
        }
        server.settled(3).await;
        let hand_over = server.handle.clone();
        let handing_over = tokio::spawn(async move { hand_over.hand_over(HANG).await });
        server.stats_where(|_| server.handle.is_draining()).await;
        gate.add_permits(3);
        handing_over.await.unwrap();
        for text in ["1", "2", "3"] {
            assert_eq!(peer.recv_text().await, text);
        }
        let stats = server.handle.stats();
        assert_eq!((stats.handed_out, stats.dropped()), (3, 0));
        server.stop().await.unwrap();
    }

    async fn h15_what_is_kept_of_a_run_for_one_datagram_receives_nothing_and_still_sends(world: World) {
        type Kept = (Client<Bytes>, Requests<Bytes>);
        let (keep, mut kept) = mpsc::unbounded_channel::<Kept>();
        let server = world.serve(raw_server(move |client, mut requests| {
            let keep = keep.clone();
            async move {
                client.send(requests.recv().await?).await?;
                keep.send((client, requests))?;
                Ok(())
            }
        }).concurrency(1)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("1").await, "1");
        let (client, mut requests) = kept.recv().await.unwrap();
        let receives = tokio::spawn(async move { requests.recv().await });
        assert_eq!(peer.ask("2").await, "2");
        assert!(matches!(receives.await.unwrap(), Err(RecvError::Closed)));
        let (another, mut requests) = kept.recv().await.unwrap();
        assert!(client == another);
        assert!(matches!(requests.recv().await, Err(RecvError::Closed)));
        client.send("pushed".into()).await.unwrap();
        assert_eq!(peer.recv_text().await, "pushed");
        server.stats_where(|stats| stats.handlers_returned == 2).await;
        let stats = server.handle.stats();
        assert_eq!((stats.waiting_clients, stats.handed_out), (0, 2));
        server.stop().await.unwrap();
        assert!(matches!(client.try_send("late".into()), Err(SendError::Closed)));
    }
}
