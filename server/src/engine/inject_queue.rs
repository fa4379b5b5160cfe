//! What other threads, and handlers on other workers, want of a worker.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::engine::dispatch::SlotId;
use crate::engine::outbox::Outbox;
use crate::handler::context::Values;
use crate::service::{DrainKind, Ping, add_pings, drop_pings};
use crate::support::panics;

/// The queue from other threads to a worker, which empties it once a turn; everybody else only adds.
#[derive(Debug)]
pub(crate) struct InjectQueue {
    injected: Mutex<Injected>,
    /// Something is injected. Read without the lock on the datagram's path.
    filled: AtomicBool,
    /// Datagrams are injected: what the worker's own handlers send goes behind them.
    has_sends: AtomicBool,
    /// The server is shutting down. Known to all its workers at once.
    closing: Arc<AtomicBool>,
    /// Nothing is received any more: a receive that finds nothing answers closed.
    handing_over: AtomicBool,
    /// Bytes that the outbox still has room for. Fair: waiting senders are served in order.
    pub(crate) room: Semaphore,
}

#[derive(Debug, Default)]
pub(crate) struct Injected {
    /// Handlers to poll.
    pub(crate) ready: Vec<SlotId>,
    /// Datagrams sent by other threads, and on the worker's own by other code than its handlers.
    pub(crate) outbox: Outbox,
    /// The receives in other tasks that have a deadline: of each run only the last. A task may begin
    /// and drop as many as it likes while its worker is held.
    pub(crate) alarms: Alarms,
    /// Receive from now on: the service is initialized, and has set this context.
    pub(crate) begin: Option<Values>,
    /// Drain.
    pub(crate) drain: Option<DrainKind>,
    /// Shut down, with this grace.
    pub(crate) close: Option<Duration>,
    /// Dropped by the next turn, which whoever asked waits for.
    pub(crate) pings: Vec<Ping>,
    /// The worker has ended: nothing leaves any more.
    closed: bool,
    /// The worker, while it sleeps.
    worker: Option<Waker>,
}

/// By the addresses of their handler runs. Their order, another in each run of the program, decides
/// nothing: each arms a receive of its own.
pub(crate) type Alarms = HashMap<usize, Alarm, ahash::RandomState>;

/// A receive in another task wants to be woken at its deadline.
#[derive(Debug)]
pub(crate) struct Alarm {
    pub(crate) slot: SlotId,
    /// The number of the receive.
    pub(crate) receive: u32,
    pub(crate) after: After,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum After {
    Duration(Duration),
    /// The deadline that this receive already has, from when its handler itself polled it.
    Unchanged,
}

impl InjectQueue {
    pub(crate) fn new(outbox_bytes: usize, closing: Arc<AtomicBool>) -> Self {
        Self {
            injected: Mutex::default(),
            filled: AtomicBool::new(false),
            has_sends: AtomicBool::new(false),
            closing,
            handing_over: AtomicBool::new(false),
            room: Semaphore::new(outbox_bytes.min(Semaphore::MAX_PERMITS)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Injected> {
        self.injected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds something and wakes the worker. Once that has ended, `write` is not called.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Injected)) -> Result<(), Closed> {
        let worker = {
            let mut injected = self.lock();
            if injected.closed {
                return Err(Closed);
            }
            write(&mut injected);
            self.filled.store(true, Ordering::Release);
            if injected.outbox.has_work() {
                self.has_sends.store(true, Ordering::Release);
            }
            injected.worker.take()
        };
        worker.into_iter().for_each(panics::wake);
        Ok(())
    }

    /// Asks for a sign of life.
    pub(crate) fn ping(&self, pings: &[Ping]) {
        let _ = self.push(|injected| add_pings(&mut injected.pings, pings.iter().cloned()));
    }

    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Moves what other threads sent so far behind what is in `outbox`. Whoever sees the effect of
    /// a send in another thread sees its flag too, so an order that exists is kept.
    #[inline]
    pub(crate) fn take_sends(&self, outbox: &mut Outbox) {
        if self.has_sends.load(Ordering::Acquire) {
            self.append_sends(outbox);
        }
    }

    #[cold]
    fn append_sends(&self, outbox: &mut Outbox) {
        let mut injected = self.lock();
        outbox.append(&mut injected.outbox);
        self.has_sends.store(false, Ordering::Relaxed);
    }

    /// Gives back the memory that a burst of others' sends needed.
    pub(crate) fn shrink(&self) {
        self.lock().outbox.shrink();
    }

    /// Empties everything but the datagrams into `into`, whose lists are given in exchange.
    pub(crate) fn take(&self, into: &mut Injected) {
        let mut injected = self.lock();
        std::mem::swap(&mut injected.ready, &mut into.ready);
        std::mem::swap(&mut injected.alarms, &mut into.alarms);
        into.begin = injected.begin.take().or_else(|| into.begin.take());
        into.drain = injected.drain.take().or(into.drain);
        into.close = injected.close.take().or(into.close);
        std::mem::swap(&mut injected.pings, &mut into.pings);
        self.filled
            .store(self.has_sends.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The worker goes to sleep, unless something has come.
    pub(crate) fn sleep(&self, worker: &Waker) -> bool {
        let replaced;
        {
            let mut injected = self.lock();
            if self.is_filled() {
                return false;
            }
            let known = injected.worker.as_ref();
            if known.is_some_and(|known| known.will_wake(worker)) {
                return true;
            }
            replaced = injected.worker.replace(worker.clone());
        }
        drop(replaced);
        true
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// From now on nothing is received.
    pub(crate) fn hand_over(&self) {
        self.handing_over.store(true, Ordering::Release);
    }

    pub(crate) fn is_handing_over(&self) -> bool {
        self.handing_over.load(Ordering::Acquire)
    }

    /// The worker ends: later sends and waiting senders answer closed. What was injected and not
    /// taken is handed back.
    pub(crate) fn close(&self) -> Injected {
        self.closing.store(true, Ordering::Release);
        let mut rest = {
            let mut injected = self.lock();
            let rest = std::mem::take(&mut *injected);
            injected.closed = true;
            self.filled.store(false, Ordering::Relaxed);
            self.has_sends.store(false, Ordering::Relaxed);
            rest
        };
        drop_pings(&mut rest.pings);
        // It wakes the senders, whose wakers are foreign and may panic.
        panics::waking(|| self.room.close());
        rest
    }

    /// Gives room back, and wakes those who have waited for it longest.
    pub(crate) fn add_room(&self, bytes: usize) {
        panics::waking(|| self.room.add_permits(bytes));
    }
}

/// The worker has ended.
#[derive(Debug)]
pub(crate) struct Closed;
