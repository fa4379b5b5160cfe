//! What the loop and the players' handlers share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use game::wire::ToPlayer;
use postbox::Client;

use crate::world::World;

#[derive(Debug)]
pub struct State {
    pub world: World<Client<ToPlayer>>,
    pub counts: Counts,
}

#[derive(Debug, Default)]
pub struct Counts {
    pub ticks: u32,
    /// Of those, how many were so late that the next one had come.
    pub skipped: u32,
    /// How late they began: all of them together, and the worst.
    pub late: Duration,
    pub latest: Duration,
    /// Snapshots for which the outbox had no room.
    pub unsent: u64,
    pub joined: u64,
    pub full: u64,
    pub left: u64,
    pub silent: u64,
    pub told: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ticks {}, skipped {}, late_us {}, latest_us {}, unsent {}, joined {}, full {}, left {}, \
             silent {}, told {}",
            self.ticks,
            self.skipped,
            (self.late / self.ticks.max(1)).as_micros(),
            self.latest.as_micros(),
            self.unsent,
            self.joined,
            self.full,
            self.left,
            self.silent,
            self.told,
        )
    }
}

/// Steps of it are short and wait for nothing, so a plain lock does.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            world: World::new(),
            counts: Counts::default(),
        })))
    }

    pub fn with<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        step(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
