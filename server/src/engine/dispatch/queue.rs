//! The queue of one run: what its client sent while the handler was busy, in order and bounded, and
//! whether a receive of this run waits for more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use super::backlog::{Backlog, Held, QueueLimits};
use super::{DropReason, QueuedDatagram};
use crate::service::Totals;
use crate::transport::PacketInfo;

/// Whether the receive of a run waits. There is one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    No,
    /// With the handler's own waker, and nothing is queued: its worker polls it where a datagram
    /// comes, or where it is told something else.
    OnWorker,
    /// With a waker of another task, which is kept in the queue.
    InTask,
    /// It waited, and has been [told](RunQueue::told) something: it answers that when it is polled
    /// next, if no datagram comes first.
    Told,
}

/// What a receive that waits is told in place of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Its deadline has passed.
    TimedOut,
    /// A new client takes the place of this one.
    Evicted,
    /// What the handler sent does not reach the client, for the reason that this system error has.
    Unreachable(i32),
    /// The sockets go to another owner: nothing comes any more.
    HandedOver,
}

/// Who has to act on what a receive was told.
#[derive(Debug)]
pub(crate) enum Listener {
    /// Its worker polls the handler.
    Worker,
    /// Another task, to be woken.
    Task(Waker),
}

// A `Waiting` in a byte, and what was told.
const NO: u8 = 0;
const ON_WORKER: u8 = 1;
const IN_TASK: u8 = 2;
const TIMED_OUT: u8 = 3;
const EVICTED: u8 = 4;
const UNREACHABLE: u8 = 5;
const HANDED_OVER: u8 = 6;

impl Told {
    fn code(self) -> u8 {
        match self {
            Self::TimedOut => TIMED_OUT,
            Self::Evicted => EVICTED,
            Self::Unreachable(_) => UNREACHABLE,
            Self::HandedOver => HANDED_OVER,
        }
    }
}

/// The queue of one run.
///
/// Nearly no run queues anything, as the datagram that starts a handler, and those that it waits
/// for, are offered to it directly: so what needs a lock is made when it is used first.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    /// A [`Waiting`].
    waiting: AtomicU8,
    /// The system error of [`Told::Unreachable`].
    unreachable: AtomicI32,
    /// The receive that was polled last is the stream's.
    streams: AtomicBool,
    /// A receive of this run took a datagram, or its first was dropped for want of room.
    received: AtomicBool,
    /// Something may be queued. Written by the worker alone.
    filled: AtomicBool,
    locked: OnceLock<Box<Mutex<Queue>>>,
}

impl RunQueue {
    /// Locks it. No user code runs under this lock, so a poisoned one is still consistent.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        let queue = self.locked.get_or_init(Box::default);
        queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the receive of this run waits.
    #[inline]
    pub(crate) fn waiting(&self) -> Waiting {
        match self.waiting.load(Ordering::Acquire) {
            NO => Waiting::No,
            ON_WORKER => Waiting::OnWorker,
            IN_TASK => Waiting::InTask,
            _ => Waiting::Told,
        }
    }

    /// What the receive was told that waited, where [`waiting`](Self::waiting) says so.
    #[cold]
    pub(crate) fn told(&self) -> Told {
        match self.waiting.load(Ordering::Acquire) {
            UNREACHABLE => Told::Unreachable(self.unreachable.load(Ordering::Relaxed)),
            EVICTED => Told::Evicted,
            HANDED_OVER => Told::HandedOver,
            _ => Told::TimedOut,
        }
    }

    /// Whether the receive that is polled is the stream's. Returns whether the last one was.
    #[inline]
    pub(crate) fn set_streams(&self, streams: bool) -> bool {
        let streamed = self.streams.load(Ordering::Relaxed); // one is polled at a time
        self.streams.store(streams, Ordering::Relaxed);
        streamed
    }

    /// No receive waits. By the receive itself, or under the lock.
    #[inline]
    pub(crate) fn set_not_waiting(&self) {
        self.waiting.store(NO, Ordering::Release);
    }

