//! What a worker lends to the handler that it is polling, on this thread and for this poll only.
//!
//! A handler is polled where its datagram arrived, so nearly everything it does happens on its
//! worker's own thread: the receive finds the datagram here, still in the receive buffer, and a
//! send goes to the worker's outbox, both without a lock. `Requests` and `Client` used from
//! elsewhere find no turn of their worker, and go through the mailbox and the inbox instead.
//!
//! This is the only thread-local of the crate; the context variables ([`crate::context`]) live in
//! it too. It is borrowed for single steps, never while user code runs.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::task::coop;

use crate::context::Values;
use crate::dispatch::{Datagram, Hand};
use crate::outbox::Outbox;

/// Where a datagram is, in the buffers it was received in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// Which of the buffers.
    pub(crate) buffer: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// It was received cut short.
    pub(crate) truncated: bool,
}

impl Place {
    /// The datagram's bytes, out of its buffer.
    pub(crate) fn bytes<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        buffer.get(self.start..self.end).unwrap_or_default()
    }
}

/// One turn of a worker.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// The address of the worker's port.
    pub(crate) port: usize,
    /// The address of the server's shared state.
    pub(crate) server: usize,
    pub(crate) outbox: Outbox,
    /// Room of the outbox that this turn has set aside, so that not each send has to ask all
    /// threads.
    pub(crate) room: usize,
    /// The buffers of the batch in hand.
    pub(crate) buffers: Vec<Vec<u8>>,
    /// The datagram that the polled handler is lent, and what became of it.
    pub(crate) lent: Place,
    pub(crate) hand: Hand,
    pub(crate) poll: HandlerPoll,
}

impl Turn {
    /// A receive takes the datagram that its handler is lent, with the whole buffer: to be put back
    /// once it is decoded, which is user code.
    pub(crate) fn take_lent(&mut self) -> Option<(Place, Vec<u8>)> {
        if self.hand != Hand::Left {
            return None;
        }
        let buffer = self.buffers.get_mut(self.lent.buffer)?;
        self.hand = Hand::Taken;
        Some((self.lent, std::mem::take(buffer)))
    }

    pub(crate) fn put_back(&mut self, place: Place, buffer: Vec<u8>) {
        if let Some(empty) = self.buffers.get_mut(place.buffer) {
            *empty = buffer;
        }
    }

    /// Copies a datagram into memory of its own size.
    pub(crate) fn copy(&self, place: Place) -> Datagram {
        let buffer = self.buffers.get(place.buffer);
        Datagram {
            bytes: buffer
                .map(|buffer| place.bytes(buffer).into())
                .unwrap_or_default(),
            truncated: place.truncated,
        }
    }
}

/// One poll of a handler: what it is given, and what it leaves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HandlerPoll {
    /// The address of the polled handler's run; 0 while none is polled.
    pub(crate) run: usize,
    /// The data pointer of the waker that it is polled with.
    pub(crate) waker: usize,
    /// The mailbox may hold something.
    pub(crate) queued: bool,
    /// The deadline of its waiting receive has passed.
    pub(crate) expired: bool,
    /// Left by a receive: it waits, with the handler's own waker.
    pub(crate) parked: Option<Parked>,
    /// Left by a shutdown: the handler waits for its own server to end.
    pub(crate) awaits_shutdown: bool,
    /// The receives and sends that it has made.
    pub(crate) steps: u16,
}

/// Receives and sends that one poll of a handler may make, as many as tokio allows a task: a
/// handler that always finds something to receive, or is told closed and does not care, cannot hold
/// the turn.
const STEPS: u16 = 128;

impl HandlerPoll {
    /// Counts a receive or a send. Answers whether it is one too many: it has to wait for the next
    /// turn.
    pub(crate) fn is_spent(&mut self) -> bool {
        self.steps = self.steps.saturating_add(1);
        self.steps > STEPS
    }
}

/// How long a receive waits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parked {
    For(Duration),
    ForEver,
    /// It was waiting before: its deadline stands.
    Still,
}

struct Thread {
    turn: RefCell<Option<Box<Turn>>>,
    context: RefCell<Values>,
    /// Packets are encoded here, whoever sends them.
    scratch: Cell<BytesMut>,
    /// The server whose exit actions are being polled.
    exiting: Cell<usize>,
}

thread_local! {
    static THREAD: Thread = Thread {
        turn: const { RefCell::new(None) },
        context: const { RefCell::new(Values::none()) },
        scratch: Cell::new(BytesMut::new()),
        exiting: const { Cell::new(0) },
    };
}

