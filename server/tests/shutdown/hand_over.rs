//! V11: what users with odd timing do to a hand over.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{RecvError, Requests};
use socket2::SockRef;
use tokio::sync::{Notify, mpsc};

use super::{HOUR, told};
use crate::common::service::*;
use crate::common::*;
use crate::contract;

/// Asks again and again whether anything is there.
async fn look(requests: &mut Requests<Bytes>) -> Result<Bytes, RecvError> {
    loop {
        match requests.recv_timeout(Duration::ZERO).await {
            Err(RecvError::TimedOut) => tokio::task::yield_now().await,
            result => return result,
        }
    }
}

contract! {
    /// Nothing was ever queued here. Meanwhile what comes is left to the next owner.
    async fn v11_a_receive_without_patience_is_told_of_a_hand_over_too(world: World) {
        let (go, journal) = (Arc::new(Notify::new()), Journal::default());
        let (goes, entries) = (Arc::clone(&go), journal.clone());
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let (go, journal) = (Arc::clone(&goes), entries.clone());
                async move {
                    let request = requests.recv().await?;
                    client.send(request.clone()).await?;
                    if request == "busy" {
                        let told = told(look(&mut requests).await);
                        journal.add(String::from_utf8(told.to_vec())?);
                        go.notified().await;
                        client.send("done".into()).await?;
                    }
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("busy").await, "busy");
        let handle = server.handle.clone();
        let hand_over = tokio::spawn(async move { handle.hand_over(HOUR).await });
        journal.wait_for("closed").await;
        let newcomer = world.peer(server.addr).await;
        newcomer.send("later").await;
        go.notify_one();
        assert_eq!(peer.recv_text().await, "done");
        hand_over.await.unwrap();
        server.serving.await.unwrap().unwrap();
        assert_eq!(server.handle.stats().received, 1);
        let server = TestServer::start(server.server).await;
        assert_eq!(newcomer.recv_text().await, "later");
        server.stop().await.unwrap();
    }

    async fn v11_a_receive_without_patience_in_another_task_is_told_of_it_too(world: World) {
        let (tell, mut heard) = mpsc::unbounded_channel();
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let tell = tell.clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    let task = tokio::spawn(async move { told(look(&mut requests).await) });
                    tell.send(task.await?)?;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("busy").await, "busy");
        server.handle.hand_over(HOUR).await;
        assert_eq!(heard.recv().await.unwrap(), "closed");
        server.stop().await.unwrap();
    }

    async fn v11_after_a_hand_over_the_server_can_serve_and_hand_over_again(world: World) {
        let mut server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        for round in 1..=3 {
            assert_eq!(peer.ask("asks").await, "asks");
            server.handle.hand_over(HOUR).await;
            server.serving.await.unwrap().unwrap();
            assert!(!server.handle.is_draining() && server.handle.is_listening());
            peer.send("meanwhile").await;
            server = TestServer::start(server.server).await;
            assert_eq!(peer.recv_text().await, "meanwhile", "round {round}");
        }
        let stats = server.handle.stats();
        assert_eq!((stats.received, stats.dropped()), (6, 0));
        server.stop().await.unwrap();
    }

    async fn v11_a_hand_over_holds_for_every_worker(world: World) {
        let server = world.serve(echo().workers(3)).await;
        let mut peers = Vec::new();
        for _ in 0..24 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("before").await, "before");
            peers.push(peer);
        }
        server.handle.hand_over(Duration::MAX).await;
        server.serving.await.unwrap().unwrap();
        for peer in &peers {
            peer.send("after").await;
        }
        assert_eq!(server.handle.stats().received, 24);
        let server = TestServer::start(server.server).await;
        for peer in &peers {
            assert_eq!(peer.recv_text().await, "after");
        }
        server.stop().await.unwrap();
    }

    on udp, plain;
    async fn v12_v11_a_hand_over_during_service_init_leaves_sockets_to_their_next_owner(world: World) {
        let journal = Journal::default();
        let begun = journal.clone();
        let builder = echo_with_init(move |_| {
            let begun = begun.clone();
            Box::pin(async move {
                begun.add("begun");
                std::future::pending().await
            })
        });
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let next = socket.try_clone().unwrap();
        let plain = world.kind == Kind::Plain;
        let server = builder.plain_transport(plain).from_sockets([socket]).unwrap();
        let serving = tokio::spawn(server.serve_forever());
        journal.wait_for("begun").await;
        server.handle().hand_over(HOUR).await;
        serving.await.unwrap().unwrap();
        server.close().await;
        // Its next owner relies on that.
        assert!(SockRef::from(&next).nonblocking().unwrap());
    }
}
