//! L2: a client with no handler running and nothing queued leaves nothing behind.

mod common;
use common::*;

use std::sync::Arc;

use tokio::sync::Notify;

/// A handler that says when it is busy, and goes on when it is told to.
fn busy_then<F, Fut>(go: &Arc<Notify>, then: F) -> postbox_server::ServerBuilder
where
    F: Fn(
            Vec<u8>,
            postbox_server::Client<bytes::Bytes>,
            postbox_server::Requests<bytes::Bytes>,
        ) -> Fut
        + Clone
        + Send
        + Sync
        + 'static,
    Fut: Future<Output = Result<(), postbox_server::BoxError>> + Send + 'static,
{
    let go = Arc::clone(go);
    raw_server(move |client, mut requests| {
        let (go, then) = (Arc::clone(&go), then.clone());
        async move {
            let first = requests.recv().await?;
            client.send("busy".into()).await?;
            go.notified().await;
            then(first.to_vec(), client, requests).await
        }
    })
}

contract! {
    async fn l2_the_next_client_finds_an_open_postbox(world: World) {
        let go = Arc::new(Notify::new());
        let server = world
            .serve(busy_then(&go, |_, client, mut requests| async move {
                let second = requests.recv().await?;
                client.send(second).await?;
                Ok(())
            }))
            .await;
        // Each client's second datagram waits while its handler is busy, in memory that the client
        // before has used.
        for text in ["one", "two", "three"] {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("first").await, "busy");
            peer.send(text).await;
            server.queued(1).await;
            go.notify_one();
            assert_eq!(peer.recv_text().await, text);
        }
        server.stop().await.unwrap();
    }

    async fn l2_the_next_client_is_not_taken_for_one_that_has_received(world: World) {
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let go = Arc::clone(&goes);
                async move {
                    if client.remote_addr().ip().to_string() == "127.0.0.2" {
                        go.notified().await; // and refuses without having received
                        return Ok(());
                    }
                    requests.recv().await?;
                    client.send("busy".into()).await?;
                    go.notified().await;
                    requests.recv().await?; // queued
                    client.send("waits".into()).await?;
                    client.send(requests.recv().await?).await?;
                    Ok(())
                }
            }))
            .await;
        let first = world.peer(server.addr).await;
        assert_eq!(first.ask("a").await, "busy");
        first.send("b").await;
        server.queued(1).await;
        go.notify_one();
        assert_eq!(first.recv_text().await, "waits");
        assert_eq!(first.ask("c").await, "c");

        let refused = world.peer_at("127.0.0.2:0".parse().unwrap(), server.addr).await;
        refused.send("d").await;
        server.queued(1).await;
        go.notify_one();
        server.queued(0).await;
        let stats = server.handle.stats();
        assert_eq!((stats.discarded, stats.handlers_returned), (1, 2));
        server.stop().await.unwrap();
    }
}
