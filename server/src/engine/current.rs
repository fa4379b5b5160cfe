//! What a worker lends to the handler that it polls, on this thread and for this poll only.
//!
//! A receive finds its datagram here, still in the receive buffer, and a send goes to the worker's
//! outbox, both without a lock. `Requests` and `Client` that are used from elsewhere find nothing of
//! their worker, and go through the run's queue and the worker's inject queue instead.
//!
//! It is borrowed for single steps, and while user code runs only for the session key, which reads
//! the datagram where it lies.

use std::cell::RefCell;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::task::coop;

use crate::engine::delivery::Delivery;
use crate::engine::outbox::Outbox;

/// What the worker that polls handlers on this thread lends to them.
#[derive(Debug, Default)]
pub(crate) struct PollContext {
    /// The address of what the worker shares with its runs.
    pub(crate) worker: usize,
    pub(crate) outbox: Outbox,
    pub(crate) delivery: Delivery,
    pub(crate) poll: HandlerPoll,
}

/// One poll of a handler.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HandlerPoll {
    /// The address of the polled handler's run; 0 while none is polled.
    pub(crate) run: usize,
    /// The data pointer of the waker that it is polled with.
    pub(crate) waker: usize,
    /// Left by a receive that began to wait: how long.
    pub(crate) waits: Option<Option<Duration>>,
    /// The receives and sends that it has made.
    pub(crate) steps: u16,
}

/// Receives and sends that one poll of a handler may make, as many as tokio allows a task: a
/// handler that always finds something to receive, or is told closed and does not care, cannot hold
/// the turn.
const STEPS: u16 = 128;

impl HandlerPoll {
    /// Counts a receive or a send. Returns whether it is one too many: it has to wait for the next
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

struct Thread {
    context: RefCell<Option<Box<PollContext>>>,
    /// Packets are encoded here.
    scratch: RefCell<Option<Box<BytesMut>>>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            context: RefCell::new(None),
            scratch: RefCell::new(None),
        }
    };
}

/// Lends this to handlers on this thread, until the guard hands it back: also where the worker
/// itself panics. A handler may itself run another server on this thread, whose worker lends its own
/// meanwhile.
pub(crate) fn enter(context: Option<Box<PollContext>>) -> EnterGuard {
    EnterGuard {
        outer: replace(context),
        ended: false,
    }
}

/// See [`enter`].
pub(crate) struct EnterGuard {
    outer: Option<Box<PollContext>>,
    ended: bool,
}

impl EnterGuard {
    pub(crate) fn end(mut self) -> Option<Box<PollContext>> {
        self.ended = true;
        replace(self.outer.take())
    }
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        if !self.ended {
            replace(self.outer.take());
        }
    }
}

fn replace(context: Option<Box<PollContext>>) -> Option<Box<PollContext>> {
    // A runtime may be dropped with its thread, after this thread's own locals.
    let replaced = THREAD.try_with(|thread| thread.context.replace(context));
    replaced.unwrap_or_default()
}

/// Calls `step` with what the worker that polls on this thread lends, if one does. What `step` calls
/// finds nothing lent, as on another thread: so it runs no user code but the session key.
#[inline]
pub(crate) fn with<T>(step: impl FnOnce(&mut PollContext) -> T) -> Option<T> {
    THREAD
        .try_with(|thread| {
            thread
                .context
                .try_borrow_mut()
                .ok()?
                .as_deref_mut()
                .map(step)
        })
        .ok()
        .flatten()
}

/// Ready unless the handler or the task that is polled here has made too many receives and sends
/// without a pause: then it has to wait, and is woken at once.
pub(crate) fn poll_proceed(cx: &mut Context<'_>) -> Poll<()> {
    let count =
        |context: &mut PollContext| (context.poll.run != 0).then(|| context.poll.is_spent());
    match with(count).flatten() {
        Some(false) => Poll::Ready(()),
        Some(true) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        None => pin!(coop::consume_budget()).poll(cx), // a task of the runtime, which counts itself
    }
}

/// A scratch buffer that has grown beyond this is not kept: some times the largest datagram, as
/// what compresses or encodes it again writes behind it.
const KEPT_SCRATCH: usize = 256 * 1024;

/// An empty buffer to encode a packet in. Boxed, since it is handed on several times.
#[inline]
pub(crate) fn take_scratch() -> Box<BytesMut> {
    let taken = THREAD.try_with(|thread| thread.scratch.take());
    taken.ok().flatten().unwrap_or_default()
}

/// The packet in this buffer is done with. A serializer may have kept a part of it: then it is
/// simply a new one.
#[inline]
pub(crate) fn give_back_scratch(scratch: Box<BytesMut>) {
    let _ = THREAD.try_with(|thread| thread.give_back_scratch(scratch));
}

impl Thread {
    #[inline]
    fn give_back_scratch(&self, mut scratch: Box<BytesMut>) {
        scratch.clear();
        if scratch.capacity() <= KEPT_SCRATCH {
            self.scratch.replace(Some(scratch));
        }
    }
}

/// Hands the packet in this buffer to the outbox of `worker` and gives the buffer back, if that
/// worker polls on this thread. Returns the buffer if it does not.
#[inline]
pub(crate) fn send(
    worker: usize,
    scratch: Box<BytesMut>,
    push: impl FnOnce(&mut Outbox, &[u8]),
) -> Option<Box<BytesMut>> {
    let mut scratch = Some(scratch);
    let _ = THREAD.try_with(|thread| {
        let mut context = thread.context.try_borrow_mut().ok()?;
        let outbox = &mut context
            .as_mut()
            .filter(|context| context.worker == worker)?
            .outbox;
        let packet = scratch.take()?;
        push(outbox, &packet);
        thread.give_back_scratch(packet);
        Some(())
    });
    scratch
}

#[cfg(test)]
mod tests {
    use super::*;

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
