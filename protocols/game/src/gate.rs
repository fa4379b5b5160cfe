//! Who is let in: who has been told a token at the address that it asks from.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use game::wire::{ToPlayer, Token};
use postbox::Client;
use tokio::time::Instant;

/// Tokens change so often, and the one before is still good.
pub const PERIOD: Duration = Duration::from_secs(10);

/// It keeps nothing of those that ask: a token is computed again when it comes back.
#[derive(Debug)]
pub struct Gate {
    secret: RandomState,
    begun: Instant,
}

impl Gate {
    pub fn new() -> Self {
        Self {
            secret: RandomState::new(),
            begun: Instant::now(),
        }
    }

    pub fn token(&self, client: &Client<ToPlayer>) -> Token {
        self.token_of(client, self.period())
    }

    pub fn knows(&self, client: &Client<ToPlayer>, token: Token) -> bool {
        let now = self.period();
        let mut periods = [Some(now), now.checked_sub(1)].into_iter().flatten();
        periods.any(|period| self.token_of(client, period) == token)
    }

    fn token_of(&self, client: &Client<ToPlayer>, period: u64) -> Token {
        self.secret.hash_one((client.remote_addr(), period))
    }

    fn period(&self) -> u64 {
        self.begun.elapsed().as_secs() / PERIOD.as_secs()
    }
}
