//! What the worker itself does not see of what is lost: the kernel's drops, and what receives could
//! not decode.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Worker;
use super::served::Served;
use crate::engine::report::Kind;
use crate::service::Counters;
use crate::transport::Endpoint;

/// The kernel is asked at most once in so long: it takes a system call.
const PAUSE: Duration = Duration::from_secs(10);

/// What is known of it.
pub(super) struct Losses {
    endpoint: Arc<dyn Endpoint>,
    looked: Option<Instant>,
    /// Something has been received since.
    next_look: Option<Instant>,
    /// So much that the kernel's buffer may have been full.
    wakes: bool,
    /// Of the counter.
    malformed: u64,
}

impl Losses {
    pub(super) fn new(endpoint: Arc<dyn Endpoint>, counters: &Counters) -> Self {
        Self {
            endpoint,
            looked: None,
            next_look: None,
            wakes: false,
            malformed: counters.malformed.get(),
        }
    }

    /// A batch was received, which was full or not: others may have been dropped.
    #[inline]
    pub(super) fn received(&mut self, now: Instant, full: bool) {
        self.wakes |= full;
        if self.next_look.is_none() {
            self.next_look = Some(self.looked.map_or(now, |looked| now.max(looked + PAUSE)));
        }
    }

    /// When to wake and ask the kernel, if there is reason to. Without, it is asked in a turn that
    /// has another reason: a timer would cost each question of a quiet server as much as a tenth.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look.filter(|_| self.wakes)
    }
}

impl<S: Served> Worker<S> {
    /// Tells what is to be told now.
    #[inline]
    pub(super) fn tell_losses(&mut self) {
        if self.shared.counters.malformed.get() != self.losses.malformed {
            self.tell_malformed();
        }
        let now = self.timers.now();
        if self.losses.next_look.is_some_and(|at| at <= now) {
            self.losses.looked = Some(now);
            self.look_for_drops();
        }
        self.report.tell_due();
    }

    /// Tells everything that is left to be told.
    pub(super) fn tell_all_losses(&mut self) {
        self.tell_malformed();
        self.look_for_drops();
        self.report.tell_rest();
    }

    #[cold]
    fn tell_malformed(&mut self) {
        let malformed = self.shared.counters.malformed.get();
        let new = malformed - std::mem::replace(&mut self.losses.malformed, malformed);
        let last = &self.shared.malformed;
        let client = *last.lock().unwrap_or_else(PoisonError::into_inner);
        if new > 0 {
            self.report.lost(Kind::Malformed, client.as_ref(), new);
        }
    }

    #[cold]
    fn look_for_drops(&mut self) {
        self.losses.next_look = None;
        self.losses.wakes = false;
        let Some(drops) = self.losses.endpoint.drops() else {
            return;
        };
        let told = &self.shared.counters.kernel_drops_told;
        let new = drops.saturating_sub(told.swap(drops, Ordering::Relaxed));
        if new > 0 {
            self.report.lost(Kind::Kernel, None, new);
        }
    }
}
