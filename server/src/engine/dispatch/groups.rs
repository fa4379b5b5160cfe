//! Clients each of whose datagrams has a run of its own: so many at once, and what comes over that
//! waits, in the queue of the client.
//!
//! Only runs that wait are counted, like the clients in the table: a handler that answers at once
//! leaves no trace.

use std::collections::HashMap;
use std::task::Waker;

use ahash::RandomState;

use super::backlog::{Backlog, Held, QueueLimits};
use super::{Client, Dispatch, DropReason, QueuedDatagram, Slot, Task};
use crate::service::Totals;

/// The clients of which runs wait. They are looked up, and gone through only to drop everything.
pub(super) struct Groups<C> {
    groups: HashMap<C, Group, RandomState>,
    /// So many runs of a client at once.
    most: usize,
    /// The runs of all of them.
    runs: usize,
}

#[derive(Default)]
struct Group {
    runs: usize,
    /// Something waits only while there are as many runs as may be.
    backlog: Backlog,
    /// What waits in the queues of its runs: datagrams that those have not received where they were
    /// offered.
    unreceived: Held,
}

impl Group {
    fn add_unreceived(&mut self, cost: usize) -> u32 {
        self.unreceived.datagrams += 1;
        self.unreceived.bytes += cost;
        cost as u32 // no datagram is longer
    }

    fn remove_unreceived(&mut self, cost: u32) {
        if cost > 0 {
            self.unreceived.datagrams -= 1;
            self.unreceived.bytes -= cost as usize;
        }
    }
}

impl<C: Client> Groups<C> {
    pub(super) fn new(most: usize) -> Self {
        let (groups, runs) = (HashMap::default(), 0);
        Self { groups, most, runs }
    }

    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.groups.capacity()
    }

    /// How many runs a client may have.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// How many runs a client has.
    #[inline(never)] // few servers have such clients
    pub(super) fn runs_of(&self, client: &C) -> usize {
        self.groups.get(client).map_or(0, |group| group.runs)
    }

    /// A run of this client waits.
    pub(super) fn enter(&mut self, client: C) {
        self.groups.entry(client).or_default().runs += 1;
        self.runs += 1;
    }

    /// The poll that this run's one datagram was offered to has not received it: it waits in the
    /// queue of the run, within the bounds of the client. Returns the receive in another task that
    /// waits for it.
    pub(super) fn queue<T: Task<Client = C>>(
        &mut self,
        slot: &mut Slot<T>,
        datagram: QueuedDatagram,
        limits: QueueLimits,
        totals: &Totals,
    ) -> Result<Option<Waker>, DropReason> {
        // It is there: the run waits.
        let group = self.groups.entry(slot.task.client()).or_default();
        let (cost, waiting) = (datagram.cost(), group.backlog.held());
        let held = Held {
            datagrams: waiting.datagrams + group.unreceived.datagrams,
            bytes: waiting.bytes + group.unreceived.bytes,
        };
        let waker = slot.task.queue().push(datagram, limits, held, totals)?;
        slot.unreceived = group.add_unreceived(cost);
        Ok(waker)
    }

    /// The run has been polled again: it may have received its datagram now.
    #[cold]
    pub(super) fn look_for_received<T: Task<Client = C>>(&mut self, slot: &mut Slot<T>) {
        if slot.task.queue().has_received()
            && let Some(group) = self.groups.get_mut(&slot.task.client())
        {
            group.remove_unreceived(std::mem::take(&mut slot.unreceived));
        }
    }

    /// A run has ended. Returns whether the next one begins in its place, with a datagram that has
    /// waited.
    pub(super) fn leave<T: Task<Client = C>>(&mut self, slot: &mut Slot<T>) -> bool {
        let client = slot.task.client();
        let Some(group) = self.groups.get_mut(&client) else {
            return false;
        };
        group.remove_unreceived(std::mem::take(&mut slot.unreceived));
        if let Some(next) = group.backlog.take_first() {
            slot.unreceived = group.add_unreceived(next.cost());
            slot.task.renew();
            slot.task.queue().refill([next].into()); // it is counted in the totals already
            return true;
        }
        self.runs -= 1;
        group.runs -= 1;
        if group.runs == 0 {
            self.groups.remove(&client);
            self.shrink();
        }
        false
    }

    /// What a crowd has needed is given back, also where one of it stays.
    fn shrink(&mut self) {
        let (len, capacity) = (self.groups.len(), self.groups.capacity());
        if capacity > KEPT && len < capacity / 4 {
            self.groups.shrink_to(KEPT.max(2 * len));
        }
    }

    /// Drops what waits, and returns how many datagrams that were.
    pub(super) fn clear(&mut self, totals: &Totals) -> usize {
        let groups = self.groups.values_mut();
        groups.map(|group| group.backlog.clear(totals)).sum()
    }
}

/// Room for this many clients is kept.
pub(super) const KEPT: usize = 1024;

impl<T: Task> Dispatch<T> {
    /// The datagram has to wait until one of its client's runs ends.
    pub(crate) fn wait(
        &mut self,
        client: &T::Client,
        datagram: QueuedDatagram,
        totals: &Totals,
    ) -> Result<(), DropReason> {
        let limits = self.limits;
        match self.groups.groups.get_mut(client) {
            Some(group) => {
                let beside = group.unreceived;
                group.backlog.push(datagram, limits, beside, totals)
            }
            None => Err(DropReason::ClientBound), // never: it has runs
        }
    }
}
