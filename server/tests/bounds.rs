//! L1: every queue is bounded, and the bounds are the user's to set.

mod common;
use common::*;

use std::sync::Arc;

use postbox_server::Limits;
use tokio::sync::Notify;

contract! {
    async fn l1_a_backlog_as_long_as_the_user_wants_is_worked_off(world: World) {
        const BACKLOG: u64 = 5_000;
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let limits = Limits {
            client_datagrams: BACKLOG as usize,
            client_bytes: usize::MAX,
            ..Limits::default()
        };
        let server = world
            .serve(
                raw_server(move |_, mut requests| {
                    let go = Arc::clone(&goes);
                    async move {
                        let request = requests.recv().await?;
                        if request == "busy" {
                            go.notified().await;
                        }
                        Ok(())
                    }
                })
                .limits(limits),
            )
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("busy").await;
        for sent in 1..=BACKLOG {
            peer.send("x").await;
            if sent % 100 == 0 {
                server.queued(sent).await; // no more than the socket's buffer holds
            }
        }
        go.notify_one();
        let stats = server.stats_where(|stats| stats.handlers_returned == BACKLOG + 1).await;
        assert_eq!(stats.handed_out, BACKLOG + 1);
        server.stop().await.unwrap();
    }
}
