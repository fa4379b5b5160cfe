//! What a worker lends to the handler that it is polling, on this thread and for this poll only.
//!
//! A handler is polled where its datagram arrived, so nearly everything it does happens on its
//! worker's own thread: the receive finds the datagram here, still in the receive buffer, and a
//! send goes to the worker's outbox, both without a lock. `Requests` and `Client` used from
//! elsewhere find no turn of their worker, and go through the mailbox and the inbox instead.
//!
//! This is the only thread-local of the crate; the context variables ([`crate::context`]) live in
//! it too. It is borrowed for single steps, never while user code runs.

mod place;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::task::coop;

use crate::context::Values;
use crate::dispatch::{Datagram, Hand};
use crate::outbox::Outbox;

pub(crate) use place::{Behind, Place};

/// One turn of a worker.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// The address of the worker's port.
    pub(crate) port: usize,
    /// The address of the server's shared state.
    pub(crate) server: usize,
    /// The server is shutting down: here it is two loads away, by the run five (4 of 110 ns).
    pub(crate) closing: Arc<AtomicBool>,
    pub(crate) outbox: Outbox,
    /// Room of the outbox that this turn has set aside, so that not each send has to ask all
    /// threads.
    pub(crate) room: usize,
    /// The buffers of the batch in hand.
    pub(crate) buffers: Vec<Box<[u8]>>,
    /// The datagram that the polled handler is lent.
    pub(crate) lent: Place,
    /// Those that came with it, each lent when the one before has been received.
    pub(crate) behind: Behind,
    /// What became of the lent datagram.
    pub(crate) hand: Hand,
    pub(crate) poll: HandlerPoll,
    /// The context variables of the polled handler.
    pub(crate) context: Values,
    /// Packets are encoded here.
    pub(crate) scratch: Option<Box<BytesMut>>,
}

impl Turn {
    /// A receive takes the datagram that its handler is lent, with the whole buffer: to be put back
    /// once it is decoded, which is user code.
    #[inline]
    pub(crate) fn take_lent(&mut self) -> Option<(Place, Box<[u8]>)> {
        let is_there =
            self.hand == Hand::Left || (self.behind.has_next(self.lent) && self.lend_next());
        if !is_there {
            return None;
        }
        let buffer = self.buffers.get_mut(self.lent.buffer())?;
        self.hand = Hand::Taken;
        self.poll.taken += 1;
        Some((self.lent, std::mem::take(buffer)))
    }

    /// Lends the next of the same buffer, once the one before is received and decoded: meanwhile the
    /// buffer is out, and its place empty.
    #[inline]
    fn lend_next(&mut self) -> bool {
        let buffer = self.buffers.get(self.lent.buffer());
        if self.hand != Hand::Taken || buffer.is_none_or(|buffer| buffer.is_empty()) {
            return false;
        }
        self.lent = self.behind.next(self.lent);
        self.poll.steps = 0; // as if it were polled for this one alone
        true
    }

    #[inline]
    pub(crate) fn put_back(&mut self, place: Place, buffer: Box<[u8]>) {
        if let Some(empty) = self.buffers.get_mut(place.buffer()) {
            *empty = buffer;
        }
    }

