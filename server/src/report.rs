//! What goes into the log, and how often.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use postbox_protocol::{BoxError, DatagramParseError};
use tokio::time::Instant;

use crate::error::{FlushError, RecvError, SendError};

/// An error and its causes, in one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Lets one message through each second, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Whether to log now, and how many messages were suppressed before.
    pub(crate) fn pass(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < Self::PAUSE)
        {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// The log of one worker.
#[derive(Debug, Default)]
pub(crate) struct Report {
    parse: Throttle,
    receive: Throttle,
    send: Throttle,
    admit: Throttle,
    closed_told: bool,
}

impl Report {
    /// A handler returned an error.
    pub(crate) fn handler_failed(
        &mut self,
        client: SocketAddr,
        error: &BoxError,
        closing: bool,
        now: Instant,
    ) {
        let error: &(dyn Error + 'static) = &**error;
        if any_cause(error, is_closed) {
            if closing {
                tracing::debug!(%client, "handler ended by the shutdown: {}", Chain(error));
            } else if !std::mem::replace(&mut self.closed_told, true) {
                tracing::warn!(%client, "handler ended by a closed server: {}", Chain(error));
            }
        } else if any_cause(error, is_parse) {
            if let Some(suppressed) = self.parse.pass(now) {
                tracing::warn!(%client, suppressed, "bad datagram: {}", Chain(error));
            }
        } else {
            tracing::error!(%client, "handler failed: {}", Chain(error));
        }
    }

    /// A handler panicked.
    #[expect(clippy::unused_self, reason = "one place for what a worker logs")]
    pub(crate) fn handler_panicked(&mut self, client: SocketAddr, message: &str) {
        tracing::error!(%client, "handler panicked: {message}");
    }

    pub(crate) fn receive_failed(
        &mut self,
        bound: SocketAddr,
        error: &std::io::Error,
        now: Instant,
    ) {
        if let Some(suppressed) = self.receive.pass(now) {
            tracing::warn!(%bound, suppressed, "receive failed: {error}");
        }
    }

    pub(crate) fn send_failed(&mut self, client: SocketAddr, error: &std::io::Error, now: Instant) {
        if let Some(suppressed) = self.send.pass(now) {
            tracing::warn!(%client, suppressed, "send failed: {error}");
        }
    }

    pub(crate) fn admit_panicked(&mut self, client: SocketAddr, message: &str, now: Instant) {
        if let Some(suppressed) = self.admit.pass(now) {
            tracing::error!(%client, suppressed, "the admission check panicked: {message}");
        }
    }
}

/// Whether an error or one of its causes is of some kind.
fn any_cause(error: &(dyn Error + 'static), is: fn(&(dyn Error + 'static)) -> bool) -> bool {
    is(error) || error.source().is_some_and(|cause| any_cause(cause, is))
}

fn is_closed(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(RecvError::Closed))
        || matches!(error.downcast_ref(), Some(SendError::Closed))
        || matches!(error.downcast_ref(), Some(FlushError::Closed))
}

fn is_parse(error: &(dyn Error + 'static)) -> bool {
    error.is::<DatagramParseError>()
        || matches!(error.downcast_ref(), Some(RecvError::Truncated { .. }))
}
