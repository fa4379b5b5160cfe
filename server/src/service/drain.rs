//! A drain of one serving: what was asked for, and until when.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::clock;

/// What becomes of what the kernel still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainKind {
    /// It is received and handled; newcomers after that are dropped.
    Finish,
    /// It stays there, for who owns the sockets next.
    HandOver,
}

/// A drain that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrainRequest {
    pub(crate) kind: DrainKind,
    pub(crate) deadline: Instant,
}

impl DrainRequest {
    pub(crate) fn new(kind: DrainKind, within: Duration) -> Self {
        let deadline = clock::deadline(Instant::now(), within);
        Self { kind, deadline }
    }
}

/// Tells one serving to drain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drain {
    request: Arc<watch::Sender<Option<DrainRequest>>>,
    /// For handlers and tasks. Also where a shutdown begins without a drain.
    begun: CancellationToken,
}

impl Drain {
    /// Asks for it. A second request only changes the deadline, to the earlier one. For the first,
    /// `begins` is called before anybody learns of it.
    pub(super) fn request(&self, request: DrainRequest, begins: impl FnOnce()) {
        self.request.send_modify(|present| match present {
            Some(present) => present.deadline = present.deadline.min(request.deadline),
            None => {
                begins();
                *present = Some(request);
            }
        });
        self.begun.cancel();
    }

    /// A shutdown begins.
    pub(super) fn end(&self) {
        self.begun.cancel();
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// What is asked for, and what is later.
    pub(crate) fn requests(&self) -> watch::Receiver<Option<DrainRequest>> {
        self.request.subscribe()
    }

    /// What is cancelled when a drain begins, or a shutdown.
    pub(crate) fn token(&self) -> CancellationToken {
        self.begun.clone()
    }
}
