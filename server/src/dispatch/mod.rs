//! Who gets which datagram, when a handler starts, starts again, or is forgotten.
//!
//! Everything that is decided about clients is decided here, by plain functions: no runtime, no
//! sockets, no clock, no user code but the admission check. Facts come in as arguments, decisions
//! go out as values. One worker owns one [`Dispatch`]; only the [`Mailbox`] of a run is shared with
//! other threads, behind its mutex.
//!
//! | what happens | the client has no handler | its handler waits in a receive | its handler is busy |
//! |---|---|---|---|
//! | a datagram arrives | [`Arrival::Start`] | [`Arrival::Deliver`] | [`Arrival::Queue`] |
//! | ... and is refused | dropped: refused | (not asked) | (not asked) |
//! | ... over a bound | dropped: clients | (nothing is queued) | dropped: client's bound or total |
//! | ... and is not received by the poll that it is lent to | queued | queued | - |
//! | the handler ends | - | forgotten | next datagram: a new run, else forgotten |
//! | ... with the datagram still lent | discarded, forgotten | next datagram: a new run | - |
//! | ... and the one behind it is lent now | next datagram: a new run | next datagram: a new run | - |
//! | ... before it received anything | - | - | one datagram discarded, then as above |
//! | the server closes | dropped: shutdown | receive answers closed | queue dropped: shutdown |
//!
//! A handler that waits in a receive has received before: its first datagram is there when it
//! starts.

mod hand;
mod mailbox;
mod postbox;
mod table;
mod totals;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::hash::Hash;
use std::task::Waker;

pub(crate) use hand::Hand;
pub(crate) use mailbox::{Datagram, Mailbox, MailboxLimits, Taken};
pub(crate) use postbox::Postbox;
pub(crate) use totals::Totals;

use table::Table;

/// A place in the worker's slab of running handlers.
pub(crate) type SlotId = u32;

/// A handler and its client. What ends is not dropped: the next one begins in its place, in the
/// same memory.
pub(crate) trait Run {
    type Client: Copy + Eq + Hash;
    /// Begins anew for the same client, with a postbox of its own: others still hold the one of
    /// before.
    fn renew(&mut self);
    fn client(&self) -> Self::Client;
    /// Whether this is its client.
    fn is_of(&self, client: &Self::Client) -> bool {
        self.client() == *client
    }
    fn postbox(&self) -> &Postbox;
    /// Whether nobody but the dispatcher holds this run: no `Client`, no `Requests`. What they have
    /// done is seen then.
    fn is_unshared(&self) -> bool;
    /// The postbox, where nobody but the dispatcher holds this run.
    fn unshared(&mut self) -> Option<&mut Postbox>;
}

/// Why a datagram was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// The client's own postbox is full.
    ClientBound,
    /// All postboxes together are full.
    TotalBound,
    /// Too many clients have a handler.
    Clients,
    /// The user's admission check said no.
    Refused,
    /// The server is shutting down.
    Shutdown,
}

/// What to do with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// No handler runs for its client: start one.
    Start,
    /// The handler waits for exactly this: poll it with the datagram in hand.
    Deliver(SlotId),
    /// The handler is busy: the datagram has to wait.
    Queue(SlotId),
    /// It is dropped.
    Drop(DropReason),
}

/// What to do after a datagram was queued.
#[derive(Debug)]
pub(crate) enum Queued {
    /// Another task waits for it.
    Wake(Waker),
    /// It is the first in the queue: let the handler look.
    Poll,
    /// The handler has been told already.
    Nothing,
    Dropped(DropReason),
}

/// What to do after a handler ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The datagram that started the handler was not received, and is discarded.
    pub(crate) discarded: bool,
    pub(crate) next: Next,
    /// A receive in another task, which must learn that the handler ended.
    pub(crate) wake: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The client is forgotten.
    Forgotten,
    /// More is there, lent or queued: a new handler starts on it in the same slot.
    Start,
}

struct Slot<R> {
    run: R,
    /// A handler runs here.
    occupied: bool,
    /// In the table, and counted as a waiting client.
    listed: bool,
    /// The handler itself waits in a receive, and found nothing.
    parked: bool,
    /// Something may be in the mailbox.
    queued: bool,
    /// A receive took a lent datagram. Those from the mailbox are the mailbox's to know.
    received: bool,
}