    /// Copies a datagram into memory of its own size.
    pub(crate) fn copy(&self, place: Place) -> Datagram {
        let buffer = self.buffers.get(place.buffer());
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
    /// The lent datagrams that receives took.
    pub(crate) taken: u16,
}

/// Receives and sends that one poll of a handler may make, as many as tokio allows a task: a
/// handler that always finds something to receive, or is told closed and does not care, cannot hold
/// the turn.
const STEPS: u16 = 128;

impl HandlerPoll {
    /// Counts a receive or a send. Answers whether it is one too many: it has to wait for the next
    /// turn.
    ///
    /// Once as many were refused the count begins anew: only a `block_on` within the handler polls
    /// on and on, and it cannot make a pause. Not earlier, since of a `select!` each branch has to
    /// be refused, or it makes none.
    pub(crate) fn is_spent(&mut self) -> bool {
        let spent = self.steps >= STEPS;
        self.steps = (self.steps + 1) % (2 * STEPS);
        spent
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
    /// The context variables of other code than a worker's.
    context: RefCell<Values>,
    /// Code outside of a turn encodes its packets here.
    scratch: RefCell<Option<Box<BytesMut>>>,
    /// The server whose exit actions are being polled.
    exiting: Cell<usize>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            turn: RefCell::new(None),
            context: RefCell::new(Values::none()),
            scratch: RefCell::new(None),
            exiting: Cell::new(0),
        }
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

/// Ready with an empty buffer to encode a packet in, unless the handler or the task that is being
/// polled here has made too many receives and sends without a pause: then it has to wait, and is
/// woken at once.
#[inline]
pub(crate) fn poll_scratch(cx: &mut Context<'_>) -> Poll<Box<BytesMut>> {
    let begin = |turn: &mut Turn| {
        let polls = turn.poll.run != 0;
        polls.then(|| (!turn.poll.is_spent()).then(|| turn.scratch.take()))
    };
    match with(begin).flatten() {
        Some(Some(scratch)) => Poll::Ready(scratch.unwrap_or_default()),
        Some(None) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        None => {
            ready!(poll_task_proceed(cx));
            Poll::Ready(take_scratch())
        }
    }
}

/// Ready unless the handler or the task that is being polled here has to make a pause, like
/// [`poll_scratch`].
pub(crate) fn poll_proceed(cx: &mut Context<'_>) -> Poll<()> {
    let count = |turn: &mut Turn| (turn.poll.run != 0).then(|| turn.poll.is_spent());
    match with(count).flatten() {
        Some(false) => Poll::Ready(()),
        Some(true) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        None => poll_task_proceed(cx),
    }
}

/// The same for a task of the runtime, which counts itself.
fn poll_task_proceed(cx: &mut Context<'_>) -> Poll<()> {
    pin!(coop::consume_budget()).poll(cx)
}

/// Calls `step` with the values of the context variables in force.
pub(crate) fn with_context<T>(step: impl FnOnce(&mut Values) -> T) -> Option<T> {
    with_thread(step, |turn| &mut turn.context, |thread| &thread.context)
}

/// Calls `step` with what the worker that polls on this thread has, or else the thread itself.
fn with_thread<T, V>(
    step: impl FnOnce(&mut V) -> T,
    of_turn: impl FnOnce(&mut Turn) -> &mut V,
    of_thread: impl FnOnce(&Thread) -> &RefCell<V>,
) -> Option<T> {
    THREAD
        .try_with(
            |thread| match thread.turn.try_borrow_mut().ok()?.as_deref_mut() {
                Some(turn) => Some(step(of_turn(turn))),
                None => Some(step(&mut *of_thread(thread).try_borrow_mut().ok()?)),
            },
        )
        .ok()?
}

/// Runs `code` with `values` as the context, and leaves in `values` what became of them.
pub(crate) fn in_context<T>(values: &mut Values, code: impl FnOnce() -> T) -> T {
    struct Restore<'a>(&'a mut Values);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            with_context(|current| swap_context(current, self.0));
        }
    }
    with_context(|current| swap_context(current, values));
    let _restore = Restore(values);
    code()
}

#[inline]
fn swap_context(current: &mut Values, values: &mut Values) {
    // Most handlers set nothing: two null pointers.
    if !(current.is_empty() && values.is_empty()) {
        std::mem::swap(current, values);
    }
}

/// A scratch buffer that has grown beyond this is not kept: some times the largest datagram, as
/// what compresses or encodes it again writes behind it.
const KEPT_SCRATCH: usize = 256 * 1024;

/// An empty buffer to encode a packet in. Boxed, since it is handed on several times.
pub(crate) fn take_scratch() -> Box<BytesMut> {
    with_thread(
        Option::take,
        |turn| &mut turn.scratch,
        |thread| &thread.scratch,
    )
    .flatten()
    .unwrap_or_default()
}

/// The packet in this buffer is done with.
pub(crate) fn give_back_scratch(scratch: Box<BytesMut>) {
    with_thread(
        |place| *place = kept(scratch),
        |turn| &mut turn.scratch,
        |thread| &thread.scratch,
    );
}

/// The buffer for the next packet, unless this one is too large. A serializer may have kept a part
/// of it: then it is simply a new one.
#[inline]
pub(crate) fn kept(mut scratch: Box<BytesMut>) -> Option<Box<BytesMut>> {
    scratch.clear();
    (scratch.capacity() <= KEPT_SCRATCH).then_some(scratch)
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
    use std::net::Ipv4Addr;

    use super::*;
    use crate::transport::Meta;

    #[test]
    fn h6_the_next_datagram_is_not_lent_while_the_one_before_is_decoded() {
        let (lent, behind) = Place::first(
            0,
            &Meta {
                remote: (Ipv4Addr::LOCALHOST, 7).into(),
                local: None,
                len: 4,
                segment: 2,
                truncated: false,
            },
        );
        let mut turn = Turn {
            buffers: vec![b"aabb"[..].into()],
            lent,
            behind,
            hand: Hand::Left,
            ..Turn::default()
        };
        let (place, buffer) = turn.take_lent().unwrap();
        assert_eq!(place.bytes(&buffer), b"aa");
        assert!(turn.take_lent().is_none(), "its bytes are out");
        turn.put_back(place, buffer);
        let (place, buffer) = turn.take_lent().unwrap();
        assert_eq!(place.bytes(&buffer), b"bb");
        turn.put_back(place, buffer);
        assert!(turn.take_lent().is_none(), "it was the last");
        assert_eq!((turn.hand, turn.poll.taken), (Hand::Taken, 2));
    }

    #[test]
    fn l1_a_packet_too_large_to_send_leaves_no_large_buffer_behind() {
        let use_scratch = |len| {
            let mut scratch = take_scratch();
            assert!(scratch.is_empty());
            let capacity = scratch.capacity();
            scratch.resize(len, 7);
            give_back_scratch(scratch);
            capacity
        };
        use_scratch(65_535);
        assert!(use_scratch(KEPT_SCRATCH + 1) >= 65_535, "it is used again");
        assert_eq!(use_scratch(0), 0);
    }
}
