//! Plain questions, by closures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::*;
use crate::contract;
use bytes::Bytes;
use postbox_protocol::{DatagramProtocol, NumberedSerializer, RawSerializer};
use postbox_server::{
    BoxError, BoxedHandler, Client, Handler, Limits, Requests, Server, answer_fn, answer_fn_with,
    handler_fn_with,
};
use tokio::sync::Semaphore;

/// What is answered to each.
async fn answer(request: Bytes) -> Result<Option<Bytes>, BoxError> {
    match &request[..] {
        b"none" => Ok(None),
        b"error" => Err("no such thing".into()),
        b"panic" => panic!("no manners"),
        _ => Ok(Some(request)),
    }
}

contract! {
    async fn h15_an_answer_fn_answers_or_not_and_its_errors_are_a_handlers(world: World) {
        let server = world.serve(Server::builder_answer_fn(raw(), answer)).await;
        let peer = world.peer(server.addr).await;
        for text in ["none", "error", "panic", "hello"] {
            peer.send(text).await;
        }
        assert_eq!(peer.recv_text().await, "hello");
        let stats = server.settled(4).await;
        assert_eq!((stats.handlers_returned, stats.handlers_failed, stats.handlers_panicked), (2, 1, 1));
        let logged = world.logs.wait_for(2).await;
        assert!(logged[0].message.contains("no such thing"), "{logged:?}");
        assert!(logged[1].message.contains("no manners"), "{logged:?}");
        server.stop().await.unwrap();
    }

    async fn h15_an_answer_fn_answers_what_it_is_declared_to(world: World) {
        let sure = Server::builder_answer_fn(raw(), async |request| request);
        let perhaps = Server::builder_answer_fn(raw(), async |request| Some(request));
        let tried = Server::builder(raw(), answer_fn(async |request: Bytes| {
            Ok::<_, std::io::Error>(request)
        }));
        for builder in [sure, perhaps, tried] {
            let server = world.serve(builder).await;
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("hello").await, "hello");
            server.stop().await.unwrap();
        }
    }

    async fn c2_a_numbered_answer_fn_is_given_the_packet_alone_and_copies_the_number(world: World) {
        let protocol = DatagramProtocol::new(NumberedSerializer::new(RawSerializer));
        let handler = answer_fn(answer).numbered();
        assert_eq!(handler.concurrency(), Some(256));
        let server = world.serve(Server::builder(protocol, handler)).await;
        let peer = world.peer(server.addr).await;
        let question = |number: u8, text: &str| {
            let number = u64::from(number) << 32;
            [&[1], &number.to_be_bytes()[..], text.as_bytes()].concat()
        };
        for (number, text) in [(7, "none"), (8, "error")] {
            peer.send(question(number, text)).await;
        }
        for (number, text) in [(9, "hello"), (10, "hello"), (0, "unasked")] {
            peer.send(question(number, text)).await;
            assert_eq!(peer.recv().await, question(number, text));
        }
        let stats = server.settled(5).await;
        assert_eq!((stats.handlers_returned, stats.handlers_failed), (4, 1));
        let logged = world.logs.wait_for(1).await;
        assert!(logged[0].message.contains("no such thing"), "{logged:?}");
        server.stop().await.unwrap();
    }

    async fn h15_an_answer_fn_answers_256_questions_of_one_address_at_once(world: World) {
        let (gate, running) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let state = (Arc::clone(&gate), Arc::clone(&running));
        let held = answer_fn_with(state, async |state: (Arc<Semaphore>, Arc<AtomicUsize>), request: Bytes| {
            let (gate, running) = state;
            running.fetch_add(1, Ordering::Relaxed);
            gate.acquire().await.unwrap().forget();
            request
        });
        // However it is wrapped.
        let handler = BoxedHandler::new(Arc::new(held));
        assert_eq!(handler.concurrency(), Some(256));
        let limits = Limits::default().client_datagrams(1000);
        let server = world.serve(Server::builder(raw(), handler).limits(limits)).await;
        let peer = world.peer(server.addr).await;
        for number in 0..300_u32 {
            peer.send(number.to_be_bytes()).await;
        }
        let stats = server.settled(300).await;
        assert_eq!((stats.waiting_clients, stats.queued), (256, 44));
        assert_eq!(running.load(Ordering::Relaxed), 256);
        for left in (0..300).rev() {
            gate.add_permits(1);
            peer.recv().await;
            if left == 256 {
                server.stats_where(|stats| stats.queued == 0).await;
            }
        }
        server.stats_where(|stats| stats.waiting_clients == 0).await;
        server.stop().await.unwrap();
    }

    async fn h15_with_a_concurrency_of_one_answers_come_in_the_order_of_questions(world: World) {
        let builder = Server::builder_answer_fn(raw(), async |request: Bytes| {
            if request == "slow" {
                tokio::task::yield_now().await;
            }
            request
        });
        let server = world.serve(builder.concurrency(1)).await;
        let peer = world.peer(server.addr).await;
        for text in ["slow", "1", "slow", "2"] {
            peer.send(text).await;
        }
        for text in ["slow", "1", "slow", "2"] {
            assert_eq!(peer.recv_text().await, text);
        }
        server.stop().await.unwrap();
    }

    async fn h15_a_closure_shares_its_state_without_clones_of_its_own(world: World) {
        let sum = Arc::new(AtomicUsize::new(0));
        let add = handler_fn_with(
            Arc::clone(&sum),
            async |sum: Arc<AtomicUsize>, client: Client<Bytes>, mut requests: Requests<Bytes>| {
                let len = requests.recv().await?.len();
                let before = sum.fetch_add(len, Ordering::Relaxed);
                client.send((before + len).to_string().into()).await?;
                Ok(())
            },
        );
        assert_eq!(add.concurrency(), None);
        let server = world.serve(Server::builder(raw(), add)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("abc").await, "3");
        assert_eq!(peer.ask("de").await, "5");
        server.stop().await.unwrap();
        assert_eq!(sum.load(Ordering::Relaxed), 5);
    }
}
