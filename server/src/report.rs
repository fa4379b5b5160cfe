//! What goes into the log, and how often.

use std::error::Error;
use std::fmt::{self, Write};
use std::iter::successors;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postbox_protocol::{BoxError, DatagramParseError};
use tokio::time::Instant;

use crate::error::{FlushError, RecvError, SendError};
use crate::panics;

/// An error and its causes, in one line of the log.
///
/// A cause may quote what a stranger sent, and telling it is the user's code: the line is cut at
/// [`LINE`] characters, those that could steer a terminal or forge a line are escaped, and a panic
/// is told.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, |line| {
            write!(line, "{}", self.0)?;
            causes(self.0)
                .skip(1)
                .try_for_each(|cause| write!(line, ": {cause}"))
        })
    }
}

/// A panic's message in one line of the log, like [`Chain`].
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, |line| line.write_str(self.0))
    }
}

/// The longest text in the log, in characters: enough for any honest error.
const LINE: usize = 512;

fn write_line(
    out: &mut fmt::Formatter<'_>,
    text: impl FnOnce(&mut Line<'_, '_>) -> fmt::Result,
) -> fmt::Result {
    let room = LINE - 1; // for the mark of what was cut
    let mut line = Line { out, room };
    let written = panics::catch(|| text(&mut line))
        .unwrap_or_else(|message| write!(line, "(its text panicked: {message})"));
    match written {
        Ok(()) => Ok(()),
        Err(fmt::Error) => out.write_char('…'),
    }
}

/// Escapes and counts what is written, and fails when it is full: what writes then stops.
struct Line<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    room: usize,
}

impl Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        let escaped = c.escape_debug();
        let harmless = escaped.len() == 1 || matches!(c, '"' | '\'' | '\\');
        let len = if harmless { 1 } else { escaped.len() };
        self.room = self.room.checked_sub(len).ok_or(fmt::Error)?;
        if harmless {
            self.out.write_char(c)
        } else {
            write!(self.out, "{escaped}")
        }
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

    pub(crate) fn admit_panicked(&mut self, client: SocketAddr, message: &str, now: Instant) {
        if let Some(suppressed) = self.admit.pass(now) {
            tracing::error!(%client, suppressed, "the admission check panicked: {}", Text(message));
        }
    }
}

/// A handler panicked.
pub(crate) fn handler_panicked(client: SocketAddr, message: &str) {
    tracing::error!(%client, "handler panicked: {}", Text(message));
}

/// An error and its causes. A user's chain of them may have no end.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source()).take(LINE)
}

/// Whether an error or one of its causes is of some kind.
fn any_cause(error: &(dyn Error + 'static), is: fn(&(dyn Error + 'static)) -> bool) -> bool {
    panics::catch(|| causes(error).any(is)).unwrap_or(false)
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
    matches!(error.downcast_ref(), Some(RecvError::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with a message and perhaps a cause.
    #[derive(Debug)]
    struct Failure(String, Option<Box<Self>>);

    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }

    impl Error for Failure {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    fn failure(messages: &[&str]) -> Failure {
        let (first, causes) = messages.split_first().unwrap();
        let cause = (!causes.is_empty()).then(|| Box::new(failure(causes)));
        Failure(String::from(*first), cause)
    }

    #[test]
    fn h11_an_error_is_told_with_its_causes_in_one_line() {
        let error = failure(&["no answer", "it's a \"quote\" from C:\\", "Größe 你好"]);
        assert_eq!(
            Chain(&error).to_string(),
            "no answer: it's a \"quote\" from C:\\: Größe 你好"
        );
    }

    #[test]
    fn h11_what_strangers_wrote_cannot_begin_a_line_or_steer_a_terminal() {
        let error = failure(&[
            "bad \r\n2026 ERROR forged",
            "\u{1b}[2J\0\u{7f}\u{9b}\u{2028}\u{202e}",
        ]);
        assert_eq!(
            Chain(&error).to_string(),
            "bad \\r\\n2026 ERROR forged: \\u{1b}[2J\\0\\u{7f}\\u{9b}\\u{2028}\\u{202e}"
        );
        assert_eq!(Text("\n").to_string(), "\\n");
    }

    #[test]
    fn h11_a_line_is_cut_however_long_its_causes_are() {
        let long = "ü".repeat(65_000);
        for error in [
            failure(&[&long]),
            failure(&["short", &long, "never told"]),
            failure(&[""; 1000]),
        ] {
            let line = Chain(&error).to_string();
            assert_eq!(line.chars().count(), 512);
            assert!(line.ends_with('…'));
        }
        assert_eq!(Text(&long).to_string().chars().count(), 512);
        // Up to the bound nothing is cut, and no escape is cut in two.
        let fits = "x".repeat(511);
        assert_eq!(Chain(&failure(&[&fits])).to_string(), fits);
        let escape = format!("{}\u{202e}", "x".repeat(511 - 7));
        assert_eq!(
            Text(&escape).to_string(),
            format!("{}…", &escape[..511 - 7])
        );
    }

    /// An error whose every method panics.
    #[derive(Debug)]
    struct Rude;

    impl fmt::Display for Rude {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half ")?;
            panic!("no\nmanners");
        }
    }

    impl Error for Rude {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            panic!("no source");
        }
    }

    #[test]
    fn h12_an_error_that_panics_when_it_is_told_ends_nothing() {
        assert_eq!(
            Chain(&Rude).to_string(),
            "half (its text panicked: no\\nmanners)"
        );
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
        let message = "no idea".to_owned();
        for other in [silent(), RecvError::Crashed { message }.into()] {
            assert!(!any_cause(&*other, is_closed) && !is_bad_datagram(&*other));
        }
        for other in [RecvError::Closed, parse().into()] {
            assert!(!any_cause(&other, is_silent));
        }
    }

    #[test]
    fn h11_repeated_messages_pass_once_a_second_and_the_others_are_counted() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut throttle = Throttle::default();
        assert_eq!(throttle.pass(at(0)), Some(0));
        assert_eq!(throttle.pass(at(0)), None);
        assert_eq!(throttle.pass(at(999)), None);
        assert_eq!(throttle.pass(at(1000)), Some(2));
        assert_eq!(throttle.pass(at(1999)), None);
        assert_eq!(throttle.pass(at(5000)), Some(1));
        assert_eq!(throttle.pass(at(7000)), Some(0));
    }
}
