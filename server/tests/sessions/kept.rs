//! C6: the answers that are kept: which, how many, for how long.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::once::Asked;
use crate::common::*;
use crate::{contract, paused};
use bytes::Bytes;
use postbox_server::{Client, Limits, Session};

/// How long answers are kept if nothing else is said.
const TIME: Duration = Duration::from_secs(60);

contract! {
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
