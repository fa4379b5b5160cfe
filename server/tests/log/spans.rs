//! H11: a span for each run of a handler.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{Limits, ServerBuilder, Session};
use tokio::sync::Notify;
use tracing::Level;

use crate::common::*;
use crate::{contract, paused};

/// Fails, panics, or receives as many as it is told and answers the last.
fn obedient() -> ServerBuilder {
    raw_server(|client, mut requests| async move {
        let mut request = requests.recv().await?;
        tracing::info!(target: "postbox::test", count = 1, "handles");
        match &request[..] {
            b"fail" => return Err("no such thing".into()),
            b"panic" => panic!("no manners"),
            b"wait" => std::future::pending().await,
            _ => {}
        }
        let more: usize = std::str::from_utf8(&request)?.parse()?;
        for _ in 0..more {
            request = requests.recv().await?;
        }
        client.send(request).await?;
        Ok(())
    })
}

contract! {
    async fn h11_each_run_has_a_span_with_its_client_requests_and_outcome(world: World) {
        world.logs.keep_spans();
        let server = world.serve(obedient()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("0").await, "0");
        for text in ["2", "one", "two"] {
            peer.send(text).await;
        }
        assert_eq!(peer.recv_text().await, "two");
        for text in ["fail", "panic", "wait"] {
            peer.send(text).await;
        }
        server.stats_where(|stats| stats.handlers_panicked == 1 && stats.handed_out == 7).await;
        server.stats_where(|stats| stats.waiting_clients == 1).await;
        let client = peer.addr().to_string();
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        let spans = world.logs.spans();
        let expected = [
            ("returned", "1"),
            ("returned", "3"),
            ("failed", "1"),
            ("panicked", "1"),
            ("cancelled", "1"),
        ];
        assert_eq!(spans.len(), expected.len(), "{spans:#?}");
        for (span, (outcome, requests)) in spans.iter().zip(expected) {
            assert_eq!((span.name, span.level), ("run", Level::DEBUG));
            assert!(span.closed && span.entered == 0, "{span:#?}");
            assert_eq!(span.field("client"), Some(&*client));
            assert_eq!(span.field("session"), None);
            assert_eq!(span.field("outcome"), Some(outcome), "{spans:#?}");
            assert_eq!(span.field("requests"), Some(requests), "{spans:#?}");
            let duration: f64 = span.field("duration").unwrap().parse().unwrap();
            assert!((0.0..HANG.as_secs_f64()).contains(&duration));
            assert!(span.events[0].contains("handles"), "{span:#?}");
        }
        // What the server tells of a run is in its span too.
        assert!(spans[2].events[1].contains("no such thing"), "{spans:#?}");
        assert!(spans[3].events[1].contains("no manners"), "{spans:#?}");
        assert_eq!(handle.stats().handlers_cancelled, 1);
        assert_eq!(world.logs.take().len(), 2);
    }

    // With a session key they are told apart, and one that makes room says so.
    async fn h11_a_span_tells_the_session_and_an_eviction(world: World) {
        world.logs.keep_spans();
        let limits = Limits::default().clients(1);
        let builder = obedient().session_key(Session::bytes(0..1)).limits(limits);
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        peer.send("1").await;
        server.stats_where(|stats| stats.waiting_clients == 1).await;
        assert_eq!(peer.ask("0").await, "0");
        server.stats_where(|stats| stats.handlers_evicted == 1).await;
        server.stop().await.unwrap();
        let spans = world.logs.spans();
        let of = |outcome| {
            let mut spans = spans.iter();
            spans.find(|span| span.field("outcome") == Some(outcome)).unwrap()
        };
        let (evicted, returned) = (of("evicted"), of("returned"));
        let session = evicted.field("session").unwrap();
        assert_eq!(session.len(), 16);
        assert_eq!(evicted.field("client"), Some(&*format!("{} #{session}", peer.addr())));
        assert_ne!(Some(session), returned.field("session"));
        world.logs.take_lost();
    }

    async fn h11_a_subscriber_that_panics_at_spans_ends_nothing(world: World) {
        world.logs.keep_spans();
        world.logs.panic_at_spans();
        let server = world.serve(obedient()).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..3 {
            assert_eq!(peer.ask("0").await, "0");
            peer.send("1").await;
            assert_eq!(peer.ask("two").await, "two");
        }
        let stats = server.stats_where(|stats| stats.handlers_returned == 6).await;
        assert_eq!(stats.handlers_panicked, 0);
        server.stop().await.unwrap();
    }
}

paused! {
    async fn h11_a_span_tells_how_long_its_run_took_and_what_it_took_from_its_queue(world: World) {
        world.logs.keep_spans();
        let gate = Arc::new(Notify::new());
        let waits = Arc::clone(&gate);
        let server = world.serve(raw_server(move |client, mut requests| {
            let gate = Arc::clone(&waits);
            async move {
                let request: Bytes = requests.recv().await?;
                gate.notified().await;
                requests.recv().await?;
                client.send(request).await?;
                Ok(())
            }
        })).await;
        let peer = world.peer(server.addr).await;
        peer.send("hello").await;
        server.stats_where_time_passes(|stats| stats.waiting_clients == 1).await;
        peer.send("waits in the queue").await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        gate.notify_one();
        peer.recv().await;
        server.stop().await.unwrap();
        let spans = world.logs.spans();
        let duration: f64 = spans[0].field("duration").unwrap().parse().unwrap();
        assert!((2.5..2.6).contains(&duration), "{spans:#?}");
        assert_eq!(spans[0].field("requests"), Some("2"));
    }
}