    /// By the receive itself.
    #[inline]
    pub(crate) fn set_on_worker(&self) {
        self.waiting.store(ON_WORKER, Ordering::Release);
    }

    /// By the receive itself, under the lock.
    pub(crate) fn set_in_task(&self) {
        self.waiting.store(IN_TASK, Ordering::Release);
    }

    /// Whether the receive waits [`OnWorker`](Waiting::OnWorker), and nothing is queued. Exact on
    /// the worker's thread, but for another task that takes the receive over.
    #[inline]
    pub(super) fn waits_on_worker(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == ON_WORKER && !self.is_filled()
    }

    /// Tells the receive that waits [`OnWorker`](Waiting::OnWorker) that its client is evicted.
    /// Returns whether it waited there.
    pub(crate) fn evict(&self) -> bool {
        self.tell_on_worker(Told::Evicted)
    }

    /// No receive has answered that its client is evicted, and none will. Returns whether that was
    /// so.
    pub(crate) fn take_back_eviction(&self) -> bool {
        self.waiting
            .compare_exchange(EVICTED, NO, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Tells the receive that waits something else than a datagram. Returns who has to act on it,
    /// if one waits and that is its own affair. Only the worker tells.
    pub(crate) fn tell(&self, told: Told) -> Option<Listener> {
        if let Told::Unreachable(error) = told {
            self.unreachable.store(error, Ordering::Relaxed); // seen with what follows
        }
        if self.tell_on_worker(told) {
            return Some(Listener::Worker);
        }
        // A hand over is for good: one that looks just now, and finds nothing, must not miss it.
        if self.waiting() != Waiting::InTask && told != Told::HandedOver {
            return None;
        }
        let mut queue = self.lock();
        // A deadline may be that of a receive before.
        let is_its = !queue.closed && (queue.armed || told != Told::TimedOut);
        let waker = is_its.then(|| queue.waker.take()).flatten()?;
        self.waiting.store(told.code(), Ordering::Release);
        Some(Listener::Task(waker))
    }

    /// Another task may have taken the receive over just now.
    fn tell_on_worker(&self, told: Told) -> bool {
        self.waiting
            .compare_exchange(ON_WORKER, told.code(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether a receive took a datagram.
    #[inline]
    pub(crate) fn has_received(&self) -> bool {
        self.received.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set_received(&self) {
        self.received.store(true, Ordering::Relaxed);
    }

    /// Whether something may be queued. Exact on the worker's thread.
    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    /// A receive on the worker's thread has found it empty.
    pub(crate) fn set_empty(&self) {
        self.filled.store(false, Ordering::Relaxed);
    }

    /// Appends a datagram. `beside`: what its client holds elsewhere. Returns the receive elsewhere
    /// that waits for it, to be woken.
    pub(super) fn push(
        &self,
        datagram: QueuedDatagram,
        limits: QueueLimits,
        beside: Held,
        totals: &Totals,
    ) -> Result<Option<Waker>, DropReason> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(DropReason::Shutdown);
        }
        if let Err(reason) = queue.backlog.push(datagram, limits, beside, totals) {
            // Where nothing waits, this may be the very first: its handler has no other to discard.
            if queue.backlog.is_empty() {
                self.set_received();
            }
            return Err(reason);
        }
        self.filled.store(true, Ordering::Relaxed);
        Ok(queue.waker.take())
    }

    /// The server closes: what is queued is dropped, and every receive answers closed. Returns how
    /// many datagrams that were, and who waited for one.
    pub(super) fn close(&self, totals: &Totals) -> (usize, Option<Waker>) {
        let mut queue = self.lock();
        queue.closed = true;
        (queue.backlog.clear(totals), queue.waker.take())
    }

    /// The handler ended: what is left goes to the next run, and every receive of this one answers
    /// closed.
    pub(super) fn end(&self) -> Remainder {
        let mut queue = self.lock();
        queue.closed = true;
        Remainder {
            received: self.has_received(),
            late: queue.late,
            datagrams: queue.backlog.take_all(),
            waker: queue.waker.take(),
        }
    }

    /// What the server asks for of the datagram that was received last: kept where others need no
    /// room for it.
    pub(crate) fn info(&self) -> PacketInfo {
        let used = self.is_used().then(|| self.lock().info);
        used.unwrap_or_default()
    }

    /// How many datagrams the run took that were queued.
    pub(crate) fn taken(&self) -> u64 {
        let used = self.is_used().then(|| self.lock().taken);
        used.unwrap_or_default()
    }

    /// Whether anything was queued, or a receive elsewhere asked. Whoever holds the only reference
    /// to its run knows it for sure.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        self.locked.get().is_some()
    }

    /// Makes it that of a new run.
    #[inline]
    pub(crate) fn reset(&mut self) {
        if self.is_used() {
            self.locked = OnceLock::new();
        }
        *self.waiting.get_mut() = NO;
        *self.streams.get_mut() = false;
        *self.received.get_mut() = false;
        *self.filled.get_mut() = false;
    }

    /// Begins with what the run before left.
    pub(super) fn refill(&self, datagrams: VecDeque<QueuedDatagram>) {
        if datagrams.is_empty() {
            return;
        }
        self.filled.store(true, Ordering::Relaxed);
        let mut queue = self.lock();
        queue.backlog = Backlog::of(datagrams);
    }

    /// How many datagrams wait, asked without a trace.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let queue = self.locked.get();
        queue.map_or(0, |queue| queue.lock().unwrap().backlog.len())
    }
}

/// What a receive finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Datagram(QueuedDatagram),
    /// Nothing will ever come: the handler ended, or the server is shutting down.
    Closed,
    Empty,
}

/// What other threads may touch.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    backlog: Backlog,
    /// So many of the last ones begin no further run.
    late: usize,
    closed: bool,
    /// Who waits [`InTask`](Waiting::InTask).
    waker: Option<Waker>,
    /// The number of the receive that waits elsewhere, or 0: what is said of one may come late.
    receive: u32,
    /// The worker knows its deadline.
    armed: bool,
    /// Datagrams that this run took from here.
    taken: u64,
    /// What the server asks for of the datagram that was received last.
    pub(crate) info: PacketInfo,
}

