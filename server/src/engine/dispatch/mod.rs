//! Who gets which datagram, when a handler starts, starts again, or is forgotten.
//!
//! Everything that is decided about clients is decided here, by plain functions: no runtime, no
//! sockets, no clock, no user code but the admission check. Facts come in as arguments, decisions
//! go out as values. One worker owns one [`Dispatch`]; only the [`RunQueue`] of a run is shared with
//! other threads.
//!
//! | what happens | the client has no handler | its handler waits in a receive | its handler is busy |
//! |---|---|---|---|
//! | a datagram arrives | [`Arrival::Start`] | [`Arrival::Deliver`] | [`Arrival::Queue`] |
//! | ... and is refused | dropped: refused | dropped: refused | dropped: refused |
//! | ... while the server drains | dropped: shutdown | as ever | queued, for this run alone |
//! | ... over a bound | [`Arrival::Evict`], or dropped: prefix or clients | (nothing is queued) | dropped: client's bound or total |
//! | ... that is to have a run of its own | started, or, over a bound of its client, [`Arrival::Wait`] | - | - |
//! | ... and is not received by the poll that it is offered to | queued | queued | - |
//! | the handler ends | - | forgotten | next datagram: a new run, else forgotten |
//! | ... with the datagram still offered | discarded, forgotten | forgotten, it arrives again | - |
//! | ... before it received anything | - | - | one datagram discarded, then as above |
//! | the server closes | dropped: shutdown | receive answers closed | queue dropped: shutdown |
//!
//! A handler that waits in a receive has received before: its first datagram is there when it
//! starts.

mod backlog;
mod clock;
mod datagram;
mod decision;
mod groups;
mod queue;
mod table;

#[cfg(test)]
mod tests;

use std::hash::Hash;
use std::task::Waker;

pub(crate) use backlog::QueueLimits;
pub(crate) use datagram::QueuedDatagram;
pub(crate) use decision::{Arrival, DropReason, Ended, Next};
pub(crate) use queue::{Listener, RunQueue, Taken, Told, Waiting};

use crate::config::WhenFull;
use crate::service::{Source, Totals};
use backlog::Held;
use groups::Groups;
use table::Table;

/// A place in the worker's slab of running handlers.
pub(crate) type SlotId = u32;

/// What tells clients apart.
pub(crate) trait Client: Copy + Eq + Hash + Source {
    /// Whether each of its datagrams is for itself: has a run of its own.
    fn is_single(&self) -> bool;
}

/// A handler and its client, as a slot keeps them. What ends is not dropped: the next one begins in
/// its place, in the same memory.
pub(crate) trait Task {
    type Client: Client;
    fn client(&self) -> Self::Client;
    /// Whether this is its client.
    fn is_of(&self, client: &Self::Client) -> bool {
        self.client() == *client
    }
    /// The queue of its present run.
    fn queue(&self) -> &RunQueue;
    /// Whether nobody else holds the present run: no `Client`, no `Requests`. What they have done is
    /// seen then.
    fn is_unshared(&self) -> bool;
    /// Begins the next run for the same client, with a queue of its own.
    fn renew(&mut self);
}

struct Slot<T> {
    task: T,
    /// A handler runs here.
    occupied: bool,
    /// In the table, and counted as a waiting client.
    listed: bool,
    /// Its client has sent more than its first datagram since the clock hand has passed.
    marked: bool,
    /// What the datagram costs that its group counts as not received, if it is a run of one.
    unreceived: u32,
}

impl<T> Slot<T> {
    fn new(task: T) -> Self {
        Self {
            task,
            occupied: true,
            listed: false,
            marked: false,
            unreceived: 0,
        }
    }
}

/// The clients of one worker.
pub(crate) struct Dispatch<T: Task> {
    table: Table,
    /// Of runs for one datagram.
    groups: Groups<T::Client>,
    /// `None` where the memory has been given back.
    slots: Vec<Option<Slot<T>>>,
    /// The slots without a handler. The one that was used last is used first.
    free: Vec<SlotId>,
    /// How many of those keep their memory.
    kept: usize,
    limits: QueueLimits,
    when_full: WhenFull,
    /// Where the next look for a handler to evict begins.
    hand: usize,
    /// Who has no handler may get one: not while the server drains.
    newcomers: bool,
    closing: bool,
}

