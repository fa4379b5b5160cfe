//! Lines of the log: how errors and panics are told.

use std::cell::RefCell;
use std::error::Error;
use std::fmt::{self, Write};
use std::iter::successors;
use std::time::Duration;

use tokio::time::Instant;

use super::{Throttle, panics};

/// Writes a line of the log. What takes it is the user's: a panic of it is no reason to end
/// anything, and there is nowhere else to tell it.
pub(crate) fn tell(line: impl FnOnce()) {
    let _ = panics::catch(line);
}

/// Writes a line that has no worker which would limit it: one a second on each thread, at most,
/// with how many were left out.
pub(crate) fn tell_elsewhere(line: impl FnOnce(u64)) {
    thread_local! {
        static LIMIT: RefCell<Throttle<()>> = const { RefCell::new(Throttle::NEW) };
    }
    // Of the system, since a runtime's clock is not to be had everywhere.
    let now = Instant::from_std(std::time::Instant::now());
    let pass = |limit: &RefCell<Throttle<()>>| {
        let pause = Duration::from_secs(1);
        limit.borrow_mut().pass(now, pause, 1, ())
    };
    // Where the thread ends there is no limit any more.
    if let Some(times) = LIMIT.try_with(pass).unwrap_or(Some(1)) {
        tell(|| line(times - 1));
    }
}

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

/// An error and its causes. A user's chain of them may have no end.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source()).take(LINE)
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
    }
}
