//! A CoAP server: RFC 7252, with the blocks of RFC 7959 and the observations of RFC 7641.
//!
//! ```text
//! coap [ACK_TIMEOUT_MS] ADDRESS...
//! ```
//!
//! Has the time, and keeps in memory what clients put.

mod answer;
mod observe;
mod resources;
#[cfg(test)]
mod tests;
mod uploads;
mod wire;

use std::sync::Arc;
use std::time::Duration;
use std::{env, io};

use coap_lite::{MessageType, Packet};
use postbox::{
    BoxError, Client, DatagramProtocol, Handler, Limits, Requests, Server, ServerBuilder,
    ServiceScope, Session, stop_signal,
};

use crate::answer::{Observe, Site};
use crate::observe::{ACK_TIMEOUT, Observation, Observers};
use crate::uploads::EXCHANGE_LIFETIME;
use crate::wire::{CoapSerializer, Received, is_change, reset, token};

struct Coap {
    site: Arc<Site>,
    observers: Arc<Observers>,
}

impl Handler for Coap {
    type Request = Received;
    type Response = Packet;

    async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
        let site = Arc::clone(&self.site);
        service.spawn(async move { site.resources.keep_time().await });
        Ok(())
    }

    async fn handle(
        &self,
        client: Client<Packet>,
        mut requests: Requests<Received>,
    ) -> Result<(), BoxError> {
        let mut received = requests.recv().await?;
        let mut observation = None;
        loop {
            self.answer(&client, received, &mut observation).await?;
            let Some(observation) = &mut observation else {
                return Ok(());
            };
            match observation.notify(&client, &mut requests).await? {
                Some(next) => received = next,
                None => return Ok(()),
            }
        }
    }
}

impl Coap {
    /// Answers what was received, and begins or ends the observation with its token.
    async fn answer(
        &self,
        client: &Client<Packet>,
        received: Received,
        observation: &mut Option<Observation>,
    ) -> Result<(), BoxError> {
        let from = client.remote_addr();
        let request = match received {
            Received::Request(request) => request,
            Received::Reject(id) => return Ok(client.send(reset(id)).await?),
            Received::Reply(id, reply) => {
                self.observers.reply(from, id, reply);
                return Ok(());
            }
        };
        let (mut packet, observe) = self.site.answer(from, &request);
        if packet.header.get_type() == MessageType::NonConfirmable {
            packet.header.message_id = self.observers.next_id();
        }
        match observe {
            Observe::Leave => {}
            Observe::End => *observation = None,
            Observe::Begin(state) => {
                *observation = None;
                *observation = self.observers.begin(from, &request, &mut packet, state);
            }
        }
        Ok(client.send(packet).await?)
    }
}

fn coap(ack_timeout: Duration) -> ServerBuilder {
    let handler = Coap {
        site: Arc::new(Site::new()),
        observers: Arc::new(Observers::new(ack_timeout)),
    };
    Server::builder(DatagramProtocol::new(CoapSerializer), handler)
        // An observation lasts as long as its client wants, and is known by the token of its
        // request. What is no request has none, and nothing to wait for.
        .session_key(|datagram, origin| match token(datagram) {
            Some(_) if is_change(datagram) => origin.once(datagram),
            Some(token) => origin.key(token),
            None => Session::Each,
        })
        .limits(Limits::default().answer_time(EXCHANGE_LIFETIME))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1).peekable();
    let first = arguments
        .peek()
        .ok_or("usage: coap [ACK_TIMEOUT_MS] ADDRESS...")?;
    let mut ack_timeout = ACK_TIMEOUT;
    if let Ok(millis) = first.parse() {
        ack_timeout = Duration::from_millis(millis);
        arguments.next();
    }
    let server = coap(ack_timeout)
        .bind(arguments.collect::<Vec<_>>())
        .await?;
    let handle = server.handle();

    let addresses: Vec<_> = handle.addresses().iter().map(ToString::to_string).collect();
    println!("serving on {}", addresses.join(" "));
    server
        .serve_until_drained(stop_signal(), Duration::from_secs(5))
        .await?;

    println!("{}", handle.stats());
    Ok(())
}
