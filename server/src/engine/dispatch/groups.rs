//! Clients each of whose datagrams has a run of its own: so many at once, and what comes over that
//! waits, in the queue of the client.
//!
//! Only runs that wait are counted, like the clients in the table: a handler that answers at once
//! leaves no trace.

use std::collections::HashMap;
use std::hash::Hash;

use ahash::RandomState;

use super::backlog::{Backlog, QueueLimits};
use super::{Dispatch, DropReason, QueuedDatagram, Task};
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
}

impl<C: Copy + Eq + Hash> Groups<C> {
    pub(super) fn new(most: usize) -> Self {
        let (groups, runs) = (HashMap::default(), 0);
        Self { groups, most, runs }
    }

    pub(super) fn runs(&self) -> usize {
        self.runs
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

    /// A run of this client has ended. Returns the datagram that the next one begins with, in its
    /// place: it is still counted as queued.
    pub(super) fn leave(&mut self, client: &C) -> Option<QueuedDatagram> {
        let group = self.groups.get_mut(client)?;
        let next = group.backlog.take_first();
        if next.is_none() {
            self.runs -= 1;
            group.runs -= 1;
            if group.runs == 0 {
                self.groups.remove(client);
                // What a crowd has needed is given back.
                if self.groups.is_empty() {
                    self.groups.shrink_to(KEPT);
                }
            }
        }
        next
    }

    /// Drops what waits, and returns how many datagrams that were.
    pub(super) fn clear(&mut self, totals: &Totals) -> usize {
        let groups = self.groups.values_mut();
        groups.map(|group| group.backlog.clear(totals)).sum()
    }
}

/// Room for this many clients is kept.
const KEPT: usize = 1024;

impl<T: Task> Dispatch<T> {
    /// The datagram has to wait until one of its client's runs ends.
    pub(crate) fn wait(
        &mut self,
        client: &T::Client,
        datagram: QueuedDatagram,
        totals: &Totals,
    ) -> Result<(), DropReason> {
        let limits: QueueLimits = self.limits;
        match self.groups.groups.get_mut(client) {
            Some(group) => group.backlog.push(datagram, limits, totals),
            None => Err(DropReason::ClientBound), // never: it has runs
        }
    }
}
