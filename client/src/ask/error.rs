use std::io;

use crate::UdpSendError;

/// Why a question has no answer. It speaks of this question only: others go on, and one can ask
/// again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The question could not be sent: its own packet is at fault, or the system refused it.
    #[error("the question could not be sent")]
    NotSent(#[from] UdpSendError),

    /// No answer came until the deadline. Whether the server has done what it was asked is not
    /// known.
    #[error("no answer came in time")]
    TimedOut,

    /// Nobody listens at the server's address, and its system said so (by ICMP). Many networks keep
    /// that word back: then it is [`TimedOut`](Self::TimedOut).
    #[error("refused: nobody listens at the server's address")]
    Refused,

    /// Every number that a question can have is in use: too many questions are open at once for
    /// this protocol.
    #[error("every number for a question is in use")]
    NoNumber,

    /// The matching panicked while it put a number into the question.
    #[error("the matching panicked: {message}")]
    Crashed {
        /// The panic's message.
        message: String,
    },

    /// The socket failed.
    #[error("cannot receive")]
    Io(#[source] io::Error),
}
