//! H9 where the outbox is full: the network takes nothing for a while.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use bytes::Bytes;
use postbox_server::{Client, FlushError, Limits, SendError};

use crate::common::*;
use crate::contract;

/// The smallest outbox, and what of it one datagram of 1,000 bytes takes.
const ROOM: usize = 66 * 1024;
const COST: usize = 1_000 + 64;

/// A server with the smallest outbox, and a client of it that is kept.
struct Case {
    world: World,
    server: TestServer,
    peer: Peer,
    client: Client<Bytes>,
}

impl Case {
    async fn new(world: &World) -> Self {
        let kept = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&kept);
        let builder = raw_server(move |client, mut requests| {
            *keep.lock().unwrap() = Some(client.clone());
            async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        });
        let limits = Limits::default().outbox_bytes(ROOM);
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        peer.ask("hello").await;
        let client = kept.lock().unwrap().take().unwrap();
        Self {
            world: world.clone(),
            server,
            peer,
            client,
        }
    }

    fn block(&self, blocked: bool) {
        self.world.network.block_sends(self.server.addr, blocked);
    }

    /// Nothing leaves, and the outbox is filled. Returns how many datagrams are in it.
    fn fill(&self) -> usize {
        self.block(true);
        let mut count = 0;
        loop {
            match self.client.try_send(numbered(count)) {
                Ok(()) => count += 1,
                Err(SendError::Full) => return count,
                Err(other) => panic!("{other}"),
            }
        }
    }

    async fn all_arrive(&self, count: usize) {
        for number in 0..count {
            assert_eq!(self.peer.recv().await, numbered(number));
        }
    }
}

fn numbered(number: usize) -> Bytes {
    let mut bytes = number.to_string().into_bytes();
    bytes.resize(1_000, b' ');
    bytes.into()
}

fn is_full(result: &Result<(), SendError>) -> bool {
    matches!(result, Err(SendError::Full))
}

