//! H17: clients of addresses that have not sent anything.

mod ends;
mod groups;
mod sends;
mod who;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use postbox_server::{Client, Clients, ServerBuilder};
use tokio::sync::mpsc;

use crate::common::service::*;

/// What `service_init` was given, in each serving.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Clients<Bytes>>>>);

impl Kept {
    fn keep(&self, clients: Clients<Bytes>) {
        self.0.lock().unwrap().push(clients);
    }

    /// Of the last serving.
    fn clients(&self) -> Clients<Bytes> {
        self.0.lock().unwrap().last().unwrap().clone()
    }
}

/// A server that keeps what makes clients, answers each datagram with itself, and gives its
/// handlers' client objects away.
fn keeps_clients() -> (ServerBuilder, Kept, mpsc::UnboundedReceiver<Client<Bytes>>) {
    let kept = Kept::default();
    let keep = kept.clone();
    let (give, given) = mpsc::unbounded_channel();
    let builder = server_with_init(
        move |service| {
            keep.keep(service.clients::<Bytes>().unwrap());
            Box::pin(async { Ok(()) })
        },
        move |client, mut requests| {
            let give = give.clone();
            async move {
                client.send(requests.recv().await?).await?;
                give.send(client)?;
                Ok(())
            }
        },
    );
    (builder, kept, given)
}
