//! V7: what the network says, and a full outbox.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod full;
mod logging;
mod machine;
mod receiving;
mod refused;
#[cfg(target_os = "linux")]
mod root;
mod sending;
mod unreachable;

use std::io;

use crate::common::*;
use bytes::Bytes;
use postbox_server::{Client, ServerBuilder};
use tokio::sync::mpsc;

/// A server that hands the test each client that sent something, to push to.
fn pushing() -> (ServerBuilder, mpsc::UnboundedReceiver<Client<Bytes>>) {
    let (give, taken) = mpsc::unbounded_channel();
    let builder = raw_server(move |client, mut requests| {
        let give = give.clone();
        async move {
            requests.recv().await?;
            give.send(client)?;
            Ok(())
        }
    });
    (builder, taken)
}

/// A client of such a server, from both sides.
async fn pushed(
    world: &World,
    server: &TestServer,
    taken: &mut mpsc::UnboundedReceiver<Client<Bytes>>,
) -> (Peer, Client<Bytes>) {
    let peer = world.peer_at(world.alone(), server.addr).await; // it may go
    peer.send("hello").await;
    (peer, taken.recv().await.unwrap())
}

fn refused() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}
