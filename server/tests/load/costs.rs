//! L2 and L3 by the allocator: what clients and their datagrams cost in memory.

use std::net::SocketAddr;
use std::time::Duration;

use postbox_server::{Limits, MemoryNetwork, RecvError, ServerBuilder, ServerHandle};
use tokio::runtime::Runtime;

use crate::common::*;

/// A server on a runtime of this thread, whose allocations can be counted, and whose clock stands still.
pub(super) struct Measured {
    pub(super) runtime: Runtime,
    pub(super) network: MemoryNetwork,
    pub(super) handle: ServerHandle,
}

impl Measured {
    pub(super) fn new(builder: ServerBuilder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let network = MemoryNetwork::new();
        let bound = builder.bind_memory(&network, "127.0.0.1:0".parse().unwrap());
        let server = bound.unwrap();
        let handle = server.handle();
        runtime.spawn(async move { server.serve_forever().await });
        runtime.block_on(handle.started()).unwrap();
        Self {
            runtime,
            network,
            handle,
        }
    }

    /// Sends a datagram from each client of a group: a thousand, each group with its own addresses.
    fn send(&self, group: u8, datagram: &[u8]) {
        for number in 0..CLIENTS as u16 {
            let [high, low] = number.to_be_bytes();
            let from = SocketAddr::from(([127, group, high, low], 7));
            let to = self.handle.addresses()[0];
            self.network.send_from(from, datagram, to).unwrap();
        }
    }

    fn wait(&self, what: impl Fn(&postbox_server::Stats) -> bool) {
        self.runtime.block_on(async {
            let begin = std::time::Instant::now();
            while !what(&self.handle.stats()) {
                assert!(begin.elapsed() < HANG, "{:#?}", self.handle.stats());
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await; // the worker falls asleep, and leaves its waker
        });
    }

    /// Bytes that this adds for good.
    fn cost(&self, code: impl FnOnce()) -> i64 {
        allocation_counter::measure(code).bytes_current
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.runtime.block_on(self.handle.close());
    }
}

const CLIENTS: u64 = 1_000;

#[test]
fn l2_clients_that_were_answered_leave_no_memory_behind() {
    let server = Measured::new(unboxed_server(|client, mut requests| async move {
        client.send(requests.recv().await?).await?;
        Ok(())
    }));
    let mut returned = 0;
    let mut round = |group| {
        returned += CLIENTS;
        server.send(group, b"x");
        server.wait(|stats| stats.handlers_returned == returned);
    };
    round(1); // what is kept for the next clients, whoever they are
    assert_eq!(server.cost(|| round(2)), 0);
    assert_eq!(server.cost(|| (3..10).for_each(&mut round)), 0);
}

#[test]
fn l2_clients_whose_conversation_ended_leave_no_memory_behind() {
    let server = Measured::new(unboxed_server(|client, mut requests| async move {
        client.send(requests.recv().await?).await?;
        client
            .send(requests.recv_timeout(Duration::from_secs(100)).await?)
            .await?;
        Ok(())
    }));
    let mut returned = 0;
    let mut round = |group| {
        server.send(group, b"x");
        server.wait(|stats| stats.waiting_clients == CLIENTS);
        returned += CLIENTS;
        server.send(group, b"y");
        server.wait(|stats| stats.handlers_returned == returned);
        assert_eq!(server.handle.stats().waiting_clients, 0);
    };
    round(1);
    assert_eq!(server.cost(|| round(2)), 0);
    assert_eq!(server.cost(|| (3..10).for_each(&mut round)), 0);
}

/// In a conversation, where its handler waits for nothing else.
#[test]
fn l1_a_waiting_client_takes_less_than_half_a_kilobyte() {
    let server = Measured::new(unboxed_server(|client, mut requests| async move {
        loop {
            client.send(requests.recv().await?).await?;
        }
    }));
    let cost = server.cost(|| {
        server.send(1, b"x");
        server.wait(|stats| stats.waiting_clients == CLIENTS);
    });
    let each = cost / CLIENTS as i64;
    assert!((250..=440).contains(&each), "{each}");
}

/// There are more of them than keep their memory for the next ones.
#[test]
fn l2_clients_whose_conversation_ended_leave_no_deadline_behind() {
    // A deadline that is near is kept in another way.
    for timeout in [Duration::from_millis(500), Duration::from_secs(100)] {
        let server = Measured::new(raw_server(move |_, mut requests| async move {
            requests.recv().await?;
            requests.recv_timeout(timeout).await?;
            Ok(())
        }));
        for group in [1, 2] {
            server.send(group, b"x");
        }
        server.wait(|stats| stats.waiting_clients == 2 * CLIENTS);
        for group in [1, 2] {
            server.send(group, b"y");
        }
        server.wait(|stats| stats.handlers_returned == 2 * CLIENTS);
        let past_all = tokio::time::advance(2 * timeout);
        server.runtime.block_on(past_all);
        server.send(3, b"x");
        server.wait(|stats| stats.waiting_clients == CLIENTS);
    }
}

#[test]
fn l2_clients_that_were_left_alone_leave_no_memory_behind() {
    let limits = Limits::default().idle(Some(Duration::from_secs(1)));
    let builder = unboxed_server(|_, mut requests| async move {
        requests.recv().await?;
        assert!(matches!(requests.recv().await, Err(RecvError::TimedOut)));
        Ok(())
    });
    let server = Measured::new(builder.limits(limits));
    let mut returned = 0;
    let mut round = |group| {
        returned += CLIENTS;
        server.send(group, b"x");
        server.wait(|stats| stats.waiting_clients == CLIENTS);
        let past_the_limit = tokio::time::advance(Duration::from_secs(2));
        server.runtime.block_on(past_the_limit);
        server.wait(|stats| stats.handlers_returned == returned);
    };
    round(1);
    assert_eq!(server.cost(|| round(2)), 0);
    assert_eq!(server.cost(|| (3..10).for_each(&mut round)), 0);
}

#[test]
fn l3_a_queued_datagram_takes_its_own_length_and_a_small_constant() {
    for len in [0, 10, 1_000] {
        let limits = Limits::default().client_bytes(usize::MAX);
        let builder = unboxed_server(|_, mut requests| async move {
            requests.recv().await?;
            std::future::pending().await
        });
        let server = Measured::new(builder.limits(limits).grace(Duration::ZERO));
        server.send(1, b"busy");
        server.wait(|stats| stats.waiting_clients == CLIENTS);
        let datagram = vec![1; len];
        let cost = server.cost(|| {
            for count in 1..=8 {
                server.send(1, &datagram);
                server.wait(|stats| stats.queued == count * CLIENTS);
            }
        });
        let each = cost / (8 * CLIENTS as i64);
        // 24 bytes of place in a queue that doubles when it is full; the buffers have 65,535.
        let least = i64::try_from(len).unwrap();
        assert!((least..=least + 48).contains(&each), "{each} for {len}");
    }
}
