//! The running handlers of one worker: a slab of futures, polled in place.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use postbox_protocol::BoxError;

use super::timers::{NEVER, Tick};
use crate::context::Values;
use crate::dispatch::SlotId;
use crate::inbox::{HandlerWaker, Inbox};
use crate::panics;
use crate::turn::{self, Parked};

/// One place for a handler's future. The future does not move; the place is used again.
pub(super) struct Cell<Fut, Run> {
    future: Pin<Box<Option<Fut>>>,
    /// The run of a handler that has ended, if nobody holds it any more.
    pub(super) spare: Option<Run>,
    waker: Waker,
    polling: Arc<HandlerWaker>,
    pub(super) context: Values,
    /// When the waiting receive times out.
    pub(super) deadline: Tick,
    /// This slot's entry in the timers.
    pub(super) entry: Tick,
    /// The timeout of a receive that began in this turn, until it has its deadline.
    pub(super) begun: Option<Duration>,
    /// The number of the receive in another task that the deadline belongs to; 0: the handler's
    /// own.
    pub(super) receive: u32,
    /// The deadline has passed, and the handler's receive has not yet been told.
    pub(super) expired: bool,
    /// The handler waits for its own server to shut down.
    pub(super) awaits_shutdown: bool,
}

impl<Fut: Future<Output = Result<(), BoxError>>, Run> Cell<Fut, Run> {
    fn new(slot: SlotId, inbox: Arc<Inbox>) -> Self {
        let polling = Arc::new(HandlerWaker::new(inbox, slot));
        Self {
            future: Box::pin(None),
            spare: None,
            waker: Waker::from(Arc::clone(&polling)),
            polling,
            context: Values::none(),
            deadline: NEVER,
            entry: NEVER,
            begun: None,
            receive: 0,
            expired: false,
            awaits_shutdown: false,
        }
    }

    /// A handler is about to start: its context begins with clones of these values, which is user
    /// code.
    #[inline]
    pub(super) fn prepare(&mut self, context: &Values) -> Result<(), String> {
        if !context.is_empty() {
            self.context = panics::catch(|| context.copy())?;
        }
        Ok(())
    }

    /// Polls the handler, and drops it where it is done. `make` is the user's `handle`, for a new
    /// one. Its context is in force.
    #[inline]
    pub(super) fn poll(&mut self, make: Option<impl FnOnce() -> Fut>) -> Polled {
        self.polling.polling();
        let (mut future, waker) = (self.future.as_mut(), &self.waker);
        let mut result = None;
        let panic = panics::catch(|| {
            if let Some(make) = make {
                future.set(Some(make()));
            }
            let Some(running) = future.as_mut().as_pin_mut() else {
                return;
            };
            if let Poll::Ready(ready) = running.poll(&mut Context::from_waker(waker)) {
                result = Some(ready);
                future.set(None);
            }
        });
        match (result, panic.err()) {
            (None, None) => Polled::Waits,
            (Some(result), panic) => Polled::Returned { result, panic },
            (None, Some(message)) => Polled::Panicked(message),
        }
    }

    /// A receive of the handler's own waits. Answers whether it needs a deadline.
    pub(super) fn waits(&mut self, parked: Parked) -> bool {
        self.expired = false;
        let begun = match parked {
            Parked::Still => return false,
            Parked::ForEver => None,
            Parked::For(timeout) => Some(timeout),
        };
        // The deadline of the receive before may pass before this one has its own.
        (self.deadline, self.receive) = (NEVER, 0);
        self.begun = begun;
        begun.is_some()
    }

    /// Runs what belongs to the handler, but is done by the worker: its error's text and end are
    /// the user's.
    pub(super) fn in_context<T>(&mut self, code: impl FnOnce() -> T) -> T {
        turn::in_context(&mut self.context, code)
    }

    /// Drops the handler, then its context. Both are the user's, and may panic: `panicked` gets the
    /// messages.
    #[inline]
    pub(super) fn clear(&mut self, mut panicked: impl FnMut(String)) {
        (self.expired, self.awaits_shutdown) = (false, false);
        (self.deadline, self.begun, self.receive) = (NEVER, None, 0);
        let mut context = std::mem::take(&mut self.context);
        if self.future.is_some() {
            let future = self.future.as_mut();
            let dropped = panics::catch(|| turn::in_context(&mut context, || drop_future(future)));
            dropped.err().into_iter().for_each(&mut panicked);
        }
        if !context.is_empty() {
            context.into_dropped().for_each(panicked);
        }
    }

