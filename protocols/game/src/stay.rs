//! The stay of one player, from its seat to its leave.

use std::time::Duration;

use game::wire::{ToPlayer, ToServer, Token};
use postbox::{BoxError, Client, RecvError, Requests};
use tokio::select;
use tokio::time::Instant;

use crate::state::Shared;

/// A place in the world, for as long as it is held.
#[derive(Debug)]
pub struct Seat<'a> {
    shared: &'a Shared,
    id: u16,
}

impl<'a> Seat<'a> {
    /// Takes one, if one is free.
    pub fn take(shared: &'a Shared, client: &Client<ToPlayer>) -> Option<Self> {
        let id = shared.with(|state| {
            let id = state.world.join(client.clone());
            let counts = &mut state.counts;
            *(if id.is_some() {
                &mut counts.joined
            } else {
                &mut counts.full
            }) += 1;
            id
        })?;
        Some(Self { shared, id })
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.shared.with(|state| state.world.leave(self.id));
    }
}

#[derive(Debug)]
pub struct Stay<'a> {
    pub client: &'a Client<ToPlayer>,
    pub requests: Requests<ToServer>,
    pub token: Token,
    /// How long the player may say nothing.
    pub silence: Duration,
}

impl Stay<'_> {
    /// Does what the player says, until it leaves, or says nothing any more, or the server stops.
    pub async fn play(mut self, seat: Seat<'_>) -> Result<(), BoxError> {
        let draining = self.client.drain_token();
        let Seat { shared, id } = seat;
        self.client.send(ToPlayer::Welcome(id)).await?;
        let mut gone_at = Instant::now() + self.silence;
        loop {
            let said = select! {
                biased;
                () = draining.begun() => {
                    drop(seat);
                    return self.bye(shared).await;
                }
                said = self.said(gone_at) => said?,
            };
            match said {
                Some(ToServer::Steer {
                    number, direction, ..
                }) => {
                    shared.with(|state| state.world.steer(id, number, direction));
                }
                // It did not hear it.
                Some(ToServer::Join(_)) => self.client.send(ToPlayer::Welcome(id)).await?,
                Some(ToServer::Leave(_)) => {
                    shared.with(|state| state.counts.left += 1);
                    return Ok(());
                }
                None => {
                    shared.with(|state| state.counts.silent += 1);
                    return Ok(());
                }
            }
            gone_at = Instant::now() + self.silence;
        }
    }

    /// Says so until the player has heard it.
    async fn bye(mut self, shared: &Shared) -> Result<(), BoxError> {
        for _ in 0..5 {
            self.client.send(ToPlayer::Bye).await?;
            let again = Instant::now() + Duration::from_millis(200);
            while let Some(said) = self.said(again).await? {
                if let ToServer::Leave(_) = said {
                    shared.with(|state| state.counts.told += 1);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What the player says next, if it does until then. What is damaged or has no token is not
    /// the player's: it neither keeps it nor ends it.
    async fn said(&mut self, until: Instant) -> Result<Option<ToServer>, RecvError> {
        loop {
            match self.requests.recv_until(until).await {
                Ok(said) if said.token() == self.token => return Ok(Some(said)),
                Ok(_) | Err(RecvError::Parse(_) | RecvError::Truncated { .. }) => {}
                Err(RecvError::TimedOut) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