impl<R> Slot<R> {
    fn new(run: R) -> Self {
        Self {
            run,
            occupied: true,
            listed: false,
            parked: false,
            queued: false,
            received: false,
        }
    }
}

/// The clients of one worker.
pub(crate) struct Dispatch<R> {
    table: Table,
    /// `None` where the memory has been given back.
    slots: Vec<Option<Slot<R>>>,
    /// The slots without a handler. The one that was used last is used first.
    free: Vec<SlotId>,
    /// How many of those keep their memory.
    kept: usize,
    limits: MailboxLimits,
    closing: bool,
}

impl<R: Run> Dispatch<R> {
    /// Slots whose handlers have ended keep their memory for the next ones: so many of them.
    pub(crate) fn new(limits: MailboxLimits, kept: usize) -> Self {
        Self {
            table: Table::new(),
            slots: Vec::new(),
            free: Vec::new(),
            kept,
            limits,
            closing: false,
        }
    }

    /// A datagram arrived. `admit` is asked about a client that has no handler.
    #[inline]
    pub(crate) fn arrive(
        &self,
        client: &R::Client,
        totals: &Totals,
        admit: impl FnOnce() -> bool,
    ) -> Arrival {
        if self.closing {
            return Arrival::Drop(DropReason::Shutdown);
        }
        match self.find(client) {
            Some(id) if self.slot(id).parked => Arrival::Deliver(id),
            Some(id) => Arrival::Queue(id),
            None if !admit() => Arrival::Drop(DropReason::Refused),
            None if !totals.admits_client() => Arrival::Drop(DropReason::Clients),
            None => Arrival::Start,
        }
    }

    /// A handler starts. It enters the table only when it has to wait ([`Self::waits`]): one that
    /// answers at once leaves no trace. `make` makes what a slot without memory holds; in another,
    /// `begin` begins anew, with a postbox of its own if others still hold the one of before.
    #[inline]
    pub(crate) fn start(
        &mut self,
        make: impl FnOnce(SlotId) -> R,
        begin: impl FnOnce(&mut R),
    ) -> SlotId {
        let id = self.free.pop().unwrap_or(self.slots.len() as SlotId);
        match self.slots.get_mut(id as usize) {
            Some(Some(slot)) => {
                begin(&mut slot.run);
                if slot.run.postbox().is_used() {
                    slot.run.postbox().lock().restart(VecDeque::new());
                }
                slot.occupied = true;
            }
            Some(place) => *place = Some(Slot::new(make(id))),
            None => self.add_slot(Slot::new(make(id))),
        }
        id
    }

    #[cold]
    fn add_slot(&mut self, slot: Slot<R>) {
        if self.slots.len() == self.slots.capacity() {
            // Not twice as many: a waiting client is to cost what it needs.
            self.slots.reserve_exact(self.slots.len() / 8 + 64);
        }
        self.slots.push(Some(slot));
    }

    /// The handler was polled and has not ended. `parked`: it waits in a receive of its own.
    pub(crate) fn waits(&mut self, id: SlotId, hand: Hand, parked: bool, totals: &Totals) {
        let slot = self.slots[id as usize].as_mut().expect(OCCUPIED);
        slot.parked = parked;
        slot.received |= hand.has_given();
        if parked {
            slot.queued = false; // a receive that waits has found the mailbox empty
        }
        if !slot.listed {
            slot.listed = true;
            totals.add_client();
            let (table, slots) = (&mut self.table, &self.slots);
            table.insert(id, |id| {
                slots[id as usize].as_ref().expect(OCCUPIED).run.client()
            });
        }
    }

    /// The datagram has to wait in the mailbox.
    pub(crate) fn queue(&mut self, id: SlotId, datagram: Datagram, totals: &Totals) -> Queued {
        let limits = self.limits;
        let slot = self.slot_mut(id);
        let pushed = slot.run.postbox().lock().push(datagram, limits, totals);
        let waiting = match pushed {
            Ok(waiting) => waiting,
            Err(reason) => return Queued::Dropped(reason),
        };
        let told = std::mem::replace(&mut slot.queued, true);
        slot.parked = false; // what comes next has to queue behind this
        match waiting {
            Some(waker) => Queued::Wake(waker),
            None if told => Queued::Nothing,
            None => Queued::Poll,
        }
    }

