//! What the interop peers say to each other, one packet a datagram, in any [`Format`]. `wire.py` is
//! the same thing in the terms of EasyNetwork, with the table of what answers what.

mod format;
pub mod protobuf;

use std::error::Error;

use serde::{Deserialize, Serialize};

pub use format::{Format, KEY, Shared};

/// A datagram that is none in any format: what [`Ask::Garble`] is answered with, before the real
/// answer.
pub const GARBAGE: &[u8] = br#"{"reply": "ec"#;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Ask {
    /// Answered with the same text.
    Echo {
        /// Any text.
        text: String,
    },
    /// Answered with half of the number, which is exact for every double that is not tiny.
    Half {
        /// Any finite number.
        number: f64,
    },
    /// Starts a conversation: the next echo within the timeout is *heard*.
    Conversation {
        /// How long the server waits for the next request, in milliseconds.
        timeout_ms: u64,
    },
    /// Asks for a datagram that is none.
    Garble {},
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To a request.
    Reply(Reply),
    /// To what is no request.
    Refusal {
        /// Always [`BAD_REQUEST`].
        error: String,
        /// Why, in words.
        reason: String,
    },
}

/// The error of every refusal.
pub const BAD_REQUEST: &str = "bad request";

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "reply", rename_all = "lowercase")]
pub enum Reply {
    /// To [`Ask::Echo`].
    Echo {
        /// The text that came in.
        text: String,
    },
    /// To [`Ask::Half`].
    Half {
        /// Half of the number that came in.
        number: f64,
    },
    /// To [`Ask::Conversation`].
    #[serde(rename = "go on")]
    GoOn {},
    /// To the echo that continued a conversation.
    Heard {
        /// The text that came in.
        text: String,
    },
    /// No echo continued the conversation in time.
    #[serde(rename = "timed out")]
    TimedOut {},
    /// To [`Ask::Garble`], after the datagram that is none.
    Garbled {},
}

impl Answer {
    /// Returns the answer to what is no request.
    pub fn bad_request(reason: impl Into<String>) -> Self {
        Self::Refusal {
            error: BAD_REQUEST.to_owned(),
            reason: reason.into(),
        }
    }

    /// Returns the answer to what could not be parsed, with the error and its causes as the reason.
    pub fn unparsed(error: &dyn Error) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason.push_str(": ");
            reason.push_str(&error.to_string());
            cause = error.source();
        }
        Self::bad_request(reason)
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}
