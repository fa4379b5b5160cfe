//! What clients and server say to each other: conversations of three exchanges.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// The last exchange of a conversation; the first is 1.
pub(super) const LAST: u8 = 3;

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Chosen by the client: the answer has it too.
    pub(super) nonce: u64,
    /// The conversation, as the first answer has named it; 0 before.
    pub(super) conversation: u64,
    /// Which exchange this is.
    pub(super) step: u8,
}

/// What the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) nonce: u64,
    /// The conversation, named by the handler that began it; 0 if this handler knows of none such:
    /// the one that did is gone.
    pub(super) conversation: u64,
    pub(super) step: u8,
}

/// The next conversation's name.
static NAMES: AtomicU64 = AtomicU64::new(1);

/// A conversation as the server sees it.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Its name, once it has begun.
    name: u64,
}

impl Conversation {
    /// Answers a request, a repeated one as the first time.
    pub(super) fn answer(&mut self, request: Request) -> Answer {
        let Request { nonce, step, .. } = request;
        if step == 1 && self.name == 0 {
            self.name = NAMES.fetch_add(1, Ordering::Relaxed);
        }
        let is_known = step == 1 || request.conversation == self.name;
        Answer {
            nonce,
            conversation: if is_known { self.name } else { 0 },
            step,
        }
    }

    /// Whether there is one.
    pub(super) fn has_begun(&self) -> bool {
        self.name != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(step: u8, conversation: u64) -> Request {
        Request {
            nonce: 7,
            conversation,
            step,
        }
    }

    #[test]
    fn a_repeated_request_is_answered_as_the_first_time() {
        let mut conversation = Conversation::default();
        let first = conversation.answer(request(1, 0));
        assert_ne!(first.conversation, 0);
        assert_eq!(conversation.answer(request(1, 0)), first);
        let second = conversation.answer(request(2, first.conversation));
        assert_eq!((second.nonce, second.step), (7, 2));
        assert_eq!(second.conversation, first.conversation);
    }

    #[test]
    fn a_handler_knows_no_conversation_but_its_own() {
        let mut other = Conversation::default();
        assert_eq!(other.answer(request(2, 99)).conversation, 0);
        assert!(!other.has_begun());
        other.answer(request(1, 0));
        assert_eq!(other.answer(request(2, 0)).conversation, 0);
    }
}
