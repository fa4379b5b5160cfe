//! L1 to L9: what a server does under load and attack.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod accounts;
mod admission;
mod allocations;
mod bounds;
mod bursts;
mod costs;
mod counters;
mod evicted;
mod eviction;
mod idle;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
mod outbox;
mod own_source;
mod parts;
mod truncated;

use std::sync::Arc;

use bytes::Bytes;
use postbox_server::ServerBuilder;
use tokio::sync::Notify;

use crate::common::raw_server;

/// A server whose handlers answer the first datagram, then wait for the gate before they receive
/// on, and answer everything until `end` comes.
fn gated(gate: &Arc<Notify>) -> ServerBuilder {
    let gate = Arc::clone(gate);
    raw_server(move |client, mut requests| {
        let gate = Arc::clone(&gate);
        async move {
            client.send(requests.recv().await?).await?;
            gate.notified().await;
            loop {
                let request = requests.recv().await?;
                client.send(request.clone()).await?;
                if request == Bytes::from_static(b"end") {
                    return Ok(());
                }
            }
        }
    })
}
