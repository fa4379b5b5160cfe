//! What other threads, and handlers on other workers, leave for a worker.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::dispatch::SlotId;
use crate::outbox::Outbox;
use crate::panics;

/// A worker's letter slot. Its worker empties it once a turn; everybody else only adds.
#[derive(Debug)]
pub(crate) struct Inbox {
    mail: Mutex<Mail>,
    /// Something is in `mail`. Read without the lock on the datagram's path.
    has_mail: AtomicBool,
    /// Datagrams are in `mail`: what the worker's own handlers send goes behind them.
    has_sends: AtomicBool,
    /// The server is shutting down. Known to all its workers at once.
    closing: Arc<AtomicBool>,
    /// Bytes that the outbox still has room for. Fair: waiting senders are served in order.
    pub(crate) room: Semaphore,
    /// How much of it a worker sets aside in one go for its own handlers' sends.
    share: usize,
}

/// A turn asks for room once, not with each answer: a whole batch of small ones fits.
const MAX_SHARE: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// Handlers to poll.
    pub(crate) ready: Vec<SlotId>,
    /// Datagrams sent by other threads, and on the worker's own by other code than its handlers.
    pub(crate) outbox: Outbox,
    /// The receives in other tasks that have a deadline: of each run only the last. A task may begin
    /// and drop as many as it likes while its worker is held.
    pub(crate) alarms: Alarms,
    /// Shut down, with this grace.
    pub(crate) close: Option<Duration>,
    /// The worker has ended: nothing leaves any more.
    closed: bool,
    /// The worker, while it sleeps.
    worker: Option<Waker>,
}

/// By the addresses of their handler runs.
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

impl Inbox {
    pub(crate) fn new(outbox_bytes: usize, closing: Arc<AtomicBool>) -> Self {
        Self {
            mail: Mutex::default(),
            has_mail: AtomicBool::new(false),
            has_sends: AtomicBool::new(false),
            closing,
            room: Semaphore::new(outbox_bytes.min(Semaphore::MAX_PERMITS)),
            share: (outbox_bytes / 16).min(MAX_SHARE),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves something for the worker and wakes it. Once the worker has ended, `mail` never gets
    /// it.
    pub(crate) fn post(&self, write: impl FnOnce(&mut Mail)) -> Result<(), Closed> {
        let worker = {
            let mut mail = self.lock();
            if mail.closed {
                return Err(Closed);
            }
            write(&mut mail);
            self.has_mail.store(true, Ordering::Release);
            if mail.outbox.has_work() {
                self.has_sends.store(true, Ordering::Release);
            }
            mail.worker.take()
        };
        worker.into_iter().for_each(panics::wake);
        Ok(())
    }

    pub(crate) fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
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
        let mut mail = self.lock();
        outbox.append(&mut mail.outbox);
        self.has_sends.store(false, Ordering::Relaxed);
    }

    /// Gives back the memory that a burst of others' sends needed.
    pub(crate) fn shrink(&self) {
        self.lock().outbox.shrink();
    }

    /// Empties everything but the datagrams into `into`, whose lists are given in exchange.
    pub(crate) fn take_mail(&self, into: &mut Mail) {
        let mut mail = self.lock();
        std::mem::swap(&mut mail.ready, &mut into.ready);
        std::mem::swap(&mut mail.alarms, &mut into.alarms);
        into.close = mail.close.take().or(into.close);
        self.has_mail
            .store(self.has_sends.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The worker goes to sleep, unless something has come.
    pub(crate) fn sleep(&self, worker: &Waker) -> bool {
        let replaced;
        {
            let mut mail = self.lock();
            if self.has_mail() {
                return false;
            }
            if mail
                .worker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(worker))
            {
                return true;
            }
            replaced = mail.worker.replace(worker.clone());
        }
        drop(replaced);
        true
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The same, for those who ask at each datagram.
    pub(crate) fn closing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.closing)
    }

    /// The worker ends: later sends and waiting senders answer closed. What was posted and not
    /// taken is handed back.
    pub(crate) fn close(&self) -> Mail {
        self.closing.store(true, Ordering::Release);
        let rest = {
            let mut mail = self.lock();
            let rest = std::mem::take(&mut *mail);
            mail.closed = true;
            self.has_mail.store(false, Ordering::Relaxed);
            self.has_sends.store(false, Ordering::Relaxed);
            rest
        };
        // It wakes the senders, whose wakers are foreign and may panic.
        panics::waking(|| self.room.close());
        rest
    }

    /// Takes room for a worker's turn, at least `least`, more if there is plenty. Returns how much;
    /// 0 if there is not enough. What is not used is given back at the turn's end.
    #[inline]
    pub(crate) fn set_room_aside(&self, least: usize) -> usize {
        let take = |bytes: usize| {
            let room = self.room.try_acquire_many(bytes as u32).ok()?;
            room.forget();
            Some(bytes)
        };
        take(least.max(self.share))
            .or_else(|| take(least))
            .unwrap_or(0)
    }

    /// Gives room back, and wakes those who have waited for it longest.
    pub(crate) fn add_room(&self, bytes: usize) {
        panics::waking(|| self.room.add_permits(bytes));
    }
}

/// The worker has ended.
#[derive(Debug)]
pub(crate) struct Closed;

/// Wakes one handler: the waker that its future is polled with.
#[derive(Debug)]
pub(crate) struct HandlerWaker {
    inbox: Arc<Inbox>,
    /// Changes only while nobody else holds the waker.
    slot: AtomicU32,
    posted: AtomicBool,
}

impl HandlerWaker {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self {
            inbox,
            slot: AtomicU32::new(0),
            posted: AtomicBool::new(false),
        }
    }

    /// The worker is about to poll the handler in this slot: later wake-ups count again. Swapped,
    /// not stored: this poll has to see what a thread did whose wake-up was passed over because
    /// another was already posted.
    #[inline]
    pub(crate) fn polling(&self, slot: SlotId) {
        self.slot.store(slot, Ordering::Relaxed);
        if self.posted.load(Ordering::Relaxed) {
            self.posted.swap(false, Ordering::AcqRel);
        }
    }
}

impl Wake for HandlerWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.posted.swap(true, Ordering::AcqRel) {
            let slot = self.slot.load(Ordering::Relaxed);
            let _ = self.inbox.post(|mail| mail.ready.push(slot));
        }
    }
}
