//! H1 and H3: one handler for all clients, at most one run of it for each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::*;
use crate::contract;
use bytes::Bytes;
use postbox_codec_json::JsonSerializer;
use postbox_protocol::{BoxError, DatagramProtocol, FnConverter, RawSerializer};
use postbox_server::{Client, Handler, Requests, Server, ServerBuilder};
use tokio::sync::Notify;

/// Knows its request and its response, and no format.
#[derive(Default)]
struct Count {
    asked: AtomicUsize,
}

impl Handler for Count {
    type Request = String;
    type Response = usize;

    async fn handle(
        &self,
        client: Client<usize>,
        mut requests: Requests<String>,
    ) -> Result<(), BoxError> {
        let length = requests.recv().await?.len();
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        client.send(100 * length + before).await?;
        Ok(())
    }
}

/// Text as it is, numbers as digits.
fn count_in_raw(handler: Arc<Count>) -> ServerBuilder {
    let converter = FnConverter::new(
        |number: usize| Ok(Bytes::from(number.to_string())),
        |text: Bytes| Ok(String::from_utf8(text.into())?),
    );
    let protocol = DatagramProtocol::new(RawSerializer).with_converter(converter);
    Server::builder(protocol, handler)
}

fn count_in_json(handler: Arc<Count>) -> ServerBuilder {
    Server::builder(
        DatagramProtocol::new(JsonSerializer::<usize, String>::new()),
        handler,
    )
}

contract! {
    async fn h1_one_handler_instance_serves_every_client(world: World) {
        let builder = count_in_raw(Arc::default());
        let server = world.serve(builder).await;
        for asked in 0..3 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("ab").await, (200 + asked).to_string());
        }
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h1_one_handler_instance_serves_every_worker(world: World) {
        let server = world.serve(count_in_raw(Arc::default()).workers(3)).await;
        let mut answers = Vec::new();
        for _ in 0..12 {
            answers.push(world.peer(server.addr).await.ask("").await);
        }
        assert_eq!(answers, (0..12).map(|n| n.to_string()).collect::<Vec<_>>());
        server.stop().await.unwrap();
    }

    async fn h1_the_same_handler_runs_on_raw_and_on_json(world: World) {
        let handler = Arc::new(Count::default());
        let raw = world.serve(count_in_raw(Arc::clone(&handler))).await;
        let json = world.serve(count_in_json(handler)).await;
        assert_eq!(world.peer(raw.addr).await.ask("abc").await, "300");
        assert_eq!(world.peer(json.addr).await.ask(r#" "abcd" "#).await, "401");
        raw.stop().await.unwrap();
        json.stop().await.unwrap();
    }
}

contract! {
    async fn h3_at_most_one_handler_runs_per_client(world: World) {
        let starts: Arc<Mutex<HashMap<_, usize>>> = Arc::default();
        let gate = Arc::new(Notify::new());
        let (counts, opened) = (Arc::clone(&starts), Arc::clone(&gate));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                *counts.lock().unwrap().entry(client.remote_addr()).or_default() += 1;
                let gate = Arc::clone(&gate);
                async move {
                    if requests.recv().await? == "wait" {
                        gate.notified().await;
                    }
                    client.send(Bytes::from("done")).await?;
                    Ok(())
                }
            }))
            .await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        one.send("wait").await;
        for _ in 0..3 {
            one.send("later").await;
        }
        server.queued(3).await;
        // Another client has a handler of its own meanwhile.
        assert_eq!(two.ask("now").await, "done");
        assert_eq!(*starts.lock().unwrap(), HashMap::from([(one.addr(), 1), (two.addr(), 1)]));
        opened.notify_one();
        for _ in 0..4 {
            assert_eq!(one.recv_text().await, "done");
        }
        assert_eq!(starts.lock().unwrap()[&one.addr()], 4);
        server.stop().await.unwrap();
    }

    async fn h3_a_datagram_that_arrives_while_the_handler_is_busy_is_its_next_request(world: World) {
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let gate = Arc::clone(&gate);
                async move {
                    client.send(requests.recv().await?).await?;
                    gate.notified().await;
                    let next = requests.recv_timeout(Duration::ZERO).await?;
                    client.send([b"next ", &next[..]].concat().into()).await?;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("one").await, "one");
        peer.send("two").await;
        server.queued(1).await;
        opened.notify_one();
        assert_eq!(peer.recv_text().await, "next two");
        server.stop().await.unwrap();
    }

    async fn h3_a_backlog_is_received_in_arrival_order_by_one_handler(world: World) {
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let gate = Arc::clone(&gate);
                async move {
                    client.send(requests.recv().await?).await?;
                    gate.notified().await;
                    for number in 1.. {
                        assert_eq!(requests.recv().await?, number.to_string());
                        client.send(Bytes::from(number.to_string())).await?;
                    }
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.ask("begin").await;
        for number in 1..=10 {
            peer.send(number.to_string()).await;
        }
        server.queued(10).await;
        opened.notify_one();
        peer.send("11").await;
        for number in 1..=11 {
            assert_eq!(peer.recv_text().await, number.to_string());
        }
        // From the mailbox to the datagrams in hand: the order goes on.
        assert_eq!(peer.ask("12").await, "12");
        let stats = server.handle.stats();
        assert_eq!((stats.handed_out, stats.waiting_clients), (13, 1));
        server.handle.shutdown().await;
        assert_eq!(world.logs.take(), []);
        server.stop().await.unwrap();
    }
}
