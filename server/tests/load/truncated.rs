//! L4: a datagram that was cut is never decoded.

use std::time::Duration;

use postbox_server::{Limits, RecvError};

use crate::common::*;
use crate::contract;

contract! {
    on memory, udp;
    async fn l4_a_cut_datagram_is_counted_and_reported_and_never_decoded(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            loop {
                let answer = match requests.recv().await {
                    Ok(request) => format!("{} bytes", request.len()),
                    Err(RecvError::Truncated { received }) => format!("cut to {received}"),
                    Err(error) => return Err(error.into()),
                };
                client.send(answer.into()).await?;
            }
        });
        let limits = Limits::default().receive_datagram(100);
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask([1; 101]).await, "cut to 100", "as the first, before a handler");
        assert_eq!(peer.ask([1; 100]).await, "100 bytes");
        assert_eq!(peer.ask(vec![1; 60_000]).await, "cut to 100", "in a conversation");
        let stats = server.handle.stats();
        assert_eq!((stats.truncated, stats.handed_out), (2, 3));
        server.handle.shutdown().await;
        server.stop().await.unwrap();
    }

    on memory;
    async fn l4_of_coalesced_datagrams_only_the_last_is_reported_as_cut(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            loop {
                let answer = match requests.recv().await {
                    Ok(request) => request,
                    Err(error) => error.to_string().into(),
                };
                client.send(answer).await?;
            }
        });
        let limits = Limits::default().receive_datagram(5).grace(Duration::ZERO);
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"aabbcc", 2, server.addr);
        for text in ["aa", "bb", "the client's datagram was cut to 1 bytes"] {
            assert_eq!(peer.recv_text().await, text);
        }
        let stats = server.settled(3).await;
        assert_eq!((stats.received, stats.handed_out, stats.truncated), (3, 3, 1));
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn l4_a_cut_datagram_that_was_queued_is_still_known_as_cut(world: World) {
        let gate = std::sync::Arc::new(tokio::sync::Notify::new());
        let wait = std::sync::Arc::clone(&gate);
        let builder = raw_server(move |client, mut requests| {
            let gate = std::sync::Arc::clone(&wait);
            async move {
                client.send(requests.recv().await?).await?;
                gate.notified().await;
                let error = requests.recv().await.unwrap_err();
                client.send(error.to_string().into()).await?;
                Ok(())
            }
        });
        let limits = Limits::default().receive_datagram(10);
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("first").await, "first");
        peer.send("longer than ten bytes").await;
        server.queued(1).await;
        gate.notify_waiters();
        assert_eq!(peer.recv_text().await, "the client's datagram was cut to 10 bytes");
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn l4_the_transports_that_see_truncation_say_so(world: World) {
        let server = world.serve(echo()).await;
        assert!(server.handle.capabilities().truncation);
        server.stop().await.unwrap();
    }

    on plain;
    async fn l4_the_plain_transport_says_that_it_cannot_see_truncation(world: World) {
        let server = world.serve(echo()).await;
        assert!(!server.handle.capabilities().truncation);
        server.stop().await.unwrap();
    }

    async fn l4_by_default_nothing_is_cut(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            let request = requests.recv().await?;
            client.send(request.len().to_string().into()).await?;
            Ok(())
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask(vec![1; 65_507]).await, "65507");
        assert_eq!(server.handle.stats().truncated, 0);
        server.stop().await.unwrap();
    }
}
