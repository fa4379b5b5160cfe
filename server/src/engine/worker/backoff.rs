//! Pauses between receives that fail.

use std::time::Duration;

use tokio::time::Instant;

/// The first error is usually about one datagram, and the next receive works; repeated ones must
/// not burn the CPU.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Errors in a row.
    errors: u32,
    last: Option<Instant>,
    until: Option<Instant>,
}

/// The pause after the second error in a row. Each further one doubles it, up to 64 times.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// An error this long after the last one is not taken for the same again: longer than any pause.
const FORGET_ERROR: Duration = Duration::from_secs(1);

impl Backoff {
    pub(super) fn succeeded(&mut self) {
        self.errors = 0;
    }

    /// Returns how many errors in a row these are.
    pub(super) fn failed(&mut self, now: Instant) -> u32 {
        let recent = |last: Instant| now.duration_since(last) <= FORGET_ERROR;
        if !self.last.replace(now).is_some_and(recent) {
            self.errors = 0;
        }
        if self.errors > 0 {
            self.until = Some(now + FIRST_PAUSE * (1 << (self.errors - 1).min(6)));
        }
        self.errors += 1;
        self.errors
    }

    /// When the present pause ends, if there is one.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}
