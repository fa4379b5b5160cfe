//! The running handlers of one worker: a slab of futures, polled in place.

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
pub(super) struct Cell<Fut> {
    future: Pin<Box<Option<Fut>>>,
    waker: Waker,
    polling: Arc<HandlerWaker>,
    context: Values,
    /// When the waiting receive times out.
    pub(super) deadline: Tick,
    /// This slot's entry in the timers.
    pub(super) entry: Tick,
    /// The timeout of a receive that began in this turn, until it has its deadline.
    pub(super) begun: Option<Duration>,
    /// The number of the receive in another task that the deadline belongs to; 0: the handler's own.
    pub(super) receive: u32,
    /// The deadline has passed, and the handler's receive has not yet been told.
    pub(super) expired: bool,
    /// The handler waits for its own server to shut down.
    pub(super) awaits_shutdown: bool,
}

impl<Fut: Future<Output = Result<(), BoxError>>> Cell<Fut> {
    fn new(slot: SlotId, inbox: Arc<Inbox>) -> Self {
        let polling = Arc::new(HandlerWaker::new(inbox, slot));
        Self {
            future: Box::pin(None),
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

    /// Starts a handler: `make` is the user's `handle`, and runs in the new handler's context.
    pub(super) fn start(
        &mut self,
        context: &Values,
        make: impl FnOnce() -> Fut,
    ) -> Result<(), String> {
        if !context.is_empty() {
            self.context = panics::catch(|| context.copy())?;
        }
        let made = panics::catch(|| turn::in_context(&mut self.context, make))?;
        self.future.as_mut().set(Some(made));
        Ok(())
    }

    /// Polls the handler. A panic is its message.
    pub(super) fn poll(&mut self) -> Result<Poll<Result<(), BoxError>>, String> {
        self.polling.polling();
        let Some(future) = self.future.as_mut().as_pin_mut() else {
            return Ok(Poll::Ready(Ok(())));
        };
        let (context, waker) = (&mut self.context, &self.waker);
        panics::catch(|| turn::in_context(context, || future.poll(&mut Context::from_waker(waker))))
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

    /// Runs what belongs to the handler, but is done by the worker: its error's text and end are the user's.
    pub(super) fn in_context<T>(&mut self, code: impl FnOnce() -> T) -> T {
        turn::in_context(&mut self.context, code)
    }

    /// Drops the handler, then its context. Both are the user's, and may panic: with these messages.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = String> + use<Fut> {
        let future = self.future.as_mut();
        let mut context = std::mem::take(&mut self.context);
        let dropped = panics::catch(|| turn::in_context(&mut context, || drop_future(future)));
        (self.expired, self.awaits_shutdown) = (false, false);
        (self.deadline, self.begun, self.receive) = (NEVER, None, 0);
        dropped.err().into_iter().chain(context.into_dropped())
    }

    /// The address of what the handler is woken by.
    pub(super) fn waker_address(&self) -> usize {
        self.waker.data().addr()
    }
}

/// Drops a future in place. Where its destructor panics the place is empty all the same.
fn drop_future<Fut>(mut place: Pin<&mut Option<Fut>>) {
    place.set(None);
}

/// The cells, by slot.
pub(super) struct Handlers<Fut> {
    cells: Vec<Option<Cell<Fut>>>,
    free: usize,
}

/// Free cells that keep their memory for the next handler.
const KEPT_CELLS: usize = 1024;

impl<Fut: Future<Output = Result<(), BoxError>>> Handlers<Fut> {
    pub(super) fn new() -> Self {
        Self {
            cells: Vec::new(),
            free: 0,
        }
    }

    /// The cell of a slot that begins to be used.
    pub(super) fn occupy(&mut self, slot: SlotId, inbox: &Arc<Inbox>) -> &mut Cell<Fut> {
        let index = slot as usize;
        if index >= self.cells.len() {
            self.cells.resize_with(index + 1, || None);
        }
        let place = &mut self.cells[index];
        if place.is_some() {
            self.free -= 1;
        }
        place.get_or_insert_with(|| Cell::new(slot, Arc::clone(inbox)))
    }

    /// The slot is not used any more.
    pub(super) fn vacate(&mut self, slot: SlotId) {
        if self.free < KEPT_CELLS {
            self.free += 1;
        } else {
            self.cells[slot as usize] = None;
        }
    }

    pub(super) fn get(&mut self, slot: SlotId) -> &mut Cell<Fut> {
        self.cells[slot as usize]
            .as_mut()
            .expect("the cell of a running handler is there")
    }
}
