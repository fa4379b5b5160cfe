//! The kinds of lines in a worker's log: the one table of what is told at which level.

use std::error::Error;
use std::time::Duration;

use postbox_protocol::DatagramParseError;

use crate::error::{ClientFault, FlushError, RecvError, SendError};
use crate::support::log::causes;
use crate::support::panics;

/// Declares each kind once: its level, what its lines say, and, if it is about datagrams that were
/// lost, what to look at.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident: $level:ident, $text:literal $(, see $see:literal)?;)+) => {
        /// What is told, each kind with a limit of its own. What a handler fails with is of the
        /// first kind that fits.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl Kind {
            pub(super) const ALL: &[Self] = &[$(Self::$kind,)+];

            pub(super) fn level(self) -> tracing::Level {
                match self {
                    $(Self::$kind => tracing::Level::$level,)+
                }
            }

            pub(super) fn text(self) -> &'static str {
                match self {
                    $(Self::$kind => $text,)+
                }
            }

            /// For lost datagrams: the name of the limit, or of what else tells more.
            pub(super) const fn see(self) -> Option<&'static str> {
                match self {
                    $(Self::$kind => kinds!(@see $($see)?),)+
                }
            }
        }
    };
    (@see) => { None };
    (@see $see:literal) => { Some($see) };
}

kinds! {
    // What a handler ended with: one line a second, with the error.

    /// Something that is closed was used: the first time in a serving.
    ClosedAtFirst: WARN, "handler ended by a closed server";
    /// ... and from then on.
    Closed: DEBUG, "handler ended by a closed server";
    /// ... or since the server shuts down.
    ClosedByShutdown: DEBUG, "handler ended by the shutdown";
    /// A new client took the place of this one.
    Evicted: DEBUG, "handler ended in favour of a new client";
    /// The handler says that it was the client's fault.
    ClientFault: WARN, "bad request";
    /// A receive's error about what the client sent.
    BadDatagram: WARN, "bad datagram";
    /// One forged datagram does that.
    Silent: WARN, "client fell silent";
    /// What was sent did not reach the client.
    Unreachable: WARN, "client unreachable";
    /// A serializer or a converter panicked.
    Crash: ERROR, "protocol crashed";
    /// A parse error that does not tell whose datagram it was: perhaps the client's, taken out of the
    /// error of our receive; perhaps that of another server, which the handler asked.
    PerhapsBadDatagram: ERROR, "handler failed at a parse error";
    /// Any other error.
    Failed: ERROR, "handler failed";
    /// It panicked.
    Panicked: ERROR, "handler panicked";

    // What else can go wrong: one line a second, with the error.

    /// A handler, or its error, panicked when it was dropped.
    DropPanicked: ERROR, "handler panicked when dropped";
    /// A value of a handler's context variable did.
    VariablePanicked: ERROR, "a context variable panicked when dropped";
    /// The waker of somebody who waited did.
    WakerPanicked: ERROR, "a waker panicked";
    /// The admission check did.
    AdmissionPanicked: ERROR, "the admission check panicked";
    /// The session key did.
    SessionKeyPanicked: ERROR, "the session key panicked";
    /// A receive failed.
    Receive: WARN, "receive failed";
    /// A datagram did not leave, or not arrive.
    Send: WARN, "send failed";

    // Datagrams that nobody handled: one line in ten seconds, with their number.

    /// Over the bounds of one client's queue.
    ClientBound: WARN, "datagrams dropped: their client's queue is full",
        see "Limits::client_datagrams, Limits::client_bytes, Limits::total_bytes";
    /// Over the bound of all queues together.
    TotalBound: WARN, "datagrams dropped: all clients' queues together are full",
        see "Limits::total_bytes";
    /// Over the bound of clients.
    ClientsBound: WARN, "datagrams dropped: too many clients have a handler",
        see "Limits::clients";
    /// Over the bound of clients of one source prefix.
    PrefixBound: WARN, "datagrams dropped: too many clients of their prefix have a handler",
        see "Limits::clients_per_prefix";
    /// Over the bound of clients too: a client that was silent made room.
    Evictions: WARN, "silent clients ended in favour of new ones: too many have a handler",
        see "Limits::clients";
    /// In the socket's own buffer.
    Kernel: WARN, "datagrams dropped by the system: the socket's receive buffer was full",
        see "ServerBuilder::recv_buffer, net.core.rmem_max";
    /// By the admission check, or the session key.
    Refused: INFO, "datagrams refused by the admission check or the session key",
        see "ServerHandle::refusals";
    /// From where no answer can go.
    Source: INFO, "datagrams dropped: their source address cannot be answered",
        see "Stats::dropped_source";
    /// What a receive could not decode, whatever the handler made of that.
    Malformed: INFO, "datagrams that are no valid packets", see "Stats::malformed";
    /// Cut short on arrival.
    Truncated: INFO, "datagrams cut short: they are longer than the server receives",
        see "Limits::receive_datagram";
    /// Answers that had not left when the server ended.
    Abandoned: WARN, "answers given up: the system had not taken them when the server ended",
        see "ServerBuilder::send_buffer, Limits::outbox_bytes";
    /// Those that are kept for repeated questions, before their time.
    Forgotten: WARN, "answers forgotten early: their questions may be handled again",
        see "Limits::answers, Limits::answer_bytes";
    /// By a shutdown.
    Shutdown: DEBUG, "datagrams dropped by the shutdown", see "Stats::dropped_shutdown";
}

