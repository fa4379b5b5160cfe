//! The messages of `wire.proto`, and how they are what the peers say.
#![allow(missing_docs, reason = "it is made by prost-build")]

use postbox_protocol::BoxError;

use crate::{Answer as Said, Ask as Asked, Reply};

include!(concat!(env!("OUT_DIR"), "/postbox.interop.rs"));

/// `wire.proto` as a `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

impl From<Asked> for Ask {
    fn from(asked: Asked) -> Self {
        let op = match asked {
            Asked::Echo { text } => ask::Op::Echo(Text { text }),
            Asked::Half { number } => ask::Op::Half(Number { number }),
            Asked::Conversation { timeout_ms } => {
                ask::Op::Conversation(Conversation { timeout_ms })
            }
            Asked::Garble {} => ask::Op::Garble(Nothing {}),
        };
        Self { op: Some(op) }
    }
}

impl TryFrom<Ask> for Asked {
    type Error = BoxError;

    fn try_from(ask: Ask) -> Result<Self, BoxError> {
        Ok(match ask.op.ok_or("nothing is asked")? {
            ask::Op::Echo(Text { text }) => Self::Echo { text },
            ask::Op::Half(Number { number }) => Self::Half { number },
            ask::Op::Conversation(Conversation { timeout_ms }) => Self::Conversation { timeout_ms },
            ask::Op::Garble(Nothing {}) => Self::Garble {},
        })
    }
}

impl From<Said> for Answer {
    fn from(said: Said) -> Self {
        let reply = match said {
            Said::Refusal { error, reason } => answer::Reply::Refusal(Refusal { error, reason }),
            Said::Reply(reply) => match reply {
                Reply::Echo { text } => answer::Reply::Echo(Text { text }),
                Reply::Half { number } => answer::Reply::Half(Number { number }),
                Reply::GoOn {} => answer::Reply::GoOn(Nothing {}),
                Reply::Heard { text } => answer::Reply::Heard(Text { text }),
                Reply::TimedOut {} => answer::Reply::TimedOut(Nothing {}),
                Reply::Garbled {} => answer::Reply::Garbled(Nothing {}),
            },
        };
        Self { reply: Some(reply) }
    }
}

impl TryFrom<Answer> for Said {
    type Error = BoxError;

    fn try_from(answer: Answer) -> Result<Self, BoxError> {
        Ok(Self::Reply(
            match answer.reply.ok_or("nothing is answered")? {
                answer::Reply::Echo(Text { text }) => Reply::Echo { text },
                answer::Reply::Half(Number { number }) => Reply::Half { number },
                answer::Reply::GoOn(Nothing {}) => Reply::GoOn {},
                answer::Reply::Heard(Text { text }) => Reply::Heard { text },
                answer::Reply::TimedOut(Nothing {}) => Reply::TimedOut {},
                answer::Reply::Garbled(Nothing {}) => Reply::Garbled {},
                answer::Reply::Refusal(Refusal { error, reason }) => {
                    return Ok(Self::Refusal { error, reason });
                }
            },
        ))
    }
}
