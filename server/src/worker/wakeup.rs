//! What handlers are polled with: a waker that most of them never use.
//!
//! A handler that answers at once, or waits in a receive of its own, keeps no waker. So all are
//! polled with one and the same, until one of them keeps it: then it is that handler's, and the
//! others get a new one.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::Waker;

use crate::dispatch::SlotId;
use crate::inbox::{HandlerWaker, Inbox};

/// A waker, ready to be polled with.
#[derive(Debug)]
pub(super) struct Wakeup {
    waker: Waker,
    handler: Arc<HandlerWaker>,
}

impl Wakeup {
    pub(super) fn new(inbox: &Arc<Inbox>) -> Self {
        let handler = Arc::new(HandlerWaker::new(Arc::clone(inbox)));
        let waker = Waker::from(Arc::clone(&handler));
        Self { waker, handler }
    }

    /// The handler in this slot is about to be polled with it.
    #[inline]
    pub(super) fn polling(&self, slot: SlotId) -> &Waker {
        self.handler.polling(slot);
        &self.waker
    }

    /// Tells this waker from others.
    #[inline]
    pub(super) fn address(&self) -> usize {
        self.waker.data().addr()
    }

    /// Whether anybody keeps the waker.
    #[inline]
    pub(super) fn is_kept(&self) -> bool {
        let kept = Arc::strong_count(&self.handler) > 2; // by the two fields
        fence(Ordering::Acquire); // who does not any more has used it before
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_is_kept_while_a_clone_of_it_lives() {
        let wakeup = Wakeup::new(&Arc::new(Inbox::new(0, Arc::default())));
        let clone = wakeup.polling(7).clone();
        assert!(wakeup.is_kept());
        drop(clone);
        assert!(!wakeup.is_kept());
    }
}
