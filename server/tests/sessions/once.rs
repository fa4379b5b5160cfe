//! C6: at most once. The first byte of a datagram is the number of its question.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::service::Journal;
use crate::common::*;
use crate::contract;
use bytes::Bytes;
use postbox_server::{Server, ServerBuilder, ServerHandle, Session};
use tokio::sync::Notify;

/// Each question is written down, and answered with what came and how often the server has been
/// asked: so another run would give another answer.
pub(super) struct Asked {
    pub(super) journal: Journal,
    pub(super) gate: Arc<Notify>,
}

impl Asked {
    pub(super) fn new() -> Self {
        let (journal, gate) = (Journal::default(), Arc::default());
        Self { journal, gate }
    }

    pub(super) fn builder(&self) -> ServerBuilder {
        let (journal, gate) = (self.journal.clone(), Arc::clone(&self.gate));
        let builder = raw_server(move |client, mut requests| {
            let (journal, gate) = (journal.clone(), Arc::clone(&gate));
            async move {
                let request = requests.recv().await?;
                let text = String::from_utf8_lossy(&request).into_owned();
                journal.add(&text);
                let answer = Bytes::from(format!("{text} {}", journal.entries().len()));
                if text.contains("wait") {
                    gate.notified().await;
                }
                match &text[1..] {
                    "none" => return Ok(()),
                    "error" => return Err("no such thing".into()),
                    "panic" => panic!("no manners"),
                    "twice" => client.send(answer.clone()).await?,
                    "-again" => {
                        let second = requests.recv().await.unwrap_err();
                        client.send(second.to_string().into()).await?;
                        return Ok(());
                    }
                    "late" => {
                        tokio::spawn(async move {
                            gate.notified().await;
                            client.send(answer).await.unwrap();
                        });
                        return Ok(());
                    }
                    _ => {}
                }
                client.send(answer).await?;
                Ok(())
            }
        });
        builder.at_most_once(Session::bytes(0..1))
    }
}