    /// The address of what the handler is woken by.
    pub(super) fn waker_address(&self) -> usize {
        self.waker.data().addr()
    }
}

/// What a poll of a handler did.
pub(super) enum Polled {
    Waits,
    /// It returned, and was dropped: perhaps with a panic of its destructor.
    Returned {
        result: Result<(), BoxError>,
        panic: Option<String>,
    },
    Panicked(String),
}

/// Drops a future in place. Where its destructor panics the place is empty all the same.
fn drop_future<Fut>(mut place: Pin<&mut Option<Fut>>) {
    place.set(None);
}

/// The cells, by slot.
pub(super) struct Handlers<Fut, Run> {
    cells: Vec<Option<Cell<Fut, Run>>>,
    /// Free slots that keep their cell for the next handler, those that were used last at the back.
    /// Slots are used again in that order.
    kept: VecDeque<SlotId>,
}

/// Free cells that keep their memory, at most: a batch of datagrams and many more.
const KEPT_CELLS: usize = 1024;

/// The memory that they keep, at most: handlers may be large.
const KEPT_BYTES: usize = 4 << 20;

impl<Fut: Future<Output = Result<(), BoxError>>, Run> Handlers<Fut, Run> {
    /// How many free cells keep their memory: at least one.
    const KEPT: usize = match KEPT_BYTES / (size_of::<Fut>() + size_of::<Cell<Fut, Run>>()) {
        0 => 1,
        KEPT_CELLS.. => KEPT_CELLS,
        fit => fit,
    };

    pub(super) fn new() -> Self {
        Self {
            cells: Vec::new(),
            kept: VecDeque::new(),
        }
    }

    /// The cell of a slot that begins to be used.
    #[inline]
    pub(super) fn occupy(&mut self, slot: SlotId, inbox: &Arc<Inbox>) -> &mut Cell<Fut, Run> {
        let index = slot as usize;
        if index >= self.cells.len() {
            self.cells.resize_with(index + 1, || None);
        }
        if self.kept.back() == Some(&slot) {
            self.kept.pop_back();
        } else {
            debug_assert!(self.cells[index].is_none(), "free slots are used in order");
        }
        self.cells[index].get_or_insert_with(|| Cell::new(slot, Arc::clone(inbox)))
    }

    /// The slot is not used any more.
    #[inline]
    pub(super) fn vacate(&mut self, slot: SlotId) {
        if self.kept.len() == Self::KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            self.cells[oldest as usize] = None;
        }
        self.kept.push_back(slot);
    }

    pub(super) fn get(&mut self, slot: SlotId) -> &mut Cell<Fut, Run> {
        self.cells[slot as usize]
            .as_mut()
            .expect("the cell of a running handler is there")
    }
}

#[cfg(test)]
mod tests {
    use std::future::Ready;

    use super::*;

    #[test]
    fn after_a_burst_the_slot_that_is_used_next_has_kept_its_memory() {
        let inbox = Arc::new(Inbox::new(0, Arc::default()));
        let mut handlers = Handlers::<Ready<Result<(), BoxError>>, ()>::new();
        let slots: Vec<SlotId> = (0..2 * KEPT_CELLS as SlotId).collect();
        for slot in &slots {
            handlers.occupy(*slot, &inbox);
        }
        for slot in &slots {
            handlers.vacate(*slot);
        }
        let kept = |handlers: &Handlers<_, ()>| handlers.cells.iter().flatten().count();
        assert_eq!(kept(&handlers), KEPT_CELLS);
        for slot in slots.iter().rev().take(KEPT_CELLS) {
            assert!(handlers.cells[*slot as usize].is_some());
            handlers.occupy(*slot, &inbox);
        }
        assert_eq!(kept(&handlers), KEPT_CELLS, "none was made");
    }

    /// A handler that needs much memory.
    struct Large(#[allow(dead_code)] [u8; 1 << 20]);

    impl Future for Large {
        type Output = Result<(), BoxError>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn l2_large_handlers_leave_little_memory_behind_too() {
        assert_eq!(
            Handlers::<Ready<Result<(), BoxError>>, ()>::KEPT,
            KEPT_CELLS
        );
        let inbox = Arc::new(Inbox::new(0, Arc::default()));
        let mut handlers = Handlers::<Large, ()>::new();
        for slot in 0..10 {
            handlers.occupy(slot, &inbox);
        }
        (0..10).for_each(|slot| handlers.vacate(slot));
        assert_eq!(handlers.cells.iter().flatten().count(), 3);
    }
}
