//! What handlers are polled with: a waker that most of them never use.
//!
//! A handler that answers at once, or waits in a receive of its own, keeps no waker. So all are
//! polled with one and the same, until one of them keeps it: then it is that handler's, and the
//! others get a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::task::{Wake, Waker};

use crate::engine::dispatch::SlotId;
use crate::engine::inject_queue::InjectQueue;

/// A waker, ready to be polled with.
#[derive(Debug)]
pub(super) struct TaskWaker {
    waker: Waker,
    handler: Arc<Wakeups>,
}

impl TaskWaker {
    pub(super) fn new(inject: &Arc<InjectQueue>) -> Self {
        let handler = Arc::new(Wakeups::new(Arc::clone(inject)));
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

/// Wakes one handler: the waker that its future is polled with.
#[derive(Debug)]
pub(super) struct Wakeups {
    inject: Arc<InjectQueue>,
    /// Changes only while nobody else holds the waker.
    slot: AtomicU32,
    posted: AtomicBool,
}

impl Wakeups {
    pub(super) fn new(inject: Arc<InjectQueue>) -> Self {
        Self {
            inject,
            slot: AtomicU32::new(0),
            posted: AtomicBool::new(false),
        }
    }

    /// The worker is about to poll the handler in this slot: later wake-ups count again. Swapped,
    /// not stored: this poll has to see what a thread did whose wake-up was passed over because
    /// another was already posted.
    #[inline]
    pub(super) fn polling(&self, slot: SlotId) {
        self.slot.store(slot, Ordering::Relaxed);
        if self.posted.load(Ordering::Relaxed) {
            self.posted.swap(false, Ordering::AcqRel);
        }
    }
}

impl Wake for Wakeups {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.posted.swap(true, Ordering::AcqRel) {
            let slot = self.slot.load(Ordering::Relaxed);
            let _ = self.inject.push(|injected| injected.ready.push(slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::inject_queue::Injected;

    #[test]
    fn a_waker_is_kept_while_a_clone_of_it_lives() {
        let waker = TaskWaker::new(&Arc::new(InjectQueue::new(0, Arc::default())));
        let clone = waker.polling(7).clone();
        assert!(waker.is_kept());
        drop(clone);
        assert!(!waker.is_kept());
    }

    #[test]
    fn h7_a_handler_is_made_ready_once_until_it_is_polled() {
        let inject = Arc::new(InjectQueue::new(1000, Arc::default()));
        let handler = Arc::new(Wakeups::new(Arc::clone(&inject)));
        let waker = Waker::from(Arc::clone(&handler));
        let ready = || {
            let mut injected = Injected::default();
            inject.take(&mut injected);
            injected.ready
        };
        handler.polling(3);
        waker.wake_by_ref();
        Waker::clone(&waker).wake_by_ref();
        assert_eq!(ready(), [3]);
        waker.wake_by_ref();
        assert!(ready().is_empty(), "it has not been polled since");
        handler.polling(3);
        waker.wake_by_ref();
        assert_eq!(ready(), [3]);
        handler.polling(3);
        inject.close();
        waker.wake(); // late, and no harm
    }
}
