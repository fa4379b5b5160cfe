//! C6: at most once. The first byte of a datagram is the number of its question.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::service::Journal;
use crate::common::*;
use crate::{contract, paused};
use bytes::Bytes;
use postbox_server::{Client, Limits, Server, ServerBuilder, ServerHandle, Session};
use tokio::sync::Notify;

/// How long answers are kept if nothing else is said.
const TIME: Duration = Duration::from_secs(60);

/// Each question is written down, and answered with what came and how often the server has been
/// asked: so another run would give another answer.
struct Asked {
    journal: Journal,
    gate: Arc<Notify>,
}

impl Asked {
    fn new() -> Self {
        let (journal, gate) = (Journal::default(), Arc::default());
        Self { journal, gate }
    }

    fn builder(&self) -> ServerBuilder {
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

    async fn c6_so_many_answers_are_kept_and_what_is_forgotten_is_told(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder().limits(Limits::default().answers(1))).await;
        let peer = world.peer(server.addr).await;
        for (text, answer) in [
            ("ahello", "ahello 1"),
            ("ahello", "ahello 1"),
            ("bhello", "bhello 2"),
            ("ahello", "ahello 3"),
        ] {
            assert_eq!(peer.ask(text).await, answer);
        }
        let stats = server.stats_where(|stats| stats.answers_forgotten == 2).await;
        assert_eq!(stats.answered_again, 1);
        server.stop().await.unwrap();
        let lost = world.logs.take_lost();
        assert!(lost[0].message.contains("answers forgotten early"), "{lost:?}");
    }

    async fn c6_so_many_bytes_of_answers_are_kept(world: World) {
        let asked = Asked::new();
        let limits = Limits::default().answer_bytes(128 + 7);
        let server = world.serve(asked.builder().limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("along one").await, "along one 1");
        assert_eq!(peer.ask("along one").await, "along one 2");
        assert_eq!(peer.ask("bshort").await, "bshort 3");
        server.stats_where(|stats| stats.answers_forgotten == 3).await;
        server.stop().await.unwrap();
        assert!(!world.logs.take_lost().is_empty());
    }

    async fn c6_another_serving_knows_nothing_of_the_answers_of_the_one_before(world: World) {
        let asked = Asked::new();
        let server = world.bind(asked.builder()).await;
        let handle = server.handle();
        let peer = world.peer(handle.addresses()[0]).await;
        for answer in ["ahello 1", "ahello 2"] {
            let serving = tokio::spawn(server.serve_forever());
            assert_eq!(peer.ask("ahello").await, answer);
            handle.shutdown().await;
            serving.await.unwrap().unwrap();
        }
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

    async fn c6_what_is_sent_after_the_answer_is_never_one(world: World) {
        let asked = Asked::new();
        let first = Arc::new(Mutex::new(None::<Client<Bytes>>));
        let (journal, keep) = (asked.journal.clone(), Arc::clone(&first));
        let builder = raw_server(move |client, mut requests| {
            let (journal, keep) = (journal.clone(), Arc::clone(&keep));
            async move {
                let request = requests.recv().await?;
                journal.add(String::from_utf8_lossy(&request));
                client.send(request).await?;
                keep.lock().unwrap().get_or_insert(client);
                Ok(())
            }
        });
        let builder = builder.at_most_once(Session::bytes(0..1));
        let server = world.serve(builder.limits(Limits::default().answers(1))).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("a").await, "a");
        assert_eq!(peer.ask("b").await, "b"); // of the first nothing is kept now
        let client = first.lock().unwrap().clone().unwrap();
        client.send("push".into()).await.unwrap();
        assert_eq!(peer.recv_text().await, "push");
        assert_eq!(peer.ask("b").await, "b");
        assert_eq!(peer.ask("a").await, "a");
        assert_eq!(asked.journal.entries(), ["a", "b", "a"]);
        server.stop().await.unwrap();
        world.logs.take_lost();
    }

    on memory;
    async fn c6_l1_what_is_answered_again_has_to_fit_into_the_outbox(world: World) {
        const LARGE: usize = 40_000; // of the smallest outbox, 66 KiB
        let builder = raw_server(|client, mut requests| async move {
            requests.recv().await?;
            client.send(vec![7; LARGE].into()).await?;
            Ok(())
        });
        let builder = builder.at_most_once(Session::bytes(0..1));
        let server = world.serve(builder.limits(Limits::default().outbox_bytes(0))).await;
        let peer = world.peer(server.addr).await;
        peer.send("a").await;
        assert_eq!(peer.recv().await.len(), LARGE);
        world.network.send_coalesced(peer.addr(), b"aaa", 1, server.addr);
        assert_eq!(peer.recv().await.len(), LARGE);
        let stats = server.settled(4).await;
        assert_eq!((stats.answered_again, stats.dropped_repeated), (1, 2));
        server.stop().await.unwrap();
    }

    on memory;
    async fn c6_an_answer_that_did_not_leave_is_kept_too(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        let peer = world.peer(server.addr).await;
        let refusal = || std::io::ErrorKind::PermissionDenied.into();
        world.network.fail_sends(peer.addr(), Some(refusal));
        peer.send("ahello").await;
        server.stats_where(|stats| stats.send_errors == 1).await;
        world.network.fail_sends(peer.addr(), None);
        assert_eq!(peer.ask("ahello").await, "ahello 1");
        world.logs.wait_for(1).await;
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
}

paused! {
    async fn c6_an_answer_is_kept_for_the_time_that_was_set(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("ahello").await, "ahello 1");
        tokio::time::sleep(TIME - Duration::from_secs(1)).await;
        assert_eq!(peer.ask("ahello").await, "ahello 1");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(peer.ask("ahello").await, "ahello 2");
        server.stop().await.unwrap();
    }

    async fn c6_a_question_that_was_answered_long_before_its_end_is_handled_again(world: World) {
        let asked = Asked::new();
        let (journal, gate) = (asked.journal.clone(), Arc::clone(&asked.gate));
        let builder = raw_server(move |client, mut requests| {
            let (journal, gate) = (journal.clone(), Arc::clone(&gate));
            async move {
                client.send(requests.recv().await?).await?;
                journal.add("answered");
                gate.notified().await;
                Ok(())
            }
        });
        let server = world.serve(builder.at_most_once(Session::bytes(0..1))).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("a").await, "a");
        assert_eq!(peer.ask("a").await, "a", "again, while its handler still runs");
        tokio::time::sleep(2 * TIME).await;
        asked.gate.notify_one();
        server.stats_where_time_passes(|stats| stats.handlers_returned == 1).await;
        asked.gate.notify_one();
        assert_eq!(peer.ask("a").await, "a");
        assert_eq!(asked.journal.entries().len(), 2);
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

    async fn c6_a_handler_may_run_longer_than_answers_are_kept(world: World) {
        let asked = Asked::new();
        let server = world.serve(asked.builder()).await;
        let peer = world.peer(server.addr).await;
        peer.send("await").await;
        tokio::time::sleep(3 * TIME).await;
        peer.send("await").await;
        server.stats_where_time_passes(|stats| stats.dropped_repeated == 1).await;
        asked.gate.notify_one();
        assert_eq!(peer.recv_text().await, "await 1");
        server.stop().await.unwrap();
    }
}
