//! A socket that takes little at a time, while the last answers leave.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{MemoryNetwork, MemorySocket};
use tokio::time::{Instant, sleep};

use crate::common::*;
use crate::paused;

/// Woken when a datagram has arrived, it lets no other leave.
struct TakesOne {
    network: MemoryNetwork,
    server: std::net::SocketAddr,
}

impl Wake for TakesOne {
    fn wake(self: Arc<Self>) {
        self.network.block_sends(self.server, true);
    }
}

/// A server whose last answers wait for the socket, and is shutting down.
struct Slow {
    server: TestServer,
    client: MemorySocket,
    takes_one: Waker,
}

const ANSWERS: u8 = 6;

impl Slow {
    async fn new(world: &World) -> Self {
        let builder = raw_server(|client, mut requests| async move {
            requests.recv().await?;
            for number in 0..ANSWERS {
                client.send(Bytes::from(vec![number])).await?;
            }
            Ok(())
        });
        let server = world.serve(builder).await;
        world.network.block_sends(server.addr, true);
        let client = world
            .network
            .socket("127.0.0.1:0".parse().unwrap())
            .unwrap();
        client.send_to(b"x", server.addr).unwrap();
        server
            .stats_where(|stats| stats.handlers_returned == 1)
            .await;
        let takes_one = TakesOne {
            network: world.network.clone(),
            server: server.addr,
        };
        Self {
            server,
            client,
            takes_one: Waker::from(Arc::new(takes_one)),
        }
    }

    /// Some time later the socket takes one more.
    async fn take(&self, world: &World, number: u8) {
        let mut receive = pin!(self.client.recv_from());
        let polled = receive
            .as_mut()
            .poll(&mut Context::from_waker(&self.takes_one));
        assert!(polled.is_pending());
        sleep(Duration::from_millis(800)).await;
        world.network.block_sends(self.server.addr, false);
        let (answer, _) = receive.await.unwrap();
        assert_eq!(answer, [number]);
    }
}

paused! {
    async fn v4_what_was_sent_leaves_as_long_as_the_socket_takes_some_of_it(world: World) {
        let slow = Slow::new(&world).await;
        let handle = slow.server.handle.clone();
        let mut shutdown = pin!(handle.shutdown());
        begin(&mut shutdown).await;
        // Longer altogether than it would wait for a socket that takes nothing.
        for number in 0..ANSWERS {
            slow.take(&world, number).await;
        }
        shutdown.await;
        assert_eq!(handle.stats().sent, u64::from(ANSWERS));
        slow.server.stop().await.unwrap();
    }

    async fn v4_a_socket_that_takes_no_more_holds_the_shutdown_for_a_second_from_then_on(world: World) {
        let slow = Slow::new(&world).await;
        let handle = slow.server.handle.clone();
        let start = Instant::now();
        let mut shutdown = pin!(handle.shutdown());
        begin(&mut shutdown).await;
        for number in 0..3 {
            slow.take(&world, number).await;
        }
        shutdown.await;
        assert_eq!(start.elapsed().as_millis(), 3 * 800 + 1_000);
        assert_eq!(handle.stats().sent, 3);
        slow.server.stop().await.unwrap();
    }
}
