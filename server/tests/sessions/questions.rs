//! Plain questions, with who asks and when.

use std::sync::{Arc, Mutex};

use crate::common::*;
use crate::contract;
use bytes::Bytes;
use postbox_server::{
    Arrival, BoxError, Client, Handler, Question, Requests, Server, Session, question_fn,
};

/// Answers with what is known of the asker.
async fn describe(question: Question<Bytes>) -> Result<Option<Bytes>, BoxError> {
    match &question.packet()[..] {
        b"none" => Ok(None),
        b"error" => Err("no such thing".into()),
        _ => Ok(Some(
            format!("{question} {:?}", question.local_addr()).into(),
        )),
    }
}

/// The same by a handler that has a client.
async fn describe_client(
    client: Client<Bytes>,
    mut requests: Requests<Bytes>,
) -> Result<(), BoxError> {
    requests.recv().await?;
    let text = format!("{client} {:?}", client.local_addr());
    client.send(text.into()).await?;
    Ok(())
}

contract! {
    async fn h15_a_question_tells_who_asks_as_a_client_does(world: World) {
        let key = || Session::bytes(0..1);
        for wildcard in [false, true] {
            let asked = Server::builder_question_fn(raw(), describe).session_key(key());
            let client = raw_server(describe_client).session_key(key());
            let mut answers = Vec::new();
            let ip = if wildcard { "0.0.0.0:0" } else { "127.0.0.1:0" };
            for builder in [asked, client] {
                let server = TestServer::start(world.bind_to(builder, ip.parse().unwrap()).await).await;
                let port = server.addr.port();
                let peer = world.peer(([127, 0, 0, 1], port).into()).await;
                let answer = peer.ask("hello").await;
                assert!(answer.starts_with(&peer.addr().to_string()), "{answer}");
                // Keys are hashed with a secret of each server.
                let (who, key) = answer.split_once(" #").unwrap();
                assert_eq!(key.split_once(' ').unwrap().0.len(), 16);
                let rest = key.split_once(' ').unwrap().1;
                let plain = format!("{who} {rest}").replace(&peer.addr().port().to_string(), "PEER");
                answers.push(plain.replace(&port.to_string(), "SERVER"));
                server.stop().await.unwrap();
            }
            assert_eq!(answers[0], answers[1]);
        }
    }

    async fn h15_a_question_is_answered_or_not_and_errors_are_a_handlers(world: World) {
        let handler = question_fn(describe);
        assert_eq!(handler.concurrency(), Some(256));
        let server = world.serve(Server::builder(raw(), handler)).await;
        let peer = world.peer(server.addr).await;
        for text in ["none", "error", "hello"] {
            peer.send(text).await;
        }
        assert!(peer.recv_text().await.contains("Some("));
        let stats = server.settled(3).await;
        assert_eq!((stats.handlers_returned, stats.handlers_failed), (2, 1));
        let logged = world.logs.wait_for(1).await;
        assert!(logged[0].message.contains("no such thing"), "{logged:?}");
        server.stop().await.unwrap();
    }

    // Over the concurrency, so that one has waited in the queue.
    async fn h15_a_question_has_its_own_arrival_also_after_serving(world: World) {
        let kept: Arc<Mutex<Vec<Question<Bytes>>>> = Arc::default();
        let keep = Arc::clone(&kept);
        let builder = Server::builder_question_fn(raw(), move |question: Question<Bytes>| {
            keep.lock().unwrap().push(question.clone());
            async move {
                tokio::task::yield_now().await;
                question.into_packet()
            }
        });
        let server = world.serve(builder.concurrency(1)).await;
        let peer = world.peer(server.addr).await;
        let texts = ["1", "of two", "of three"];
        for text in texts {
            peer.send(text).await;
        }
        for text in texts {
            assert_eq!(peer.recv_text().await, text);
        }
        let addr = server.addr;
        server.stop().await.unwrap();
        let kept = kept.lock().unwrap();
        for (question, text) in kept.iter().zip(texts) {
            let arrival: Arrival = question.arrival();
            assert_eq!((arrival.len(), arrival.local_addr()), (text.len(), Some(addr)));
            assert_eq!(question.remote_addr(), peer.addr());
            let longer = question.clone().map(|packet| packet.len());
            assert_eq!((*longer.packet(), longer.to_string()), (text.len(), question.to_string()));
            assert!(format!("{question:?}").contains(text), "{question:?}");
        }
        assert!(kept.is_sorted_by_key(|question| question.arrival().at()));
    }
}