impl<T: Task> Dispatch<T> {
    /// Slots whose handlers have ended keep their memory for the next ones: so many of them.
    /// A client may have `concurrency` runs that are for one datagram.
    pub(crate) fn new(
        limits: QueueLimits,
        when_full: WhenFull,
        kept: usize,
        concurrency: usize,
    ) -> Self {
        Self {
            table: Table::new(),
            groups: Groups::new(concurrency),
            slots: Vec::new(),
            free: Vec::new(),
            kept,
            limits,
            when_full,
            hand: 0,
            newcomers: true,
            closing: false,
        }
    }

    /// A datagram arrived. `admit` is asked about it, and told whether its client has a handler.
    #[inline]
    pub(crate) fn arrive(
        &mut self,
        client: &T::Client,
        totals: &Totals,
        admit: impl FnOnce(bool) -> bool,
    ) -> Arrival {
        if self.closing {
            return Arrival::Drop(DropReason::Shutdown);
        }
        let (found, runs) = match client.is_single() {
            false => (self.find(client), 0),
            true => (None, self.groups.runs_of(client)),
        };
        if !admit(found.is_some() || runs > 0) {
            return Arrival::Drop(DropReason::Refused);
        }
        match found {
            Some(id) => {
                let slot = self.slot_mut(id);
                slot.marked = true;
                if slot.task.queue().waits_on_worker() {
                    Arrival::Deliver(id)
                } else {
                    Arrival::Queue(id)
                }
            }
            None if !self.newcomers => Arrival::Drop(DropReason::Shutdown),
            None if runs >= self.groups.most() => Arrival::Wait,
            None if !totals.admits_prefix(client) => Arrival::Drop(DropReason::Prefix),
            None if !totals.admits_client(self.clients()) => self.make_room(),
            None => Arrival::Start,
        }
    }

    /// A handler starts. It enters the table only when it has to wait ([`Self::mark_pending`]): one that
    /// answers at once leaves no trace. `make` makes what a slot without memory holds; in another,
    /// `begin` begins anew.
    #[inline]
    pub(crate) fn start(
        &mut self,
        make: impl FnOnce(SlotId) -> T,
        begin: impl FnOnce(&mut T),
    ) -> SlotId {
        let id = self.free.pop().unwrap_or(self.slots.len() as SlotId);
        match self.slots.get_mut(id as usize) {
            Some(Some(slot)) => {
                begin(&mut slot.task);
                slot.occupied = true;
            }
            Some(place) => *place = Some(Slot::new(make(id))),
            None => self.add_slot(Slot::new(make(id))),
        }
        id
    }

    #[cold]
    fn add_slot(&mut self, slot: Slot<T>) {
        if self.slots.len() == self.slots.capacity() {
            // Not twice as many: a waiting client is to cost what it needs.
            self.slots.reserve_exact(self.slots.len() / 8 + 64);
        }
        self.slots.push(Some(slot));
    }

    /// The handler was polled and has not ended.
    #[inline]
    pub(crate) fn mark_pending(&mut self, id: SlotId, totals: &Totals) {
        let slot = self.slots[id as usize].as_mut().expect(OCCUPIED);
        if slot.unreceived > 0 {
            self.groups.look_for_received(slot);
        } else if !slot.listed {
            slot.listed = true;
            let client = slot.task.client();
            totals.add_client(&client);
            if client.is_single() {
                return self.groups.enter(client);
            }
            let (table, slots) = (&mut self.table, &self.slots);
            table.insert(id, |id| {
                slots[id as usize].as_ref().expect(OCCUPIED).task.client()
            });
        }
    }

    /// The handler has received more than its client's first datagram.
    #[inline]
    pub(crate) fn mark(&mut self, id: SlotId) {
        self.slot_mut(id).marked = true;
    }

    /// The datagram has to wait in the queue. Returns the receive in another task that waits for
    /// it, to be woken.
    pub(crate) fn queue(
        &mut self,
        id: SlotId,
        datagram: QueuedDatagram,
        totals: &Totals,
    ) -> Result<Option<Waker>, DropReason> {
        let slot = self.slots[id as usize].as_mut().expect(OCCUPIED);
        if slot.task.client().is_single() {
            return self.groups.queue(slot, datagram, self.limits, totals);
        }
        let queue = slot.task.queue();
        let waker = queue.push(datagram, self.limits, Held::default(), totals)?;
        if !self.newcomers {
            queue.lock().last_is_late();
        }
        Ok(waker)
    }