    /// The handler ended: it returned, failed, panicked or was cancelled.
    #[inline]
    pub(crate) fn end(&mut self, id: SlotId, hand: Hand, totals: &Totals) -> Ended {
        let slot = self.slot_mut(id);
        let received = std::mem::take(&mut slot.received) || hand.has_given();
        slot.parked = false;
        let lent = hand.holds();
        if !slot.run.is_unshared() || slot.run.postbox().is_used() {
            return self.end_used(id, lent, received, totals);
        }
        // The usual case: nothing was ever queued, and nobody keeps the run.
        let next = if lent && received {
            Next::Start
        } else {
            self.forget(id, totals)
        };
        Ended {
            discarded: lent && !received,
            next,
            wake: None,
        }
    }

    fn end_used(&mut self, id: SlotId, mut lent: bool, received: bool, totals: &Totals) -> Ended {
        let slot = self.slot_mut(id);
        let (mut rest, unshared) = match slot.run.unshared() {
            Some(postbox) => (postbox.end_and_restart(), true),
            None => (slot.run.postbox().lock().end(), false),
        };
        let discarded = !(rest.received || received)
            && match rest.queue.pop_front() {
                Some(datagram) => {
                    totals.release(datagram.cost());
                    true
                }
                None => std::mem::take(&mut lent),
            };
        let next = if rest.queue.is_empty() && !lent {
            self.forget(id, totals)
        } else {
            if !unshared {
                slot.run.renew();
            }
            slot.run.postbox().lock().restart(rest.queue);
            Next::Start
        };
        Ended {
            discarded,
            next,
            wake: rest.waiting,
        }
    }

    #[inline]
    fn forget(&mut self, id: SlotId, totals: &Totals) -> Next {
        let slot = self.slots[id as usize].as_mut().expect(OCCUPIED);
        (slot.occupied, slot.queued) = (false, false);
        if std::mem::take(&mut slot.listed) {
            self.table.remove(id, &slot.run.client());
            totals.remove_client();
        }
        self.free.push(id);
        if let Some(longest_ago) = self.free.len().checked_sub(self.kept + 1) {
            self.slots[self.free[longest_ago] as usize] = None;
        }
        Next::Forgotten
    }

    /// The server closes: every receive answers closed, everything queued is dropped. Returns how
    /// many datagrams that were, and the receives in other tasks, to be woken.
    pub(crate) fn close(&mut self, totals: &Totals) -> (usize, Vec<Waker>) {
        self.closing = true;
        let (mut dropped, mut wake) = (0, Vec::new());
        for slot in self.slots.iter().flatten().filter(|slot| slot.occupied) {
            let (count, waiting) = slot.run.postbox().lock().close(totals);
            dropped += count;
            wake.extend(waiting);
        }
        (dropped, wake)
    }

    /// Whether it was closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    fn find(&self, client: &R::Client) -> Option<SlotId> {
        self.table
            .find(client, |id| self.slot(id).run.is_of(client))
    }

    fn slot(&self, id: SlotId) -> &Slot<R> {
        self.slots[id as usize].as_ref().expect(OCCUPIED)
    }

    fn slot_mut(&mut self, id: SlotId) -> &mut Slot<R> {
        self.slots[id as usize].as_mut().expect(OCCUPIED)
    }

    pub(crate) fn run(&self, id: SlotId) -> &R {
        &self.slot(id).run
    }

    pub(crate) fn run_mut(&mut self, id: SlotId) -> &mut R {
        &mut self.slot_mut(id).run
    }

    /// Whether a handler occupies this slot: a late wake-up may name one that has ended.
    pub(crate) fn is_running(&self, id: SlotId) -> bool {
        let slot = self.slots.get(id as usize).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.occupied)
    }

    /// Whether the mailbox may hold something that a receive has to look for.
    pub(crate) fn may_have_queued(&self, id: SlotId) -> bool {
        self.slot(id).queued
    }

    /// The slots in which handlers run.
    pub(crate) fn running(&self) -> impl Iterator<Item = SlotId> + '_ {
        (0..self.slots.len() as SlotId).filter(|id| self.is_running(*id))
    }
}

/// Slots are named by the worker only while a handler occupies them; wake-ups are checked with
/// [`Dispatch::is_running`] first.
const OCCUPIED: &str = "the slot of a running handler is occupied";
