//! The end of one serving, as it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::Drain;
use super::pings::Pings;

/// Tells one serving to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    /// The same, for those who ask at each datagram.
    pub(crate) closing: Arc<AtomicBool>,
    /// The one warning of this serving that a handler used what is closed has been logged.
    pub(crate) closed_told: Arc<AtomicBool>,
    pub(crate) drain: Drain,
    pub(crate) pings: Pings,
}

impl Stop {
    /// From now on every receive answers closed; the rest follows.
    pub(crate) fn request(&self) {
        self.closing.store(true, Ordering::Release);
        self.token.cancel();
        self.pings.end();
        self.drain.end();
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it was requested.
    pub(crate) fn requested(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// What is cancelled when it is requested.
    pub(crate) fn child_token(&self) -> CancellationToken {
        self.token.child_token()
    }
}
