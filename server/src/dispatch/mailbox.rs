//! One handler run's postbox: what its client sent while it was busy, in order and bounded.

use std::collections::VecDeque;
use std::task::Waker;

use super::{DropReason, Totals};

/// A datagram that waits, in memory of its own size (never in the buffer it was received in).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) truncated: bool,
}

/// What a queued datagram costs besides its bytes: its place in the queue and its allocation.
pub(crate) const DATAGRAM_OVERHEAD: usize = 32;

impl Datagram {
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + DATAGRAM_OVERHEAD
    }
}

/// The bounds of one client's postbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MailboxLimits {
    pub(crate) datagrams: usize,
    pub(crate) bytes: usize,
}

/// What a receive finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Datagram(Datagram),
    /// Nothing is queued and the receive's deadline has passed.
    TimedOut,
    /// Nothing will ever come: the handler ended, or the server is shutting down.
    Closed,
    Empty,
}

/// The part of a handler run that other threads may touch. Lives behind a mutex.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    queue: VecDeque<Datagram>,
    bytes: usize,
    closed: bool,
    /// A receive of this run took a datagram, or its first was dropped for want of room.
    received: bool,
    /// Who waits for the next datagram, when it is not simply the handler itself.
    waiting: Option<Waker>,
    /// Numbers the receives, so that the deadline of a dropped one is told from the present one's.
    receive: u32,
    /// The receive whose deadline has passed, or 0.
    expired: u32,
}

impl Mailbox {
    /// Appends a datagram, and says whom to wake.
    pub(super) fn push(
        &mut self,
        datagram: Datagram,
        limits: MailboxLimits,
        totals: &Totals,
    ) -> Result<Option<Waker>, DropReason> {
        if self.closed {
            return Err(DropReason::Shutdown);
        }
        let cost = datagram.cost();
        let full = self.queue.len() >= limits.datagrams || self.bytes + cost > limits.bytes;
        if full || !totals.reserve(cost) {
            // Where nothing waits, this may be the very first: its handler has no other to discard.
            self.received |= self.queue.is_empty();
            return Err(match full {
                true => DropReason::ClientBound,
                false => DropReason::TotalBound,
            });
        }
        self.bytes += cost;
        self.queue.push_back(datagram);
        Ok(self.waiting.take())
    }

    /// The question of receive number `receive`, 0 for one that has not waited yet.
    pub(crate) fn take(&mut self, receive: u32, totals: &Totals) -> Taken {
        if self.closed {
            return Taken::Closed;
        }
        if let Some(datagram) = self.pop(totals) {
            self.received = true;
            return Taken::Datagram(datagram);
        }
        if receive != 0 && receive == self.expired {
            self.expired = 0; // told once
            return Taken::TimedOut;
        }
        Taken::Empty
    }

    fn pop(&mut self, totals: &Totals) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        let cost = datagram.cost();
        self.bytes -= cost;
        totals.release(cost);
        Some(datagram)
    }

    /// A new receive begins: earlier deadlines no longer count.
    pub(crate) fn begin_receive(&mut self) -> u32 {
        self.receive = next(self.receive);
        self.receive
    }

    /// Remembers who waits. Returns the one it replaces, to be dropped outside the lock.
    pub(crate) fn wait(&mut self, waker: Waker) -> Option<Waker> {
        self.waiting.replace(waker)
    }

    /// A receive is over: nobody waits any more, and its number counts no more.
    pub(crate) fn stop_waiting(&mut self, receive: u32) -> Option<Waker> {
        if !self.is_receiving(receive) {
            return None;
        }
        self.receive = next(receive);
        self.waiting.take()
    }

    /// Whether receive number `receive` still goes on. What is said about it may come late.
    pub(crate) fn is_receiving(&self, receive: u32) -> bool {
        self.receive == receive
    }

    /// Whether no receive has taken a datagram from here. Then the first one may still be in hand.
    pub(crate) fn is_unused(&self) -> bool {
        !self.received
    }

    /// The deadline of receive number `receive` has passed.
    pub(crate) fn expire(&mut self, receive: u32) -> Option<Waker> {
        if self.closed || !self.is_receiving(receive) {
            return None;
        }
        self.expired = receive;
        self.waiting.take()
    }

    /// The server closes: what is queued is dropped, and every receive answers closed. Returns how
    /// many datagrams that were, and who waited for one.
    pub(super) fn close(&mut self, totals: &Totals) -> (usize, Option<Waker>) {
        let rest = self.end();
        let costs = rest.queue.iter().map(Datagram::cost);
        costs.for_each(|cost| totals.release(cost));
        (rest.queue.len(), rest.waiting)
    }

    /// The handler ended: what is left goes to the next run, and every receive of this one answers
    /// closed.
    pub(super) fn end(&mut self) -> Remainder {
        self.closed = true;
        Remainder {
            received: self.received,
            queue: std::mem::take(&mut self.queue),
            waiting: self.waiting.take(),
        }
    }

    /// Makes a fresh postbox that begins with what the run before left. The receives are numbered
    /// on, since deadlines of that run's may still be under way.
    pub(super) fn restart(&mut self, queue: VecDeque<Datagram>) {
        let bytes = queue.iter().map(Datagram::cost).sum();
        *self = Self {
            queue,
            bytes,
            receive: next(self.receive),
            ..Self::default()
        };
    }

    #[cfg(test)]
    pub(super) fn number_receives_from(&mut self, receive: u32) {
        self.receive = receive;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

/// The number of the next receive, in 31 bits; 0 means none.
fn next(receive: u32) -> u32 {
    match receive {
        LAST_RECEIVE => 1,
        receive => receive + 1,
    }
}

pub(super) const LAST_RECEIVE: u32 = u32::MAX >> 1;

/// What an ended run leaves.
#[derive(Debug, Default)]
pub(super) struct Remainder {
    pub(super) received: bool,
    pub(super) queue: VecDeque<Datagram>,
    pub(super) waiting: Option<Waker>,
}
