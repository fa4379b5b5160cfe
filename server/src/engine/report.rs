//! What a worker writes into the log, and how often.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postbox_protocol::{BoxError, DatagramParseError};
use tokio::time::Instant;

use crate::error::{FlushError, RecvError, SendError};
use crate::support::log::{Chain, Text, Throttle, any_cause};

/// The log of one worker.
#[derive(Debug, Default)]
pub(crate) struct Report {
    parse: Throttle,
    perhaps_parse: Throttle,
    silent: Throttle,
    receive: Throttle,
    send: Throttle,
    admit: Throttle,
    /// Shared by the workers of one serving.
    closed_told: Arc<AtomicBool>,
}

impl Report {
    pub(crate) fn new(closed_told: Arc<AtomicBool>) -> Self {
        Self {
            closed_told,
            ..Self::default()
        }
    }

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
            } else if !self.closed_told.swap(true, Ordering::Relaxed) {
                tracing::warn!(%client, "handler ended by a closed server: {}", Chain(error));
            } else {
                tracing::debug!(%client, "handler ended by a closed server: {}", Chain(error));
            }
        } else if any_cause(error, is_evicted) {
            tracing::debug!(%client, "handler ended in favour of a new client: {}", Chain(error));
        } else if is_bad_datagram(error) {
            if let Some(suppressed) = self.parse.pass(now) {
                tracing::warn!(%client, suppressed, "bad datagram: {}", Chain(error));
            }
        } else if any_cause(error, is_silent) {
            // One forged datagram does that, so it is limited too.
            if let Some(suppressed) = self.silent.pass(now) {
                tracing::warn!(%client, suppressed, "client fell silent: {}", Chain(error));
            }
        } else if any_cause(error, is_parse_error) {
            // Perhaps the client's all the same, taken out of the error of our receive.
            if let Some(suppressed) = self.perhaps_parse.pass(now) {
                tracing::error!(%client, suppressed, "handler failed: {}", Chain(error));
            }
        } else {
            tracing::error!(%client, "handler failed: {}", Chain(error));
        }
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

    pub(crate) fn admission_panicked(&mut self, client: SocketAddr, message: &str, now: Instant) {
        if let Some(suppressed) = self.admit.pass(now) {
            tracing::error!(%client, suppressed, "the admission check panicked: {}", Text(message));
        }
    }
}

/// A handler panicked.
pub(crate) fn handler_panicked(client: SocketAddr, message: &str) {
    tracing::error!(%client, "handler panicked: {}", Text(message));
}

fn is_closed(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(RecvError::Closed))
        || matches!(error.downcast_ref(), Some(SendError::Closed))
        || matches!(error.downcast_ref(), Some(FlushError::Closed))
}

/// Whether a receive of ours gave this error, or the cause of one, for what the client sent. A
/// parse error alone does not tell whose datagram it was: as a cause it may be that of another
/// server, which the handler asked.
fn is_bad_datagram(error: &(dyn Error + 'static)) -> bool {
    let is_bad = |error: &(dyn Error + 'static)| {
        let error = error.downcast_ref();
        matches!(
            error,
            Some(RecvError::Parse(_) | RecvError::Truncated { .. })
        )
    };
    is_parse_error(error) || any_cause(error, is_bad)
}

fn is_parse_error(error: &(dyn Error + 'static)) -> bool {
    error.is::<DatagramParseError>()
}

fn is_silent(error: &(dyn Error + 'static)) -> bool {
    matches!(
        error.downcast_ref(),
        Some(RecvError::TimedOut | RecvError::Unreachable(_))
    )
}

fn is_evicted(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(RecvError::Evicted))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error that cannot be told.
    #[derive(Debug)]
    struct Rude;

    impl std::fmt::Display for Rude {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        Report::default().handler_failed(client, &error, false, Instant::now());
    }

    #[test]
    fn h11_closed_bad_datagrams_and_silence_are_found_wherever_they_are_in_the_chain() {
        fn cause_of_cause(error: impl Into<BoxError>) -> BoxError {
            #[derive(Debug, thiserror::Error)]
            #[error("outer")]
            struct Outer(#[source] BoxError);
            Box::new(Outer(Box::new(Outer(error.into()))))
        }
        for closed in [
            BoxError::from(RecvError::Closed),
            SendError::Closed.into(),
            FlushError::Closed.into(),
        ] {
            assert!(any_cause(&*closed, is_closed));
            assert!(!is_bad_datagram(&*closed));
            assert!(any_cause(&*cause_of_cause(closed), is_closed));
        }
        let parse = || DatagramParseError::Deserialize("not a document".into());
        for bad in [
            RecvError::Parse(parse()),
            RecvError::Truncated { received: 3 },
        ] {
            let bad = BoxError::from(bad);
            assert!(is_bad_datagram(&*bad));
            assert!(!any_cause(&*bad, is_closed));
            assert!(is_bad_datagram(&*cause_of_cause(bad)));
        }
        // Of itself this does not tell whose datagram it was: in a chain it may be another's.
        assert!(is_bad_datagram(&parse()));
        assert!(!is_bad_datagram(&*cause_of_cause(parse())));
        let silent = || BoxError::from(RecvError::TimedOut);
        assert!(any_cause(&*silent(), is_silent));
        assert!(any_cause(&*cause_of_cause(silent()), is_silent));
        let gone = || {
            let refused = std::io::ErrorKind::ConnectionRefused.into();
            BoxError::from(RecvError::Unreachable(refused))
        };
        assert!(any_cause(&*gone(), is_silent));
        assert!(any_cause(&*cause_of_cause(gone()), is_silent));
        let evicted = || BoxError::from(RecvError::Evicted);
        assert!(any_cause(&*evicted(), is_evicted));
        assert!(any_cause(&*cause_of_cause(evicted()), is_evicted));
        for other in [evicted(), silent(), gone()] {
            assert!(!any_cause(&*other, is_closed) && !is_bad_datagram(&*other));
        }
        let message = "no idea".to_owned();
        for other in [silent(), RecvError::Crashed { message }.into()] {
            assert!(!any_cause(&*other, is_closed) && !is_bad_datagram(&*other));
        }
        for other in [RecvError::Closed, parse().into()] {
            assert!(!any_cause(&other, is_silent));
        }
    }
}