    /// The handler ended: it returned, failed, panicked or was cancelled. `offered`: no receive took
    /// the datagram that its last poll was offered. If that is not discarded, it arrives again.
    #[inline]
    pub(crate) fn end(&mut self, id: SlotId, offered: bool, totals: &Totals) -> Ended {
        let task = &self.slot(id).task;
        let queue = task.queue();
        if !task.is_unshared() || queue.is_used() {
            return self.end_used(id, offered, totals);
        }
        // The usual case: nothing was ever queued, and nobody keeps the run.
        let discarded = offered && !queue.has_received();
        Ended {
            discarded,
            dropped: 0,
            next: self.forget(id, totals),
            wake: None,
        }
    }

    fn end_used(&mut self, id: SlotId, offered: bool, totals: &Totals) -> Ended {
        let mut rest = self.slot(id).task.queue().end();
        let discarded = !rest.received
            && match rest.datagrams.pop_front() {
                Some(datagram) => {
                    totals.release(datagram.cost());
                    true
                }
                None => offered,
            };
        let begin = rest.datagrams.len().saturating_sub(rest.late);
        let late = rest.datagrams.split_off(begin);
        late.iter().for_each(|one| totals.release(one.cost()));
        let next = if rest.datagrams.is_empty() {
            self.forget(id, totals)
        } else {
            let task = &mut self.slot_mut(id).task;
            task.renew();
            task.queue().refill(rest.datagrams);
            Next::Start
        };
        Ended {
            discarded,
            dropped: late.len(),
            next,
            wake: rest.waker,
        }
    }

    #[inline]
    fn forget(&mut self, id: SlotId, totals: &Totals) -> Next {
        let slot = self.slots[id as usize].as_mut().expect(OCCUPIED);
        if slot.listed {
            let client = slot.task.client();
            if !client.is_single() {
                self.table.remove(id, &client);
            } else if self.groups.leave(slot) {
                return Next::Start;
            }
            totals.remove_client(&client);
            (slot.listed, slot.marked) = (false, false);
        }
        slot.occupied = false;
        self.free.push(id);
        if let Some(longest_ago) = self.free.len().checked_sub(self.kept + 1) {
            self.slots[self.free[longest_ago] as usize] = None;
        }
        Next::Forgotten
    }

    /// The server drains: who has no handler gets none any more, and what comes behind a handler is
    /// for that one alone.
    pub(crate) fn refuse_newcomers(&mut self) {
        self.newcomers = false;
    }

    /// The server closes: every receive answers closed, everything queued is dropped. Returns how
    /// many datagrams that were, and the receives in other tasks, to be woken.
    pub(crate) fn close(&mut self, totals: &Totals) -> (usize, Vec<Waker>) {
        self.closing = true;
        let (mut dropped, mut wake) = (self.groups.clear(totals), Vec::new());
        for slot in self.slots.iter().flatten().filter(|slot| slot.occupied) {
            let (count, waiting) = slot.task.queue().close(totals);
            dropped += count;
            wake.extend(waiting);
        }
        (dropped, wake)
    }

    /// Whether it was closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// The slot of this client's handler, if one runs and has waited.
    pub(crate) fn find(&self, client: &T::Client) -> Option<SlotId> {
        self.table
            .find(client, |id| self.slot(id).task.is_of(client))
    }

    fn slot(&self, id: SlotId) -> &Slot<T> {
        self.slots[id as usize].as_ref().expect(OCCUPIED)
    }

    fn slot_mut(&mut self, id: SlotId) -> &mut Slot<T> {
        self.slots[id as usize].as_mut().expect(OCCUPIED)
    }

    pub(crate) fn task(&self, id: SlotId) -> &T {
        &self.slot(id).task
    }

    #[inline]
    pub(crate) fn task_mut(&mut self, id: SlotId) -> &mut T {
        &mut self.slot_mut(id).task
    }

    /// Whether a handler occupies this slot: a late wake-up may name one that has ended.
    pub(crate) fn is_running(&self, id: SlotId) -> bool {
        let slot = self.slots.get(id as usize).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.occupied)
    }

    /// The handlers that run.
    pub(crate) fn tasks_mut(&mut self) -> impl Iterator<Item = (SlotId, &mut T)> {
        let slots = (0..).zip(&mut self.slots);
        slots.filter_map(|(id, slot)| {
            let slot = slot.as_mut().filter(|slot| slot.occupied)?;
            Some((id, &mut slot.task))
        })
    }

    /// The slots in which handlers run.
    pub(crate) fn running(&self) -> impl Iterator<Item = SlotId> + '_ {
        (0..self.slots.len() as SlotId).filter(|id| self.is_running(*id))
    }
}

/// Slots are named by the worker only while a handler occupies them; wake-ups are checked with
/// [`Dispatch::is_running`] first.
const OCCUPIED: &str = "the slot of a running handler is occupied";