contract! {
    async fn c6_a_repeated_question_is_given_its_answer_and_no_handler(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        let peer = world.peer(server.addr).await;
        for (text, answer) in [("ahello", "ahello 1"), ("bhello", "bhello 2")] {
            for _ in 0..3 {
                assert_eq!(peer.ask(text).await, answer);
            }
        }
        let stats = server.stats_where(|stats| stats.sent == 6).await;
        assert_eq!((stats.handed_out, stats.answered_again), (2, 4));
        assert_eq!((stats.handlers_returned, stats.dropped()), (2, 0));
        server.stop().await.unwrap();
    }

    async fn c6_a_number_is_of_its_address(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        for answer in ["ahello 1", "ahello 2"] {
            assert_eq!(world.peer(server.addr).await.ask("ahello").await, answer);
        }
        server.stop().await.unwrap();
    }

    async fn c6_a_question_whose_handler_still_runs_is_dropped(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..3 {
            peer.send("await").await;
        }
        let stats = server.settled(3).await;
        assert_eq!((stats.handed_out, stats.dropped_repeated, stats.queued), (1, 2, 0));
        assert_eq!(stats.dropped(), 2);
        // Others of this address are handled meanwhile.
        assert_eq!(peer.ask("bhello").await, "bhello 2");
        asked.gate.notify_one();
        assert_eq!(peer.recv_text().await, "await 1");
        assert_eq!(peer.ask("await").await, "await 1");
        server.stop().await.unwrap();
    }

    async fn c6_a_question_that_was_not_answered_is_not_handled_again(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        let peer = world.peer(server.addr).await;
        for text in ["anone", "berror", "cpanic"] {
            peer.send(text).await;
            peer.send(text).await;
        }
        assert_eq!(peer.ask("dhello").await, "dhello 4");
        let stats = server.settled(7).await;
        assert_eq!((stats.handed_out, stats.dropped_repeated), (4, 3));
        world.logs.wait_for(2).await;
        server.stop().await.unwrap();
    }

    async fn c6_a_question_that_was_discarded_is_not_handled_again(world: World) {
        let builder = raw_server(|_, _| async { Ok(()) });
        let builder = builder.at_most_once(Session::bytes(0..1));
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        peer.send("a").await;
        peer.send("a").await;
        let stats = server.settled(2).await;
        assert_eq!((stats.discarded, stats.dropped_repeated), (1, 1));
        server.stop().await.unwrap();
    }

    async fn c6_the_first_datagram_that_a_handler_sends_is_the_answer(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        let peer = world.peer(server.addr).await;
        peer.send("atwice").await;
        for _ in 0..2 {
            assert_eq!(peer.recv_text().await, "atwice 1");
        }
        assert_eq!(peer.ask("atwice").await, "atwice 1");
        assert_eq!(peer.ask("bhello").await, "bhello 2");
        server.stop().await.unwrap();
    }

    async fn c6_an_answer_that_another_task_gives_later_is_kept_too(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        let peer = world.peer(server.addr).await;
        peer.send("alate").await;
        server.stats_where(|stats| stats.handlers_returned == 1).await;
        asked.gate.notify_one();
        assert_eq!(peer.recv_text().await, "alate 1");
        assert_eq!(peer.ask("alate").await, "alate 1");
        server.stop().await.unwrap();
    }

    async fn c6_a_run_is_of_one_question(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        let peer = world.peer(server.addr).await;
        let answer = peer.ask("a-again").await;
        assert!(answer.starts_with("closed: the handler has ended"), "{answer}");
        server.stop().await.unwrap();
    }

    async fn c6_what_has_no_number_is_handled_each_time(world: World) {
        let builder = Server::builder_answer_fn(raw(), async |request| request);
        let builder = builder.at_most_once(|datagram, origin| match datagram.first() {
            Some(b'e') => Session::Each,
            Some(number) => origin.key(number),
            None => Session::Address,
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for text in ["each", "each", "", "", "once", "once"] {
            assert_eq!(peer.ask(text).await, text);
        }
        let stats = server.stats_where(|stats| stats.sent == 6).await;
        assert_eq!((stats.handed_out, stats.answered_again), (5, 1));
        server.stop().await.unwrap();
    }

    async fn c6_l6_a_repeated_question_has_to_be_admitted_too(world: World) {
        let asked = Asked::new();
        let left = AtomicU32::new(3);
        let builder = asked.builder().admit(move |incoming| {
            incoming.len() == 6 && left.fetch_sub(1, Ordering::Relaxed) > 0
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..3 {
            assert_eq!(peer.ask("ahello").await, "ahello 1");
        }
        peer.send("ahello").await;
        let stats = server.settled(4).await;
        assert_eq!((stats.answered_again, stats.dropped_refused), (2, 1));
        server.stop().await.unwrap();
    }

    on memory;
    async fn c6_v4_from_its_start_a_shutdown_answers_nothing_again(world: World) {
        let stops = Arc::new(Mutex::new(None::<ServerHandle>));
        let to = Arc::clone(&stops);
        let builder = raw_server(move |client, mut requests| {
            let handle = to.lock().unwrap().clone().unwrap();
            async move {
                let request = requests.recv().await?;
                client.send(request.clone()).await?;
                if request.ends_with(b"stop") {
                    tokio::select! {
                        biased;
                        () = handle.shutdown() => {}
                        () = std::future::ready(()) => {}
                    }
                }
                Ok(())
            }
        });
        let server = world.bind(builder.at_most_once(Session::bytes(0..1))).await;
        *stops.lock().unwrap() = Some(server.handle());
        let to = server.handle().addresses()[0];
        let peer = world.peer(to).await;
        let serving = tokio::spawn(server.serve_forever());
        assert_eq!(peer.ask("agoes").await, "agoes");
        world.network.send_coalesced(peer.addr(), b"bstopagoesbstop", 5, to);
        serving.await.unwrap().unwrap();
        let stats = server.handle().stats();
        assert_eq!((stats.handed_out, stats.dropped_shutdown, stats.answered_again), (2, 2, 0));
        assert_eq!(peer.recv_text().await, "bstop");
    }

    on memory;
    async fn c6_segments_of_one_receive_are_questions_of_their_own(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"ahellobhelloahello", 6, server.addr);
        assert_eq!(peer.recv_text().await, "ahello 1");
        assert_eq!(peer.recv_text().await, "bhello 2");
        let stats = server.settled(3).await;
        assert_eq!((stats.handed_out, stats.dropped_repeated), (2, 1));
        // Both left in one go.
        for (text, answer) in [("ahello", "ahello 1"), ("bhello", "bhello 2")] {
            assert_eq!(peer.ask(text).await, answer);
        }
        server.stop().await.unwrap();
    }

    async fn c6_l2_without_it_a_repeated_question_is_handled_again(world: World) {
        let asked = Asked::new();
        let builder = asked.builder().session_key(Session::bytes(0..1));
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("ahello").await, "ahello 1");
        assert_eq!(peer.ask("ahello").await, "ahello 2");
        server.stop().await.unwrap();
    }

    async fn c6_conversations_are_beside_questions(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            let first = requests.recv().await?;
            match requests.recv().await {
                Ok(second) => client.send([first, second].concat().into()).await?,
                Err(_) => client.send(first).await?,
            }
            Ok(())
        });
        let builder = builder.session_key(|datagram, origin| match datagram {
            [b'?', number, ..] => origin.once(number),
            other => origin.key(other.get(1)),
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        peer.send(".1").await;
        for _ in 0..2 {
            assert_eq!(peer.ask("?1").await, "?1"); // the same key, and another session
        }
        assert_eq!(peer.ask("!1").await, ".1!1");
        assert_eq!(server.handle.stats().answered_again, 1);
        server.stop().await.unwrap();
    }
}
