//! L2 and L3: what clients cost.

use std::sync::Arc;
use std::time::Duration;

use postbox_server::Limits;
use tokio::sync::Notify;

use super::gated;
use crate::common::*;
use crate::contract;

contract! {
    async fn l2_a_client_without_a_handler_leaves_nothing_behind(world: World) {
        let server = world.serve(echo()).await;
        for _ in 0..20 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("x").await, "x");
        }
        let stats = server.handle.stats();
        assert_eq!((stats.waiting_clients, stats.queued, stats.queued_bytes), (0, 0, 0));
        server.stop().await.unwrap();
    }

    async fn l2_a_client_whose_conversation_ended_is_forgotten(world: World) {
        let gate = Arc::new(Notify::new());
        let server = world.serve(gated(&gate)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(server.stats_where(|stats| stats.waiting_clients > 0).await.waiting_clients, 1);
        peer.send("end").await;
        server.queued(1).await;
        gate.notify_waiters();
        assert_eq!(peer.recv_text().await, "end");
        let stats = server.stats_where(|stats| stats.waiting_clients == 0).await;
        assert_eq!((stats.queued, stats.queued_bytes), (0, 0));
        server.stop().await.unwrap();
    }

    async fn l3_a_queued_datagram_costs_its_length_and_a_small_constant(world: World) {
        let gate = Arc::new(Notify::new());
        let limits = Limits::default().client_datagrams(1000).grace(Duration::ZERO);
        let server = world.serve(gated(&gate).limits(limits)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        for len in [0, 1, 1000] {
            peer.send(vec![1; len]).await;
        }
        server.queued(3).await;
        assert_eq!(server.handle.stats().queued_bytes, 1001 + 3 * 32);
        server.stop().await.unwrap();
    }
}
