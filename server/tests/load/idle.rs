//! L8: abandoned handlers end.

use std::future::poll_fn;
use std::time::Duration;

use futures_core::Stream;
use postbox_server::{Limits, RecvError, WhenFull};
use tokio::time::Instant;

use crate::common::*;
use crate::paused;

/// Answers when its second receive ends, with how it ended and after how many seconds.
fn second_receive() -> postbox_server::ServerBuilder {
    raw_server(|client, mut requests| async move {
        client.send(requests.recv().await?).await?;
        let begin = Instant::now();
        let error = requests.recv().await.unwrap_err();
        assert!(matches!(error, RecvError::TimedOut));
        client
            .send(format!("{}", begin.elapsed().as_secs()).into())
            .await?;
        Ok(())
    })
}

paused! {
    async fn l8_a_receive_without_a_timeout_ends_after_five_minutes(world: World) {
        let server = world.serve(second_receive()).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        tokio::time::sleep(Duration::from_secs(299)).await;
        assert!(peer.is_quiet());
        assert_eq!(peer.recv_text().await, "300");
        server.stop().await.unwrap();
    }

    async fn l8_the_idle_limit_is_the_users_to_set(world: World) {
        let limits = Limits::default().idle(Some(Duration::from_secs(7)));
        let server = world.serve(second_receive().limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(peer.recv_text().await, "7");
        server.stop().await.unwrap();
    }

    async fn l8_the_limit_holds_for_streams_and_for_receives_in_other_tasks(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            let first = requests.recv().await?;
            client.send(first.clone()).await?;
            let begin = Instant::now();
            let mut requests = Box::pin(requests);
            let ended = if first == "stream" {
                poll_fn(|cx| Stream::poll_next(requests.as_mut(), cx)).await
            } else {
                Some(tokio::spawn(async move { requests.recv().await }).await?)
            };
            assert!(matches!(ended, Some(Err(RecvError::TimedOut))));
            client.send(format!("{}", begin.elapsed().as_secs()).into()).await?;
            Ok(())
        });
        let limits = Limits::default().idle(Some(Duration::from_secs(7)));
        let server = world.serve(builder.limits(limits)).await;
        for text in ["stream", "task"] {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask(text).await, text);
            assert_eq!(peer.recv_text().await, "7");
        }
        server.stop().await.unwrap();
    }

    async fn l8_a_receive_with_a_timeout_of_its_own_has_no_other(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            client.send(requests.recv().await?).await?;
            let begin = Instant::now();
            requests.recv_timeout(Duration::from_secs(20)).await.unwrap_err();
            client.send(format!("{}", begin.elapsed().as_secs()).into()).await?;
            client.send(requests.recv_timeout(Duration::MAX).await?).await?;
            Ok(())
        });
        let limits = Limits::default().idle(Some(Duration::from_secs(7)));
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(peer.recv_text().await, "20");
        tokio::time::sleep(Duration::from_secs(365 * 24 * 3600)).await;
        assert_eq!(peer.ask("a year later").await, "a year later");
        server.stop().await.unwrap();
    }

    async fn l8_without_an_idle_limit_a_receive_waits_on(world: World) {
        let limits = Limits::default().idle(None);
        let builder = raw_server(|client, mut requests| async move {
            client.send(requests.recv().await?).await?;
            client.send(requests.recv().await?).await?;
            Ok(())
        });
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        tokio::time::sleep(Duration::from_secs(365 * 24 * 3600)).await;
        assert_eq!(peer.ask("a year later").await, "a year later");
        server.stop().await.unwrap();
    }

    async fn l8_forged_first_packets_do_not_hold_the_bound_of_clients_for_ever(world: World) {
        let limits = Limits::default().clients(1).idle(Some(Duration::from_secs(10)));
        let limits = limits.when_full(WhenFull::Refuse); // else nobody waits that long
        let builder = raw_server(|client, mut requests| async move {
            client.send(requests.recv().await?).await?;
            match requests.recv().await {
                Err(RecvError::TimedOut) => Ok(()),
                other => other.map(drop).map_err(Into::into),
            }
        });
        let server = world.serve(builder.limits(limits)).await;
        world.network.send_from("127.9.9.9:9".parse().unwrap(), b"forged", server.addr).unwrap();
        server.stats_where(|stats| stats.waiting_clients == 1).await;
        let peer = world.peer(server.addr).await;
        peer.send("too early").await;
        server.stats_where(|stats| stats.dropped_clients_bound == 1).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(peer.ask("now").await, "now");
        server.stop().await.unwrap();
    }
}
