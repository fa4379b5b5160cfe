//! What a worker writes into the log, and how often.
//!
//! Strangers cause most of it, so every kind of line has a limit of its own: the first is written
//! at once, then one in a while, with how many were left out. What is left out is written when no
//! more of its kind come, and at the latest when the worker ends. [`Kind`] is the table of all.

mod kind;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postbox_protocol::BoxError;
use tokio::time::Instant;
use tracing::Level;
use tracing::field::display;

use crate::support::Throttle;
use crate::support::log::{self, Chain, Text};
use crate::support::panics::WakerPanics;

pub(crate) use kind::Kind;

/// The log of one worker.
#[derive(Debug)]
pub(crate) struct Report {
    /// The address of the worker's socket, for what is about no client.
    bound: SocketAddr,
    /// The clock, read once a turn.
    now: Instant,
    /// One for each [`Kind`].
    limits: [Throttle<Option<SocketAddr>>; Kind::ALL.len()],
    /// When something that was left out is to be told, or before.
    due: Option<Instant>,
    /// Shared by the workers of one serving.
    closed_told: Arc<AtomicBool>,
}

impl Report {
    pub(crate) fn new(bound: SocketAddr, closed_told: Arc<AtomicBool>) -> Self {
        Self {
            bound,
            now: Instant::now(),
            limits: [Throttle::NEW; Kind::ALL.len()],
            due: None,
            closed_told,
        }
    }

    /// A turn begins.
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.now = now;
    }

    /// A handler returned an error.
    pub(crate) fn handler_failed(&mut self, client: SocketAddr, error: &BoxError, closing: bool) {
        let kind = match Kind::of(&**error) {
            Kind::Closed if closing => Kind::ClosedByShutdown,
            Kind::Closed if !self.closed_told.swap(true, Ordering::Relaxed) => Kind::ClosedAtFirst,
            kind => kind,
        };
        self.failed(kind, client, &Chain(&**error));
    }

    /// Code of the user's panicked.
    pub(crate) fn panicked(&mut self, kind: Kind, client: SocketAddr, message: &str) {
        self.failed(kind, client, &Text(message));
    }

    /// Wakers did.
    pub(crate) fn wakers_panicked(&mut self, panics: &WakerPanics) {
        self.failed_times(
            Kind::WakerPanicked,
            None,
            panics.count,
            &Text(&panics.first),
        );
    }

    /// Receiving failed, by nobody's fault in particular.
    pub(crate) fn receive_failed(&mut self, error: &std::io::Error) {
        self.failed_times(Kind::Receive, None, 1, error);
    }

    /// Something failed.
    pub(crate) fn failed(&mut self, kind: Kind, client: SocketAddr, why: &dyn fmt::Display) {
        self.failed_times(kind, Some(client), 1, why);
    }

    fn failed_times(
        &mut self,
        kind: Kind,
        client: Option<SocketAddr>,
        times: u64,
        why: &dyn fmt::Display,
    ) {
        if let Some(times) = self.pass(kind, client, times) {
            let text = kind.text();
            self.tell(kind, client, times - 1, &format_args!("{text}: {why}"));
        }
    }

    /// So many datagrams were lost: one of them this client's. In a flood this adds them up.
    #[inline]
    pub(crate) fn lost(&mut self, kind: Kind, client: Option<&SocketAddr>, count: u64) {
        if !self.limits[kind as usize].leave_out_more(count) {
            self.lost_again(kind, client.copied(), count);
        }
    }

    #[cold]
    fn lost_again(&mut self, kind: Kind, client: Option<SocketAddr>, count: u64) {
        if let Some(count) = self.pass(kind, client, count) {
            self.tell_lost(kind, client, count);
        }
    }

    fn pass(&mut self, kind: Kind, client: Option<SocketAddr>, count: u64) -> Option<u64> {
        let limit = &mut self.limits[kind as usize];
        let nothing_waits = limit.may_be_told().is_none();
        let passed = limit.pass(self.now, kind.pause(), count, client);
        if passed.is_none() && nothing_waits {
            self.find_due();
        }
        passed
    }

    /// When [`tell_due`](Self::tell_due) has something to tell.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells what was left out and has waited long enough.
    #[inline]
    pub(crate) fn tell_due(&mut self) {
        if self.due.is_some_and(|due| due <= self.now) {
            let now = self.now;
            self.tell_left_out(|due| due <= now);
        }
    }

    /// The worker ends: tells what was left out.
    pub(crate) fn tell_rest(&mut self) {
        self.tell_left_out(|_| true);
    }

    fn tell_left_out(&mut self, is_due: impl Fn(Instant) -> bool) {
        for &kind in Kind::ALL {
            if !self.due_of(kind).is_some_and(&is_due) {
                continue;
            }
            let limit = &mut self.limits[kind as usize];
            let Some((count, client)) = limit.take_left_out(self.now, kind.pause()) else {
                continue;
            };
            match kind.see() {
                Some(_) => self.tell_lost(kind, client, count),
                None => {
                    let text = kind.text();
                    self.tell(kind, client, count, &format_args!("{text}: {count} more"));
                }
            }
        }
        self.find_due();
    }

    /// When what was left out of this kind is to be told.
    fn due_of(&self, kind: Kind) -> Option<Instant> {
        let at = self.limits[kind as usize].may_be_told()?;
        Some(at + kind.patience())
    }

    #[cold]
    fn find_due(&mut self) {
        let all = Kind::ALL.iter();
        self.due = all.filter_map(|kind| self.due_of(*kind)).min();
    }

    #[cold]
    fn tell_lost(&self, kind: Kind, client: Option<SocketAddr>, count: u64) {
        self.tell(kind, client, count, &kind.text());
    }

    /// Writes a line. `number`: of those left out, or of the datagrams that were lost.
    fn tell(&self, kind: Kind, client: Option<SocketAddr>, number: u64, text: &dyn fmt::Display) {
        let see = kind.see();
        let bound = client.is_none().then(|| display(self.bound));
        let client = client.map(display);
        let count = see.map(|_| number);
        let suppressed = see.is_none().then_some(number);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(client, bound, suppressed, count, see, "{text}")
            };
        }
        log::tell(|| match kind.level() {
            Level::ERROR => line!(error),
            Level::WARN => line!(warn),
            Level::INFO => line!(info),
            _ => line!(debug),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    /// An error that cannot be told.
    #[derive(Debug)]
    struct Rude;

    impl fmt::Display for Rude {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no manners");
        }
    }

    impl Error for Rude {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            panic!("no source");
        }
    }

    #[test]
    fn h12_an_error_that_panics_when_it_is_told_ends_no_worker() {
        let error: BoxError = Box::new(Rude);
        let client = "192.0.2.1:9".parse().unwrap();
        let mut report = Report::new("192.0.2.2:7".parse().unwrap(), Arc::default());
        report.handler_failed(client, &error, false);
    }
}