impl Kind {
    /// At most one line of a kind is told in so long.
    pub(super) const fn pause(self) -> Duration {
        match self.see() {
            None => Duration::from_secs(1),
            Some(_) => Duration::from_secs(10),
        }
    }

    /// What was left out waits so much longer for the next of its kind, whose line says more.
    pub(super) const fn patience(self) -> Duration {
        match self.see() {
            None => Duration::from_secs(1),
            Some(_) => Duration::ZERO,
        }
    }

    /// What a handler's error is.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        // Alone it is the client's: who passes on what another server sent says so around it.
        let alone = error
            .is::<DatagramParseError>()
            .then_some(Self::BadDatagram);
        let kinds = || causes(error).filter_map(Self::of_cause).min();
        let found = panics::catch(kinds).ok().flatten();
        alone.or(found).unwrap_or(Self::Failed)
    }

    /// What one error in the chain makes of the whole.
    fn of_cause(cause: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = cause.downcast_ref() {
            return match error {
                RecvError::Closed => Some(Self::Closed),
                RecvError::Parse(_) | RecvError::Truncated { .. } => Some(Self::BadDatagram),
                RecvError::TimedOut => Some(Self::Silent),
                RecvError::Evicted => Some(Self::Evicted),
                RecvError::Unreachable(_) => Some(Self::Unreachable),
                RecvError::Crashed { .. } => Some(Self::Crash),
            };
        }
        if let Some(error) = cause.downcast_ref() {
            return match error {
                SendError::Closed => Some(Self::Closed),
                SendError::Crashed { .. } => Some(Self::Crash),
                SendError::Make(_) | SendError::TooLarge { .. } | SendError::Full => None,
            };
        }
        if let Some(error) = cause.downcast_ref() {
            return match error {
                FlushError::Closed => Some(Self::Closed),
                FlushError::Io(_) => None,
            };
        }
        if cause.is::<ClientFault>() {
            return Some(Self::ClientFault);
        }
        let parse = cause.is::<DatagramParseError>();
        parse.then_some(Self::PerhapsBadDatagram)
    }
}

#[cfg(test)]
mod tests {
    use postbox_protocol::BoxError;

    use super::*;

    fn cause_of_cause(error: impl Into<BoxError>) -> BoxError {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] BoxError);
        Box::new(Outer(Box::new(Outer(error.into()))))
    }

    fn parse_error() -> DatagramParseError {
        DatagramParseError::Deserialize("not a document".into())
    }

    fn refused() -> std::io::Error {
        std::io::ErrorKind::ConnectionRefused.into()
    }

    #[test]
    fn h11_what_an_error_is_is_found_wherever_it_is_in_the_chain() {
        let message = || String::from("no idea");
        let errors: [(fn() -> BoxError, Kind); 12] = [
            (|| RecvError::Closed.into(), Kind::Closed),
            (|| SendError::Closed.into(), Kind::Closed),
            (|| FlushError::Closed.into(), Kind::Closed),
            (|| RecvError::Parse(parse_error()).into(), Kind::BadDatagram),
            (
                || RecvError::Truncated { received: 3 }.into(),
                Kind::BadDatagram,
            ),
            (|| RecvError::TimedOut.into(), Kind::Silent),
            (|| RecvError::Evicted.into(), Kind::Evicted),
            (
                || RecvError::Unreachable(refused()).into(),
                Kind::Unreachable,
            ),
            (
                || ClientFault::new("no such item").into(),
                Kind::ClientFault,
            ),
            (|| SendError::Full.into(), Kind::Failed),
            (
                || FlushError::Io(std::io::Error::other("x")).into(),
                Kind::Failed,
            ),
            (|| "anything else".into(), Kind::Failed),
        ];
        for (error, kind) in errors {
            assert_eq!(Kind::of(&*error()), kind);
            assert_eq!(Kind::of(&*cause_of_cause(error())), kind);
        }
        let crashes: [BoxError; 2] = [
            RecvError::Crashed { message: message() }.into(),
            SendError::Crashed { message: message() }.into(),
        ];
        for crash in crashes {
            assert_eq!(Kind::of(&*crash), Kind::Crash);
            assert_eq!(Kind::of(&*cause_of_cause(crash)), Kind::Crash);
        }
    }

    #[test]
    fn h11_a_parse_error_tells_by_itself_whose_datagram_it_was_and_as_a_cause_not() {
        assert_eq!(Kind::of(&parse_error()), Kind::BadDatagram);
        let cause = cause_of_cause(parse_error());
        assert_eq!(Kind::of(&*cause), Kind::PerhapsBadDatagram);
    }

    #[test]
    fn h11_the_clients_fault_is_what_the_handler_says_but_closed_is_nobodys() {
        let of = |error: RecvError| Kind::of(&ClientFault::new(error));
        assert_eq!(of(RecvError::TimedOut), Kind::ClientFault);
        assert_eq!(of(RecvError::Parse(parse_error())), Kind::ClientFault);
        assert_eq!(of(RecvError::Closed), Kind::Closed);
    }

    #[test]
    fn h11_a_flood_of_everything_at_once_is_fewer_than_twenty_lines_a_second() {
        let per_second = |kind: &Kind| 1.0 / kind.pause().as_secs_f64();
        let written = |kind: &&Kind| kind.level() <= tracing::Level::INFO;
        let all: f64 = Kind::ALL.iter().filter(written).map(per_second).sum();
        assert!(all < 20.0, "{all}");
    }
}
