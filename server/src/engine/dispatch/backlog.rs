//! Datagrams that wait for a handler to receive them, in order and bounded.

use std::collections::VecDeque;

use super::{DropReason, QueuedDatagram};
use crate::service::{NoRoom, Totals};

/// The bounds of one client's queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) datagrams: usize,
    pub(crate) bytes: usize,
}

/// What one client holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) datagrams: usize,
    pub(super) bytes: usize,
}

/// What waits of one client.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    datagrams: VecDeque<QueuedDatagram>,
    bytes: usize,
}

impl Backlog {
    /// What has been counted in the totals already.
    pub(super) fn of(datagrams: VecDeque<QueuedDatagram>) -> Self {
        let bytes = datagrams.iter().map(QueuedDatagram::cost).sum();
        Self { datagrams, bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.datagrams.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    pub(super) fn held(&self) -> Held {
        let (datagrams, bytes) = (self.datagrams.len(), self.bytes);
        Held { datagrams, bytes }
    }

    /// Appends a datagram, unless one of the bounds is in the way. `beside`: what its client holds
    /// elsewhere.
    pub(super) fn push(
        &mut self,
        datagram: QueuedDatagram,
        limits: QueueLimits,
        beside: Held,
        totals: &Totals,
    ) -> Result<(), DropReason> {
        let cost = datagram.cost();
        let held = self.bytes.saturating_add(beside.bytes);
        let full = self.datagrams.len() + beside.datagrams >= limits.datagrams
            || held.saturating_add(cost) > limits.bytes;
        if full {
            return Err(DropReason::ClientBound);
        }
        totals
            .reserve(cost, held)
            .map_err(|no_room| match no_room {
                NoRoom::Share => DropReason::ClientBound,
                NoRoom::Total => DropReason::TotalBound,
            })?;
        self.bytes += cost;
        self.datagrams.push_back(datagram);
        Ok(())
    }

    /// Takes the first datagram.
    pub(super) fn pop(&mut self, totals: &Totals) -> Option<QueuedDatagram> {
        let datagram = self.take_first()?;
        totals.release(datagram.cost());
        Some(datagram)
    }

    /// The same for one that goes on waiting elsewhere.
    pub(super) fn take_first(&mut self) -> Option<QueuedDatagram> {
        let datagram = self.datagrams.pop_front()?;
        self.bytes -= datagram.cost();
        Some(datagram)
    }

    /// Takes all of them. They go on waiting elsewhere.
    pub(super) fn take_all(&mut self) -> VecDeque<QueuedDatagram> {
        self.bytes = 0;
        std::mem::take(&mut self.datagrams)
    }

    /// Drops all of them, and returns how many there were.
    pub(super) fn clear(&mut self, totals: &Totals) -> usize {
        let dropped = self.take_all();
        let costs = dropped.iter().map(QueuedDatagram::cost);
        costs.for_each(|cost| totals.release(cost));
        dropped.len()
    }
}
