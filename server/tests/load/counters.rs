//! L7: the counters add up.

use std::sync::Arc;

use postbox_server::{Limits, RecvError, Stats};
use tokio::sync::Notify;

use super::gated;
use crate::common::*;
use crate::contract;

contract! {
    async fn l7_after_a_bit_of_everything_each_datagram_is_accounted_for(world: World) {
        let gate = Arc::new(Notify::new());
        let wait = Arc::clone(&gate);
        let builder = raw_server(move |client, mut requests| {
            let gate = Arc::clone(&wait);
            async move {
                if client.remote_addr().port() == 0 {
                    return Ok(());
                }
                let request = requests.recv().await?;
                match &request[..] {
                    b"fail" => return Err("told to fail".into()),
                    b"panic" => panic!("told to panic"),
                    b"hold" => {
                        client.send(request).await?;
                        gate.notified().await;
                        loop {
                            let more = match requests.recv().await {
                                Err(RecvError::Closed) => return Ok(()),
                                more => more?,
                            };
                            client.send(more).await?;
                        }
                    }
                    _ => client.send(request).await?,
                }
                Ok(())
            }
        });
        let limits = Limits::default().client_datagrams(3);
        let refused = world.peer_at("127.0.0.3:0".parse().unwrap(), "127.0.0.1:1".parse().unwrap()).await;
        let refuse = refused.addr();
        let server = world.serve(builder.limits(limits).admit(move |incoming| incoming.remote_addr() != refuse)).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..5 {
            assert_eq!(peer.ask("echo").await, "echo");
        }
        peer.send("fail").await;
        peer.send("panic").await;
        assert_eq!(world.logs.wait_for(2).await.len(), 2);
        refused.send_to("refused", server.addr).await;
        assert_eq!(peer.ask("hold").await, "hold");
        for _ in 0..5 {
            peer.send("more").await; // two too many
        }
        let stats = server.settled(14).await;
        assert_eq!(stats.received, stats.accounted(), "{stats:#?}");
        assert_eq!((stats.queued, stats.dropped_client_bound), (3, 2));
        assert_eq!((stats.handed_out, stats.dropped_refused), (8, 1));
        assert_eq!((stats.handlers_returned, stats.handlers_failed), (5, 1));
        assert_eq!((stats.handlers_panicked, stats.waiting_clients), (1, 1));
        gate.notify_waiters();
        for _ in 0..3 {
            assert_eq!(peer.recv_text().await, "more");
        }
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        let stats = handle.stats();
        assert_eq!((stats.received, stats.accounted()), (14, 14));
        assert_eq!((stats.handed_out, stats.handlers_returned), (11, 6));
        assert_eq!(stats.sent, 9);
    }

    async fn l7_what_a_shutdown_drops_is_counted_as_that(world: World) {
        let gate = Arc::new(Notify::new());
        let server = world.serve(gated(&gate).grace(std::time::Duration::ZERO)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("first").await, "first");
        peer.send("queued").await;
        peer.send("queued too").await;
        server.queued(2).await;
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        let stats = handle.stats();
        assert_eq!((stats.dropped_shutdown, stats.handlers_cancelled), (2, 1));
    }

    async fn l7_handlers_that_end_before_receiving_discard_and_that_is_counted(world: World) {
        let server = world.serve(raw_server(|_, _| async { Ok(()) })).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..3 {
            peer.send("refused by the handler").await;
        }
        let stats = server.settled(3).await;
        assert_eq!((stats.discarded, stats.handed_out), (3, 0));
        assert_eq!(stats.handlers_returned, 3);
        server.stop().await.unwrap();
    }

    async fn l7_a_receive_in_another_task_counts_as_handed_out(world: World) {
        let builder = raw_server(|client, mut requests| async move {
            tokio::spawn(async move {
                let request = requests.recv().await.unwrap();
                client.send(request).await.unwrap();
            })
            .await?;
            Ok(())
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        let stats = server.stats_where(|stats| stats.handlers_returned == 1).await;
        assert_eq!((stats.handed_out, stats.discarded), (1, 0));
        server.stop().await.unwrap();
    }

    on memory;
    async fn l7_the_segments_of_a_coalesced_receive_count_singly(world: World) {
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"abcdefg", 3, server.addr);
        for segment in ["abc", "def", "g"] {
            assert_eq!(peer.recv_text().await, segment);
        }
        assert_eq!(server.handle.stats().received, 3);
        server.stop().await.unwrap();
    }

    on memory;
    async fn l7_coalesced_datagrams_from_a_source_that_is_never_answered_count_singly(world: World) {
        let server = world.serve(echo()).await;
        let forged = "127.0.0.1:0".parse().unwrap();
        world.network.send_coalesced(forged, b"aabbc", 2, server.addr);
        let stats = server.settled(3).await;
        assert_eq!((stats.received, stats.dropped_source, stats.accounted()), (3, 3, 3));
        server.stop().await.unwrap();
    }

    async fn l7_the_counters_go_on_over_servings(world: World) {
        let first = world.serve(echo()).await;
        let (peer, handle) = (world.peer(first.addr).await, first.handle.clone());
        assert_eq!(peer.ask("one").await, "one");
        handle.shutdown().await;
        first.serving.await.unwrap().unwrap();
        let second = TestServer::start(first.server).await;
        assert_eq!(peer.ask("two").await, "two");
        let stats = second.handle.stats();
        assert_eq!((stats.received, stats.handed_out, stats.handlers_returned), (2, 2, 2));
        second.stop().await.unwrap();
        assert_eq!(handle.stats().sent, 2);
    }

    on udp, plain;
    async fn l7_what_the_kernel_dropped_at_any_of_several_sockets_is_counted(world: World) {
        let builder = echo().recv_buffer(4096).plain_transport(world.kind == Kind::Plain);
        let server = builder.bind(["127.0.0.1:0", "[::1]:0"]).await.unwrap();
        let handle = server.handle();
        let mut drops = Vec::new();
        for addr in handle.addresses() {
            let peer = world.peer(addr).await;
            for _ in 0..100 {
                peer.send([1; 1000]).await; // nobody receives yet
            }
            drops.push(handle.stats().kernel_drops.unwrap());
        }
        assert!(drops[0] > 0 && drops[1] > drops[0], "{drops:?}");
        let server = TestServer::start(server).await;
        let all = |stats: &Stats| stats.handlers_returned + drops[1] == 200;
        assert_eq!(server.stats_where(all).await.kernel_drops, Some(drops[1]));
        handle.close().await;
        assert_eq!(handle.stats().kernel_drops, Some(drops[1]), "told after the end too");
        server.serving.await.unwrap().unwrap();
    }

    on udp;
    async fn l7_what_the_kernel_dropped_stands_apart(world: World) {
        let server = world.bind(echo().recv_buffer(4096)).await;
        let handle = server.handle();
        let peer = world.peer(handle.addresses()[0]).await;
        // Nobody receives yet, and the buffer is small.
        for _ in 0..100 {
            peer.send([1; 1000]).await;
        }
        let server = TestServer::start(server).await;
        let all = |stats: &Stats| stats.handlers_returned + stats.kernel_drops.unwrap() == 100;
        let stats = server.stats_where(all).await;
        let drops = stats.kernel_drops.unwrap();
        assert!(drops > 0 && drops < 100, "{drops} of 100");
        assert_eq!((stats.received, stats.dropped()), (100 - drops, 0));
        server.stop().await.unwrap();
        assert_eq!(handle.stats().kernel_drops, Some(drops), "told after the end too");
    }
}