/// Puts a turn in place for the worker that polls now, and returns the one that was there: a
/// handler may itself run another server on this thread.
pub(crate) fn enter(turn: Option<Box<Turn>>) -> Option<Box<Turn>> {
    // A runtime may be dropped with its thread, after this thread's own locals.
    THREAD
        .try_with(|thread| thread.turn.replace(turn))
        .unwrap_or_default()
}

/// Calls `step` with the turn of the worker that polls on this thread, if one does. `step` must not
/// run user code.
#[inline]
pub(crate) fn with<T>(step: impl FnOnce(&mut Turn) -> T) -> Option<T> {
    THREAD
        .try_with(|thread| thread.turn.try_borrow_mut().ok()?.as_deref_mut().map(step))
        .ok()
        .flatten()
}

/// Ready unless the handler or the task that is being polled here has made too many receives and
/// sends without a pause: then it has to wait, and is woken at once.
#[inline]
pub(crate) fn poll_proceed(cx: &mut Context<'_>) -> Poll<()> {
    let polls = |turn: &mut Turn| (turn.poll.run != 0).then(|| turn.poll.is_spent());
    match with(polls).flatten() {
        Some(false) => Poll::Ready(()),
        Some(true) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        None => poll_task_proceed(cx),
    }
}

/// [`poll_proceed`] for a task of the runtime, which counts itself.
pub(crate) fn poll_task_proceed(cx: &mut Context<'_>) -> Poll<()> {
    pin!(coop::consume_budget()).poll(cx)
}

/// Calls `step` with the values of the context variables in force.
pub(crate) fn with_context<T>(step: impl FnOnce(&mut Values) -> T) -> Option<T> {
    THREAD
        .try_with(|thread| {
            thread
                .context
                .try_borrow_mut()
                .ok()
                .map(|mut c| step(&mut c))
        })
        .ok()?
}

/// Runs `code` with `values` as the context, and leaves in `values` what became of them.
#[inline]
pub(crate) fn in_context<T>(values: &mut Values, code: impl FnOnce() -> T) -> T {
    struct Restore<'a>(&'a mut Values);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            swap_context(self.0);
        }
    }
    swap_context(values);
    let _restore = Restore(values);
    code()
}

fn swap_context(values: &mut Values) {
    with_context(|current| {
        // Most handlers set nothing: two null pointers.
        if !(current.is_empty() && values.is_empty()) {
            std::mem::swap(current, values);
        }
    });
}

/// A scratch buffer that has grown beyond this is not kept: some times the largest datagram, as
/// what compresses or encodes it again writes behind it.
const KEPT_SCRATCH: usize = 256 * 1024;

/// Runs `encode` on this thread's scratch buffer, which is empty.
#[inline]
pub(crate) fn with_scratch<T>(encode: impl FnOnce(&mut BytesMut) -> T) -> T {
    let mut scratch = THREAD
        .try_with(|thread| thread.scratch.take())
        .unwrap_or_default();
    scratch.clear();
    let result = encode(&mut scratch);
    // A serializer may have kept a part of the buffer; then this is simply a new one.
    if scratch.capacity() <= KEPT_SCRATCH {
        let _ = THREAD.try_with(|thread| thread.scratch.set(scratch));
    }
    result
}

/// Runs `code`, which polls the exit actions of `server`.
pub(crate) fn exiting<T>(server: usize, code: impl FnOnce() -> T) -> T {
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = THREAD.try_with(|thread| thread.exiting.set(self.0));
        }
    }
    let outer = THREAD.try_with(|thread| thread.exiting.replace(server));
    let _restore = Restore(outer.unwrap_or_default());
    code()
}

/// Whether an exit action of `server` is being polled on this thread.
pub(crate) fn is_exiting(server: usize) -> bool {
    THREAD
        .try_with(|thread| thread.exiting.get() == server)
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_a_packet_too_large_to_send_leaves_no_large_buffer_behind() {
        with_scratch(|scratch| scratch.reserve(65_535));
        with_scratch(|scratch| assert!(scratch.capacity() >= 65_535, "it is used again"));
        with_scratch(|scratch| scratch.resize(KEPT_SCRATCH + 1, 7));
        with_scratch(|scratch| assert!(scratch.capacity() <= KEPT_SCRATCH && scratch.is_empty()));
    }
}
