//! How long a receive waits, and where it has left word that it does.

use std::time::Duration;

use super::{Here, Receive};
use crate::turn::{HandlerPoll, Parked};

/// How long a receive is willing to wait.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    /// As long as a client may be silent: the server's limit.
    Idle,
    Timeout(Duration),
    Endless,
}

/// Where one receive has left word that it waits.
#[derive(Debug, Default)]
pub(super) struct Wait {
    /// In the mailbox, under this number, unless 0. A receive that was there once stays there,
    /// whoever polls it: its deadline is kept under that number.
    pub(super) number: u32,
    /// With its worker, which knows its deadline.
    pub(super) parked: bool,
}

impl Wait {
    pub(super) fn is_over(&self) -> bool {
        !self.parked && self.number == 0
    }

    /// In one word. Numbers have 31 bits.
    pub(super) fn pack(&self) -> u32 {
        self.number << 1 | u32::from(self.parked)
    }

    pub(super) fn unpack(word: u32) -> Self {
        Self {
            number: word >> 1,
            parked: word & 1 != 0,
        }
    }

    /// The handler's own receive leaves word with its worker that it waits, unless its deadline has
    /// passed.
    pub(super) fn park(&mut self, poll: &mut HandlerPoll, timeout: Option<Duration>) -> Here {
        if self.parked && poll.expired {
            return Here::TimedOut;
        }
        if std::mem::replace(&mut self.parked, true) {
            // It may have begun in this very poll, and what it said then is still to be read.
            poll.parked.get_or_insert(Parked::Still);
        } else {
            poll.expired = false; // that was another receive's
            poll.parked = Some(timeout.map_or(Parked::ForEver, Parked::For));
        }
        Here::Parked
    }

    /// The receive is over, or dropped.
    pub(super) fn stop<Request>(&mut self, run: &dyn Receive<Request>) {
        let wait = std::mem::take(self);
        if !wait.is_over() {
            run.stop(&wait);
        }
    }
}
