//! Sessions by their key: side by side, each in its own order.

use std::sync::{Arc, Mutex};

use crate::common::service::Journal;
use crate::common::*;
use crate::contract;
use bytes::Bytes;
use postbox_server::{Client, Limits, ServerBuilder, Session};
use tokio::sync::Notify;

/// Conversations of two requests, each answered with both; a session for each first byte.
fn pairs() -> ServerBuilder {
    let builder = raw_server(|client, mut requests| async move {
        let first = requests.recv().await?;
        let second = requests.recv().await?;
        client.send([first, second].concat().into()).await?;
        Ok(())
    });
    builder.session_key(Session::bytes(0..1))
}

contract! {
    async fn h15_sessions_of_one_address_run_side_by_side_each_in_its_own_order(world: World) {
        let server = world.serve(pairs()).await;
        let peer = world.peer(server.addr).await;
        for text in ["a1", "b1", "c1", "b2", "a2", "c2", "b3", "b4"] {
            peer.send(text).await;
        }
        for text in ["b1b2", "a1a2", "c1c2", "b3b4"] {
            assert_eq!(peer.recv_text().await, text);
        }
        let stats = server.stats_where(|stats| stats.handlers_returned == 4).await;
        assert_eq!((stats.received, stats.handed_out, stats.waiting_clients), (8, 8, 0));
        server.stop().await.unwrap();
    }

    async fn h15_a_key_is_of_its_address(world: World) {
        let server = world.serve(pairs()).await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        one.send("a1").await;
        two.send("a2").await;
        server.stats_where(|stats| stats.waiting_clients == 2).await;
        assert_eq!(one.ask("a3").await, "a1a3");
        assert_eq!(two.ask("a4").await, "a2a4");
        server.stop().await.unwrap();
    }

    async fn h15_what_a_busy_session_is_sent_waits_in_its_own_queue(world: World) {
        let gate = Arc::new(Notify::new());
        let (open, entries) = (Arc::clone(&gate), Journal::default());
        let journal = entries.clone();
        let builder = raw_server(move |client, mut requests| {
            let (gate, journal) = (Arc::clone(&gate), journal.clone());
            async move {
                let request = requests.recv().await?;
                journal.add(String::from_utf8_lossy(&request));
                if request.starts_with(b"a") {
                    gate.notified().await;
                }
                client.send(request).await?;
                Ok(())
            }
        });
        let limits = Limits::default().client_datagrams(2);
        let server = world.serve(builder.session_key(Session::bytes(0..1)).limits(limits)).await;
        let peer = world.peer(server.addr).await;
        // The bound is of each session: the fourth is one too many.
        for text in ["a1", "a2", "a3", "a4"] {
            peer.send(text).await;
        }
        let stats = server.settled(4).await;
        assert_eq!((stats.queued, stats.dropped_client_bound), (2, 1));
        assert_eq!(peer.ask("b1").await, "b1");
        for text in ["a1", "a2", "a3"] {
            open.notify_one();
            assert_eq!(peer.recv_text().await, text);
        }
        assert_eq!(entries.entries(), ["a1", "b1", "a2", "a3"]);
        server.stop().await.unwrap();
    }

    async fn h15_a_handler_that_receives_nothing_discards_one_datagram_of_its_session(world: World) {
        let last = Arc::new(Mutex::new(None::<Client<Bytes>>));
        let builder = raw_server(move |client, mut requests| {
            let again = last.lock().unwrap().replace(client.clone()) == Some(client.clone());
            async move {
                if again {
                    client.send(requests.recv().await?).await?;
                }
                Ok(())
            }
        });
        let server = world.serve(builder.session_key(Session::bytes(0..1))).await;
        let peer = world.peer(server.addr).await;
        peer.send("a1").await;
        peer.send("b1").await;
        assert_eq!(peer.ask("b2").await, "b2");
        peer.send("a2").await;
        assert_eq!(peer.ask("a3").await, "a3");
        assert_eq!(server.handle.stats().discarded, 3);
        server.stop().await.unwrap();
    }

    async fn h15_the_address_is_a_session_as_without_a_key(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            let first = requests.recv().await?;
            let second = requests.recv().await?;
            client.send([first, second].concat().into()).await?;
            Ok(())
        });
        let builder = builder.session_key(|datagram, origin| match datagram {
            [b'k', key, ..] => origin.key(key),
            _ => Session::Address,
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for text in ["1", "k1", "2", "k2", "k1"] {
            peer.send(text).await;
        }
        assert_eq!(peer.recv_text().await, "12");
        assert_eq!(peer.recv_text().await, "k1k1");
        assert_eq!(peer.ask("k2").await, "k2k2");
        server.stop().await.unwrap();
    }

    async fn h15_what_the_key_refuses_is_dropped_and_counted_and_told(world: World) {
        let builder = echo().session_key(|datagram, origin| match datagram {
            b"no" => Session::Refuse,
            _ => origin.key(datagram),
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for text in ["no", "no", "yes"] {
            peer.send(text).await;
        }
        assert_eq!(peer.recv_text().await, "yes");
        let stats = server.settled(3).await;
        assert_eq!((stats.dropped_refused, stats.handed_out), (2, 1));
        assert_eq!(server.handle.refusals(), [("session key", 2)]);
        let [told] = &world.logs.wait_for_lost(1).await[..] else { panic!("one line") };
        assert!(told.message.contains("the session key"), "{told:?}");
        server.stop().await.unwrap();
    }

    async fn h15_a_key_that_panics_refuses_and_is_logged_with_a_limit(world: World) {
        let builder = echo().session_key(|datagram, origin| {
            assert!(datagram != b"boom", "no such key");
            origin.key(datagram)
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..20 {
            peer.send("boom").await;
        }
        assert_eq!(peer.ask("yes").await, "yes");
        let stats = server.settled(21).await;
        assert_eq!((stats.dropped_refused, stats.handed_out), (20, 1));
        assert_eq!(server.handle.refusals(), [("session key panicked", 20)]);
        server.stop().await.unwrap();
        let records = world.logs.take();
        assert!(records.len() <= 2, "{records:#?}");
        let first = "the session key panicked: no such key";
        assert_eq!(records[0].message, first, "{records:#?}");
    }

    async fn l6_the_key_is_asked_before_the_check_and_the_check_knows_the_session(world: World) {
        let entries = Journal::default();
        let (journal, check) = (entries.clone(), entries.clone());
        let builder = pairs().session_key(move |datagram, origin| {
            journal.add(format!("key of {} from {}", datagram[0], origin.remote_addr()));
            origin.key(datagram[0])
        });
        let builder = builder.admit(move |incoming| {
            check.add(format!("check of {}", incoming.has_handler()));
            true
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        peer.send([1]).await;
        peer.send([2]).await;
        peer.ask([1]).await;
        let own = peer.addr();
        let expected = [(1, false), (2, false), (1, true)].map(|(key, has_handler)| {
            [format!("key of {key} from {own}"), format!("check of {has_handler}")]
        });
        assert_eq!(entries.entries(), expected.as_flattened());
        server.stop().await.unwrap();
    }

    async fn h10_clients_are_equal_where_their_sessions_are_and_print_what_tells_them_apart(world: World) {
        let clients = Arc::new(Mutex::new(Vec::<Client<Bytes>>::new()));
        let seen = Arc::clone(&clients);
        let builder = raw_server(move |client, mut requests| {
            seen.lock().unwrap().push(client.clone());
            async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        });
        let server = world.serve(builder.session_key(|datagram, origin| match datagram {
            b"-" => Session::Address,
            key => origin.key(key),
        })).await;
        let peer = world.peer(server.addr).await;
        for text in ["a", "b", "a", "-"] {
            assert_eq!(peer.ask(text).await, text);
        }
        let clients = std::mem::take(&mut *clients.lock().unwrap());
        let [a, b, again, address] = &clients[..] else { panic!("four runs") };
        assert_eq!(a, again);
        assert_eq!(a.cmp(again), std::cmp::Ordering::Equal);
        let texts = [a, b, address].map(ToString::to_string);
        assert!(a != b && a != address && b != address, "{texts:?}");
        assert!(texts[0] != texts[1] && texts[0] == again.to_string());
        let own = peer.addr().to_string();
        assert!(texts[0].starts_with(&own) && texts[0].contains('#'), "{texts:?}");
        assert!(!texts[2].contains('#'), "{texts:?}");
        drop(clients);
        server.stop().await.unwrap();
    }

    on memory;
    async fn v7_what_fails_to_leave_is_told_to_its_own_session(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            loop {
                let text = match &requests.recv().await?[..] {
                    [_, b'f'] => format!("{:?}", client.flush().await.is_ok()),
                    [_, text @ ..] => String::from_utf8_lossy(text).into_owned(),
                    [] => return Ok(()),
                };
                client.send(text.into()).await?;
            }
        });
        let server = world.serve(builder.session_key(Session::bytes(0..1))).await;
        let peer = world.peer(server.addr).await;
        for text in ["a1", "b1"] {
            peer.ask(text).await;
        }
        let error = || std::io::ErrorKind::PermissionDenied.into();
        world.network.fail_sends(peer.addr(), Some(error));
        peer.send("a2").await;
        server.stats_where(|stats| stats.send_errors == 1).await;
        world.network.fail_sends(peer.addr(), None);
        for (text, answer) in [("bf", "true"), ("af", "false"), ("af", "true")] {
            assert_eq!(peer.ask(text).await, answer);
        }
        world.logs.wait_for(1).await;
        server.stop().await.unwrap();
    }

    on memory;
    async fn h15_coalesced_datagrams_are_asked_about_one_by_one(world: World) {
        let server = world.serve(pairs()).await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"a1b1b2a2b3", 2, server.addr);
        assert_eq!(peer.recv_text().await, "b1b2");
        assert_eq!(peer.recv_text().await, "a1a2");
        assert_eq!(peer.ask("b4").await, "b3b4");
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h15_a_datagram_is_read_by_the_key_up_to_where_it_was_cut(world: World) {
        let lens = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lens);
        let builder = echo().session_key(move |datagram, origin| {
            seen.lock().unwrap().push(datagram.len());
            origin.key(datagram)
        });
        let limits = Limits::default().receive_datagram(512);
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        peer.send("x".repeat(600)).await;
        peer.send("").await;
        assert_eq!(peer.recv_text().await, "");
        assert_eq!(*lens.lock().unwrap(), [512, 0]);
        let warned = world.logs.wait_for(1).await;
        assert!(warned[0].message.contains("bad datagram"), "{warned:?}");
        server.stop().await.unwrap();
    }
}
