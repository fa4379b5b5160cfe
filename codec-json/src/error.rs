use std::fmt;
use std::str::Utf8Error;

use serde_json::error::Category;

/// Why a datagram is not the JSON that was expected, or a packet has no form in JSON.
///
/// It is the [`source`](std::error::Error::source) of the protocol's errors. The message says what
/// was found, what was expected, and where. It can quote what the peer sent, at any length and with
/// any character: cut and escape it before it goes where that matters.
///
/// # Examples
///
/// ```
/// use std::error::Error;
///
/// use postbox_codec_json::{JsonError, JsonSerializer};
/// use postbox_protocol::{DatagramProtocol, Protocol};
///
/// let protocol = DatagramProtocol::new(JsonSerializer::<Vec<u8>>::new());
/// let error = protocol.build_packet(b"[1,\n 256]").unwrap_err();
///
/// let cause = error.source().unwrap();
/// assert_eq!(
///     cause.to_string(),
///     "invalid value: integer `256`, expected u8 at line 2 column 4",
/// );
/// let cause: &JsonError = cause.downcast_ref().unwrap();
/// assert!(cause.is_data());
/// assert_eq!(cause.line(), Some(2));
/// ```
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JsonError {
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("invalid UTF-8 at {0}")]
    Utf8(Place),

    #[error("a key that serde_json keeps for itself at {0}")]
    KeptKey(Place),

    #[error(transparent)]
    Read(serde_json::Error),

    #[error(transparent)]
    Write(serde_json::Error),
}

/// Where in a datagram, from 1; the column in bytes.
#[derive(Debug)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn of(datagram: &[u8], position: usize) -> Self {
        let before = &datagram[..position];
        let line_start = before.iter().rposition(|byte| *byte == b'\n');
        Self {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: position - line_start.map_or(0, |end| end + 1) + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

impl JsonError {
    pub(crate) fn utf8(datagram: &[u8], error: Utf8Error) -> Self {
        Self {
            cause: Cause::Utf8(Place::of(datagram, error.valid_up_to())),
        }
    }

    pub(crate) fn kept_key(document: &str, position: usize) -> Self {
        Self {
            cause: Cause::KeptKey(Place::of(document.as_bytes(), position)),
        }
    }

    pub(crate) fn read(error: serde_json::Error) -> Self {
        Self {
            cause: Cause::Read(error),
        }
    }

    pub(crate) fn write(error: serde_json::Error) -> Self {
        Self {
            cause: Cause::Write(error),
        }
    }

    /// Returns whether the datagram is not one whole JSON document that can be read: it breaks the
    /// grammar, is cut short, has bytes left over, nests too deep, or has a number out of range.
    pub fn is_syntax(&self) -> bool {
        match &self.cause {
            Cause::Utf8(_) => true,
            Cause::Read(error) => matches!(error.classify(), Category::Syntax | Category::Eof),
            Cause::KeptKey(_) | Cause::Write(_) => false,
        }
    }

    /// Returns whether the datagram is JSON, but not of the expected type: a field is missing or
    /// there twice, or a value is of another kind.
    pub fn is_data(&self) -> bool {
        match &self.cause {
            Cause::KeptKey(_) => true,
            Cause::Read(error) => error.classify() == Category::Data,
            Cause::Utf8(_) | Cause::Write(_) => false,
        }
    }

    /// Returns whether the packet to send has no form in JSON.
    pub fn is_write(&self) -> bool {
        matches!(self.cause, Cause::Write(_))
    }

    /// Returns the line of the datagram, from 1.
    ///
    /// There is none when sending failed, and none if serde compared the value as a whole (a
    /// document that is no variant of an untagged enum).
    pub fn line(&self) -> Option<usize> {
        self.position().map(|(line, _)| line)
    }

    /// Returns the column in bytes, from 1: that of the offending byte, or of the last one read. It
    /// is 0 if nothing of the line was read.
    pub fn column(&self) -> Option<usize> {
        self.position().map(|(_, column)| column)
    }

    fn position(&self) -> Option<(usize, usize)> {
        match &self.cause {
            Cause::Utf8(place) | Cause::KeptKey(place) => Some((place.line, place.column)),
            Cause::Read(error) if error.line() > 0 => Some((error.line(), error.column())),
            Cause::Read(_) | Cause::Write(_) => None,
        }
    }
}
