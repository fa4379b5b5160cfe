//! A game's server: 60 times a second it tells everybody where everybody is.
//!
//! ```text
//! game ADDRESS [SILENCE_SECONDS]
//! ```
//!
//! Who has said nothing for so long is not there any more.

mod gate;
mod state;
mod stay;
#[cfg(test)]
mod tests;
mod tick;
mod world;

use std::time::Duration;
use std::{env, io};

use game::wire::{Format, LONGEST, LONGEST_OF_PLAYER, ToPlayer, ToServer};
use postbox::{
    BoxError, Client, DatagramProtocol, Handler, Limits, Requests, Server, ServerBuilder,
    ServiceScope, stop_signal,
};

use crate::gate::Gate;
use crate::state::Shared;
use crate::stay::{Seat, Stay};

#[derive(Debug)]
struct Game {
    shared: Shared,
    gate: Gate,
    silence: Duration,
}

impl Handler for Game {
    type Request = ToServer;
    type Response = ToPlayer;

    async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
        service.spawn(tick::run(self.shared.clone()));
        Ok(())
    }

    async fn handle(
        &self,
        client: Client<ToPlayer>,
        mut requests: Requests<ToServer>,
    ) -> Result<(), BoxError> {
        let ToServer::Join(token) = requests.recv().await? else {
            return Ok(()); // of somebody who is not there any more
        };
        // A source can be forged, and is not sent 60 datagrams a second before it has shown that it
        // hears: until then it gets no more bytes than it sends, and nothing is kept.
        if !self.gate.knows(&client, token) {
            let token = self.gate.token(&client);
            return Ok(client.send(ToPlayer::Token(token)).await?);
        }
        let Some(seat) = Seat::take(&self.shared, &client) else {
            return Ok(client.send(ToPlayer::Full).await?);
        };
        let stay = Stay {
            client: &client,
            requests,
            token,
            silence: self.silence,
        };
        stay.play(seat).await
    }
}

fn server(shared: Shared, silence: Duration) -> ServerBuilder {
    let gate = Gate::new();
    let game = Game {
        shared,
        gate,
        silence,
    };
    Server::builder(DatagramProtocol::new(Format::new()), game)
        .limits(
            Limits::default()
                .receive_datagram(LONGEST_OF_PLAYER)
                .send_datagram(LONGEST),
        )
        .dont_fragment(cfg!(target_os = "linux"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let address = arguments
        .next()
        .ok_or("usage: game ADDRESS [SILENCE_SECONDS]")?;
    let silence = arguments.next().map_or(Ok(5), |seconds| seconds.parse())?;
    let shared = Shared::new();
    let server = server(shared.clone(), Duration::from_secs(silence))
        .bind(address)
        .await?;
    let handle = server.handle();
    println!("serving on {}", handle.addresses()[0]);
    server
        .serve_until_drained(stop_signal(), Duration::from_secs(5))
        .await?;

    let stats = handle.stats();
    println!(
        "received {}, sent {}, dropped {}, malformed {}, {}",
        stats.received,
        stats.sent,
        stats.dropped(),
        stats.malformed,
        shared.with(|state| state.counts.to_string()),
    );
    Ok(())
}
