//! H2 and H6: the handler's own receive parses, and yields requests and errors.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::*;
use crate::contract;
use bytes::{Bytes, BytesMut};
use postbox_codec_json::JsonSerializer;
use postbox_protocol::{BoxError, DatagramProtocol, Serializer};
use postbox_server::{RecvError, Server};
use tokio::sync::Notify;

/// Tells how many datagrams have been parsed. `bad` is no packet, and `crash` makes it panic.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Counting {
    fn parsed(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Serializer for Counting {
    type Sent = Bytes;
    type Received = Bytes;

    fn serialize(&self, packet: &Bytes, datagram: &mut BytesMut) -> Result<(), BoxError> {
        datagram.extend_from_slice(packet);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Bytes, BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        match datagram {
            b"bad" => Err("it is bad".into()),
            b"crash" => panic!("told to crash"),
            good => Ok(Bytes::copy_from_slice(good)),
        }
    }
}

contract! {
    async fn h2_a_handler_starts_before_its_datagram_is_parsed(world: World) {
        let serializer = Counting::default();
        let (protocol, gate) = (DatagramProtocol::new(serializer.clone()), Arc::new(Notify::new()));
        let opened = Arc::clone(&gate);
        let counting = serializer.clone();
        let builder = Server::builder_fn(protocol, move |client, mut requests| {
            let (counting, gate) = (counting.clone(), Arc::clone(&gate));
            async move {
                let mut parsed = vec![counting.parsed()];
                requests.recv().await?;
                parsed.push(counting.parsed());
                client.send(Bytes::from("first")).await?;
                gate.notified().await; // the second datagram arrives meanwhile
                parsed.push(counting.parsed());
                requests.recv().await?;
                parsed.push(counting.parsed());
                client.send(Bytes::from(format!("{parsed:?}"))).await?;
                Ok(())
            }
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "first");
        peer.send("y").await;
        server.queued(1).await;
        opened.notify_one();
        assert_eq!(peer.recv_text().await, "[0, 1, 1, 2]");
        server.stop().await.unwrap();
    }

    async fn h2_what_no_receive_asks_for_is_never_parsed(world: World) {
        let serializer = Counting::default();
        let protocol = DatagramProtocol::new(serializer.clone());
        let builder = Server::builder_fn(protocol, |client, _requests| async move {
            client.send(Bytes::from("no")).await?;
            Ok(())
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("crash").await, "no");
        server.stop().await.unwrap();
        assert_eq!(serializer.parsed(), 0);
    }
}

/// What a receive answered, in a word.
fn told(result: &Result<Bytes, RecvError>) -> String {
    match result {
        Ok(text) => String::from_utf8_lossy(text).into_owned(),
        Err(RecvError::Parse(error)) if error.is_deserialize() => "no packet".into(),
        Err(RecvError::Crashed { message }) => format!("crashed: {message}"),
        Err(RecvError::TimedOut) => "timed out".into(),
        Err(RecvError::Closed) => "closed".into(),
        Err(other) => format!("{other:?}"),
    }
}

contract! {
    async fn h6_a_request_is_received_and_answered(world: World) {
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        for text in ["one", "two", "three", ""] {
            assert_eq!(peer.ask(text).await, text);
        }
        server.stop().await.unwrap();
    }

    async fn h6_several_receives_in_one_handler_keep_its_state(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let mut sum = Vec::new();
                loop {
                    sum.extend_from_slice(&requests.recv().await?);
                    client.send(sum.clone().into()).await?;
                    if sum.len() >= 6 {
                        return Ok(());
                    }
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("ab").await, "ab");
        assert_eq!(peer.ask("cd").await, "abcd");
        assert_eq!(peer.ask("ef").await, "abcdef");
        assert_eq!(peer.ask("gh").await, "gh");
        server.stop().await.unwrap();
    }

    async fn h6_a_parse_error_can_be_answered_and_receiving_goes_on(world: World) {
        let protocol = DatagramProtocol::new(JsonSerializer::<String, Vec<u8>>::new());
        let server = world
            .serve(Server::builder_fn(protocol, |client, mut requests| async move {
                loop {
                    let answer = match requests.recv().await {
                        Ok(numbers) => format!("{} numbers", numbers.len()),
                        Err(RecvError::Parse(error)) => error.to_string(),
                        Err(other) => return Err(other.into()),
                    };
                    client.send(answer).await?;
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("[1,2]").await, "\"2 numbers\"");
        assert_eq!(peer.ask("[1,").await, "\"received a malformed datagram\"");
        assert_eq!(peer.ask("[]").await, "\"0 numbers\"");
        assert_eq!(server.handle.stats().handlers_failed, 0);
        server.stop().await.unwrap();
    }

    // Each error as the answer to the first datagram of its handler and to a later one.
    async fn h6_receiving_goes_on_after_every_error(world: World) {
        let protocol = DatagramProtocol::new(Counting::default());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let last = Arc::clone(&heard);
        let server = world
            .serve(Server::builder_fn(protocol, move |client, mut requests| {
                let heard = Arc::clone(&heard);
                async move {
                    loop {
                        let received = requests.recv().await;
                        let mut answer = told(&received);
                        if received.is_err() {
                            let next = requests.recv_timeout(Duration::ZERO).await;
                            answer = format!("{answer}, {}", told(&next));
                        }
                        if matches!(received, Err(RecvError::Closed)) {
                            heard.lock().unwrap().push(answer);
                            return Ok(());
                        }
                        client.send(answer.into()).await?;
                    }
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("bad").await, "no packet, timed out");
        assert_eq!(peer.ask("good").await, "good");
        assert_eq!(peer.ask("crash").await, "crashed: told to crash, timed out");
        assert_eq!(peer.ask("bad").await, "no packet, timed out");
        assert_eq!(peer.ask("better").await, "better");
        assert_eq!(server.handle.stats().handed_out, 5);
        let other = world.peer(server.addr).await;
        assert_eq!(other.ask("crash").await, "crashed: told to crash, timed out");
        server.stop().await.unwrap();
        assert_eq!(*last.lock().unwrap(), ["closed, closed", "closed, closed"]);
    }

    async fn h6_a_kept_requests_answers_closed_once_its_handler_has_ended(world: World) {
        let kept = Arc::new(Mutex::new(None));
        let (keep, ended) = (Arc::clone(&kept), Arc::new(Notify::new()));
        let has_ended = Arc::clone(&ended);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let keep = Arc::clone(&keep);
                let ended = CallOnDrop(Arc::clone(&has_ended));
                async move {
                    let _ended = ended;
                    let text = requests.recv().await?;
                    if text == "keep" {
                        *keep.lock().unwrap() = Some(requests);
                    }
                    client.send(text).await?;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("keep").await, "keep");
        ended.notified().await;
        let mut requests = kept.lock().unwrap().take().unwrap();
        for _ in 0..2 {
            assert!(matches!(requests.recv().await, Err(RecvError::Closed)));
        }
        // The next datagram is for the next handler.
        assert_eq!(peer.ask("next").await, "next");
        assert!(matches!(requests.recv().await, Err(RecvError::Closed)));
        server.stop().await.unwrap();
    }

    // Whosever requests they are: it would hold its worker.
    async fn h6_a_handler_that_is_told_closed_on_and_on_makes_pauses(world: World) {
        const RECEIVES: usize = 1_000;
        let kept = Arc::new(Mutex::new(None));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let kept = Arc::clone(&kept);
                async move {
                    if requests.recv().await? == "keep" {
                        *kept.lock().unwrap() = Some(requests);
                        client.send("kept".into()).await?;
                        return Ok(());
                    }
                    let mut others = kept.lock().unwrap().take().ok_or("nothing is kept")?;
                    let mut told_on = pin!(async {
                        for _ in 0..RECEIVES {
                            assert_eq!(told(&others.recv().await), "closed");
                        }
                    });
                    let mut polls = 0;
                    poll_fn(|cx| {
                        polls += 1;
                        told_on.as_mut().poll(cx)
                    })
                    .await;
                    client.send(polls.to_string().into()).await?;
                    Ok(())
                }
            }))
            .await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(one.ask("keep").await, "kept");
        assert_eq!(two.ask("take").await, (1 + RECEIVES / 128).to_string());
        server.stop().await.unwrap();
    }

    async fn h6_a_handler_that_is_told_timed_out_on_and_on_makes_pauses(world: World) {
        const RECEIVES: usize = 1_000;
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                let mut told_on = pin!(async {
                    for _ in 0..RECEIVES {
                        let result = requests.recv_timeout(Duration::ZERO).await;
                        assert_eq!(told(&result), "timed out");
                    }
                });
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    told_on.as_mut().poll(cx)
                })
                .await;
                client.send(polls.to_string().into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, (1 + RECEIVES / 128).to_string());
        server.stop().await.unwrap();
    }

    async fn h6_a_receive_elsewhere_learns_that_its_handler_ended(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                let (began, begin) = tokio::sync::oneshot::channel();
                let teller = client.clone();
                tokio::spawn(async move {
                    let mut receive = pin!(requests.recv());
                    let mut began = Some(began);
                    let result = poll_fn(|cx| {
                        let poll = receive.as_mut().poll(cx);
                        began.take().map(|began| began.send(()));
                        poll
                    });
                    let answer = told(&result.await);
                    teller.send(answer.into()).await
                });
                begin.await?; // it waits by now
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "closed");
        server.stop().await.unwrap();
    }
}

struct CallOnDrop(Arc<Notify>);

impl Drop for CallOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
