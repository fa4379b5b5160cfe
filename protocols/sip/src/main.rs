//! A SIP answering machine: RFC 3261 over UDP, with RFC 3581.
//!
//!     sip ADDRESS [RING_MS] [LONGEST_SECONDS] [DRAIN_SECONDS]
//!
//! Rings, answers, and waits for the caller to hang up. At SIGTERM calls have so many seconds to
//! end.

mod call;
#[cfg(test)]
mod tests;
mod wire;

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use postbox::{
    BoxError, Client, DatagramProtocol, Handler, Limits, Requests, Server, ServerBuilder,
    ServiceScope, Session, stop_signal,
};

use crate::call::{CLIENTS, Calls, Times};
use crate::wire::{Message, Sip, call_id};

struct Machine {
    times: Times,
    /// Makes tags that nobody can guess.
    tags: RandomState,
}

impl Handler for Machine {
    type Request = Message;
    type Response = Message;

    async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
        CLIENTS.set(service.clients()?);
        Ok(())
    }

    async fn handle(
        &self,
        client: Client<Message>,
        requests: Requests<Message>,
    ) -> Result<(), BoxError> {
        let tag = format!("{:016x}", self.tags.hash_one(&client));
        Calls {
            client,
            requests,
            times: self.times,
            tag,
        }
        .run()
        .await
    }
}

fn server(times: Times) -> ServerBuilder {
    let machine = Machine {
        times,
        tags: RandomState::new(),
    };
    Server::builder(DatagramProtocol::new(Sip), machine)
        // A proxy sends many calls from one port. What has no Call-ID, such as a keep-alive, is
        // nothing to answer.
        .session_key(|datagram, origin| match call_id(datagram) {
            Some(id) => origin.key(id),
            None => Session::Refuse,
        })
        // A call is remembered for half a minute after its end: at 1,500 a second, 48,000.
        .limits(Limits::default().clients(200_000))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    log.init();
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: sip ADDRESS [RING_MS] [LONGEST_SECONDS] [DRAIN_SECONDS]";
    let address = arguments.next().ok_or(usage)?;
    let mut number = |default| {
        arguments
            .next()
            .map_or(Ok(default), |number| number.parse())
    };
    let ring = Duration::from_millis(number(1_000)?);
    let longest = Duration::from_secs(number(60)?);
    let within = Duration::from_secs(number(30)?);

    let server = server(Times { ring, longest })
        .bind(address.as_str())
        .await?;
    let handle = server.handle();
    println!("serving on {}", handle.addresses()[0]);
    server.serve_until_drained(stop_signal(), within).await?;

    let stats = handle.stats();
    println!(
        "received {}, sent {}, dropped {}, newcomers {}, calls {}, failed {}",
        stats.received,
        stats.sent,
        stats.dropped(),
        stats.dropped_shutdown,
        stats.handlers_returned,
        stats.handlers_failed,
    );
    Ok(())
}