impl Queue {
    /// Takes the first datagram.
    pub(crate) fn take(&mut self, totals: &Totals) -> Taken {
        if self.closed {
            return Taken::Closed;
        }
        let Some(datagram) = self.backlog.pop(totals) else {
            return Taken::Empty;
        };
        self.taken += 1;
        Taken::Datagram(datagram)
    }

    /// The last one came while the server drains: this run may receive it, and no other.
    pub(super) fn last_is_late(&mut self) {
        self.late = self.backlog.len().min(self.late + 1);
    }

    /// A receive begins to wait elsewhere: the deadlines of those before no longer count. Returns
    /// its number.
    pub(crate) fn begin_receive(&mut self) -> u32 {
        // No two have one: the next run may begin in the same memory, before the worker is told of
        // a receive of this one.
        static LAST: AtomicU32 = AtomicU32::new(0);
        self.receive = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.armed = false;
        self.receive
    }

    /// Remembers who waits. Returns the one it replaces, to be dropped outside the lock.
    pub(crate) fn set_waker(&mut self, waker: Waker) -> Option<Waker> {
        self.waker.replace(waker)
    }

    /// The receive that waits elsewhere is over, and its number counts no more. Returns its waker,
    /// to be dropped outside the lock.
    pub(crate) fn end_receive(&mut self) -> Option<Waker> {
        (self.receive, self.armed) = (0, false);
        self.waker.take()
    }

    /// The worker has been told the deadline of this receive. Returns whether it is still the
    /// present one.
    pub(crate) fn arm(&mut self, receive: u32) -> bool {
        let is_present = self.receive == receive;
        self.armed |= is_present;
        is_present
    }
}

/// What an ended run leaves.
#[derive(Debug, Default)]
pub(super) struct Remainder {
    pub(super) received: bool,
    pub(super) datagrams: VecDeque<QueuedDatagram>,
    /// So many of the last ones begin no further run.
    pub(super) late: usize,
    pub(super) waker: Option<Waker>,
}
