//! What strangers do where there are sessions.

use std::io;
use std::sync::{Arc, Mutex};

use crate::common::service::Journal;
use crate::common::*;
use crate::contract;
use bytes::Bytes;
use postbox_server::{Client, Limits, ServerBuilder, Session, WhenFull};

/// Conversations that never end, each datagram answered; a session for each first byte.
fn endless() -> ServerBuilder {
    let builder = raw_server(|client, mut requests| async move {
        while let Ok(request) = requests.recv().await {
            client.send(request).await?;
        }
        Ok(())
    });
    builder.session_key(Session::bytes(0..1))
}

contract! {
    async fn l9_one_address_with_many_keys_locks_nobody_out(world: World) {
        let limits = Limits::default().clients(8);
        let server = world.serve(endless().limits(limits)).await;
        let (greedy, good) = (world.peer(server.addr).await, world.peer(server.addr).await);
        assert_eq!(good.ask("a").await, "a");
        for key in 0..200 {
            assert_eq!(greedy.ask([key / 2]).await.as_bytes(), [key / 2]);
            // In mid-conversation, and so no one to go for those.
            assert_eq!(good.ask("a").await, "a");
        }
        let newcomer = world.peer(server.addr).await;
        assert_eq!(newcomer.ask("b").await, "b");
        let stats = server.handle.stats();
        assert_eq!((stats.waiting_clients, stats.dropped()), (8, 0));
        assert_eq!(stats.handlers_evicted, 102 - 8);
        assert_eq!(stats.handlers_returned, 0);
        server.stop().await.unwrap();
        world.logs.take_lost();
    }

    async fn l1_sessions_and_runs_of_one_address_are_in_the_bound_of_its_prefix(world: World) {
        let limits = || Limits::default().clients_per_prefix(2);
        let many = raw_server(|_, mut requests| async move {
            requests.recv().await?;
            std::future::pending().await
        });
        for builder in [endless(), many.concurrency(9)] {
            let server = world.serve(builder.limits(limits().grace(std::time::Duration::ZERO))).await;
            let peer = world.peer(server.addr).await;
            for text in ["a", "b", "c"] {
                peer.send(text).await;
            }
            let stats = server.settled(3).await;
            assert_eq!((stats.waiting_clients, stats.dropped_prefix_bound), (2, 1));
            server.stop().await.unwrap();
            world.logs.take();
            world.logs.take_lost();
        }
    }

    on memory;
    async fn l6_the_key_is_asked_after_the_source_and_before_the_bounds(world: World) {
        let asked = Journal::default();
        let journal = asked.clone();
        let builder = endless().session_key(move |datagram, origin| {
            journal.add(String::from_utf8_lossy(datagram));
            match datagram {
                b"no" => Session::Refuse,
                _ => origin.key(datagram),
            }
        });
        let limits = Limits::default().clients(1).when_full(WhenFull::Refuse);
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("a").await, "a");
        for nobody in ["127.0.0.1:0", "224.0.0.1:9", "255.255.255.255:9"] {
            world.network.send_from(nobody.parse().unwrap(), b"?", server.addr).unwrap();
        }
        for text in ["no", "b"] {
            peer.send(text).await;
        }
        let stats = server.settled(6).await;
        assert_eq!(asked.entries(), ["a", "no", "b"]);
        let dropped = (stats.dropped_source, stats.dropped_refused, stats.dropped_clients_bound);
        assert_eq!(dropped, (3, 1, 1));
        server.stop().await.unwrap();
        world.logs.take_lost();
    }

    async fn h15_a_key_that_sends_does_so_as_from_another_thread(world: World) {
        let kept = Arc::new(Mutex::new(None::<Client<Bytes>>));
        let (keeps, sends) = (Arc::clone(&kept), Arc::clone(&kept));
        let builder = raw_server(move |client, mut requests| {
            *keeps.lock().unwrap() = Some(client.clone());
            async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        });
        let server = world.serve(builder.session_key(move |datagram, origin| {
            if let Some(client) = sends.lock().unwrap().take() {
                client.try_send("from the key".into()).unwrap();
            }
            origin.key(datagram)
        })).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("a").await, "a");
        peer.send("b").await;
        let mut answers = [peer.recv_text().await, peer.recv_text().await];
        answers.sort();
        assert_eq!(answers, ["b", "from the key"]);
        kept.lock().unwrap().take();
        server.stop().await.unwrap();
    }

    async fn h11_a_log_that_sends_is_told_of_a_key_that_panics(world: World) {
        let kept = Arc::new(Mutex::new(None::<Client<Bytes>>));
        let keeps = Arc::clone(&kept);
        let builder = raw_server(move |client, mut requests| {
            *keeps.lock().unwrap() = Some(client.clone());
            async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        });
        let server = world.serve(builder.session_key(|datagram, origin| {
            assert!(datagram != b"boom", "no such key");
            origin.key(datagram)
        })).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("a").await, "a");
        let client = kept.lock().unwrap().take().unwrap();
        world.logs.hook(move || drop(client.try_send("from the log".into())));
        assert_eq!(peer.ask("boom").await, "from the log");
        world.logs.hook(|| {});
        peer.send("b").await;
        while peer.recv_text().await != "b" {} // what the key refuses has a line of its own
        kept.lock().unwrap().take();
        server.stop().await.unwrap();
        assert!(!world.logs.take().is_empty());
        world.logs.take_lost();
    }

    on memory;
    async fn v7_what_fails_to_leave_is_told_to_the_next_run_of_the_same_address(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            let request = requests.recv().await?;
            let told = client.flush().await.is_ok();
            client.send(format!("{told:?} {}", request.len()).into()).await?;
            Ok(())
        });
        let builder = builder.session_key(|datagram, _| match datagram {
            b"" => Session::Address,
            _ => Session::Each,
        });
        let server = world.serve(builder).await;
        let (peer, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
        // They are one client, by whatever answer of the key.
        for (lost, tells, answer) in [("x", "", "false 0"), ("", "x", "false 1")] {
            let error = || io::ErrorKind::PermissionDenied.into();
            world.network.fail_sends(peer.addr(), Some(error));
            let before = server.handle.stats().send_errors;
            peer.send(lost).await;
            server.stats_where(|stats| stats.send_errors > before).await;
            world.network.fail_sends(peer.addr(), None);
            assert_eq!(other.ask("x").await, "true 1");
            assert_eq!(peer.ask(tells).await, answer);
            assert_eq!(peer.ask("x").await, "true 1");
        }
        world.logs.wait_for(1).await;
        server.stop().await.unwrap();
        world.logs.take();
    }
}