contract! {
    on memory;
    async fn h9_try_send_answers_full_and_what_it_refused_is_not_sent(world: World) {
        let case = Case::new(&world).await;
        let count = case.fill();
        assert_eq!(count, ROOM / COST);
        assert!(is_full(&case.client.try_send(Bytes::from(vec![0; 65_000]))));
        case.block(false);
        case.all_arrive(count).await;
        case.client.try_send(Bytes::from("room again")).unwrap();
        assert_eq!(case.peer.recv_text().await, "room again");
        case.server.stop().await.unwrap();
    }

    on memory;
    async fn h9_sends_wait_for_room_and_leave_in_the_order_in_which_they_began(world: World) {
        let case = Case::new(&world).await;
        let count = case.fill();
        let mut waiting = Vec::new();
        for number in count..count + 5 {
            let client = case.client.clone();
            let mut send = Box::pin(async move { client.send(numbered(number)).await });
            assert!(poll_once(&mut send).await.is_pending());
            waiting.push(send);
        }
        // Nobody overtakes them, not even who needs less room.
        assert!(is_full(&case.client.try_send(Bytes::new())));
        case.block(false);
        let mut tasks = Vec::new();
        for send in waiting {
            tasks.push(tokio::spawn(send));
        }
        for task in tasks.into_iter().rev() {
            task.await.unwrap().unwrap();
        }
        case.all_arrive(count).await;
        let mut rest = Vec::new();
        for _ in 0..5 {
            rest.push(case.peer.recv_text().await.trim().parse::<usize>().unwrap());
        }
        if case.world.rt == Rt::Current {
            // On several threads they complete at once: then no order is promised.
            assert_eq!(rest, (count..count + 5).collect::<Vec<_>>());
        }
        rest.sort_unstable();
        assert_eq!(rest, (count..count + 5).collect::<Vec<_>>());
        case.server.stop().await.unwrap();
    }

    on memory;
    async fn h9_a_send_dropped_while_it_waits_sends_nothing(world: World) {
        let case = Case::new(&world).await;
        let count = case.fill();
        let mut send = case.client.send(numbered(999));
        assert!(poll_once(&mut send).await.is_pending());
        drop(send);
        case.block(false);
        case.all_arrive(count).await;
        case.client.send(Bytes::from("later")).await.unwrap();
        assert_eq!(case.peer.recv_text().await, "later");
        case.server.stop().await.unwrap();
    }

    // It has its room, but was not polled to use it.
    on memory;
    async fn h9_a_send_dropped_when_there_is_room_sends_nothing_and_gives_it_back(world: World) {
        let case = Case::new(&world).await;
        let count = case.fill();
        let large = Bytes::from(vec![b'x'; 65_000]);
        let mut send = case.client.send(large.clone());
        assert!(poll_once(&mut send).await.is_pending());
        case.block(false);
        case.all_arrive(count).await;
        assert!(is_full(&case.client.try_send(large.clone())));
        // The worker goes on meanwhile.
        assert_eq!(case.peer.ask("others").await, "others");
        drop(send);
        case.client.try_send(large.clone()).unwrap();
        assert_eq!(case.peer.recv().await, large);
        case.server.stop().await.unwrap();
    }

    on memory;
    async fn h9_handlers_that_wait_for_room_go_on_when_there_is_some(world: World) {
        let case = Case::new(&world).await;
        let count = case.fill();
        let others: Vec<SocketAddr> = (1..=3).map(|n| SocketAddr::from(([127, 0, 0, n], 9))).collect();
        let mut peers = Vec::new();
        for own in others {
            let peer = world.peer_at(own, case.server.addr).await;
            peer.send(own.to_string()).await;
            peers.push(peer);
        }
        case.block(false);
        for peer in peers {
            assert_eq!(peer.recv_text().await, peer.addr().to_string());
        }
        case.all_arrive(count).await;
        case.server.stop().await.unwrap();
    }

    on memory;
    async fn h9_a_send_that_waits_when_the_server_ends_answers_closed(world: World) {
        let case = Case::new(&world).await;
        case.fill();
        let mut send = case.client.send(numbered(999));
        assert!(poll_once(&mut send).await.is_pending());
        case.server.serving.abort();
        assert!(matches!(send.await, Err(SendError::Closed)));
        assert!(matches!(case.client.try_send(Bytes::new()), Err(SendError::Closed)));
    }

    on memory;
    async fn h9_what_a_waker_sends_while_the_outbox_leaves_is_not_lost(world: World) {
        let case = Case::new(&world).await;
        let waker = Waker::from(Arc::new(Sender(case.client.clone())));
        let mut answer = Box::pin(case.peer.recv_text());
        assert!(answer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        // Its arrival wakes the one who waits for it, in the middle of what the worker does.
        case.client.send(Bytes::from("first")).await.unwrap();
        assert_eq!(answer.await, "first");
        assert_eq!(case.peer.recv_text().await, "from the waker");
        case.server.stop().await.unwrap();
    }

    on memory;
    async fn v7_a_flush_is_not_told_of_what_was_sent_after_it(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                let (mut before, mut after) = (Box::pin(client.flush()), Box::pin(client.flush()));
                assert!(poll_once(&mut before).await.is_pending());
                client.send(Bytes::from("refused")).await?;
                assert!(poll_once(&mut after).await.is_pending());
                let told = (before.await, after.await);
                assert!(matches!(told, (Ok(()), Err(FlushError::Io(_)))), "{told:?}");
                Err("as it should be".into())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        world.network.fail_sends(peer.addr(), Some(|| std::io::ErrorKind::PermissionDenied.into()));
        peer.send("x").await;
        let mut messages: Vec<_> = world.logs.wait_for(2).await.into_iter().map(|r| r.message).collect();
        messages.sort();
        assert_eq!(messages, ["handler failed: as it should be", "send failed: permission denied"]);
        server.stop().await.unwrap();
    }
}

contract! {
    on memory;
    async fn v7_a_flush_that_is_dropped_takes_no_refusal_from_the_next(world: World) {
        let case = Case::new(&world).await;
        world.network.fail_sends(case.peer.addr(), Some(|| std::io::ErrorKind::PermissionDenied.into()));
        case.block(true);
        case.client.send(Bytes::from("refused")).await.unwrap();
        let mut flush = Box::pin(case.client.flush());
        assert!(poll_once(&mut flush).await.is_pending());
        drop(flush);
        case.block(false);
        assert_eq!(world.logs.wait_for(1).await[0].message, "send failed: permission denied");
        assert!(matches!(case.client.flush().await, Err(FlushError::Io(_))));
        case.client.flush().await.unwrap();
        case.server.stop().await.unwrap();
    }
}

/// A waker that sends.
struct Sender(Client<Bytes>);

impl Wake for Sender {
    fn wake(self: Arc<Self>) {
        self.0.try_send(Bytes::from("from the waker")).unwrap();
    }
}
