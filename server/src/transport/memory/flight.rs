//! Datagrams that are on their way for a while.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::Datagram;

/// What is on its way to one receiver. Nothing moves it: whoever looks takes what has arrived by
/// then.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// By when they arrive, then in the order of sending.
    datagrams: BTreeMap<(Instant, u64), Datagram>,
    sent: u64,
    /// When the last of a sender's arrives, behind which its others stay.
    last: HashMap<SocketAddr, Instant>,
}

impl Flight {
    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// How many datagrams that is, coalesced ones counted singly.
    pub(super) fn count(&self) -> u64 {
        self.datagrams.values().map(Datagram::count).sum()
    }

    /// Adds a datagram that arrives at `due`, or later if it has to stay behind others.
    pub(super) fn insert(&mut self, datagram: Datagram, mut due: Instant, in_order: bool) {
        if in_order {
            let last = self.last.entry(datagram.source).or_insert(due);
            due = due.max(*last);
            *last = due;
        }
        self.sent += 1;
        self.datagrams.insert((due, self.sent), datagram);
    }

    /// Takes the next datagram that has arrived by now.
    pub(super) fn take_arrived(&mut self, now: Instant) -> Option<Datagram> {
        let next = self.datagrams.first_entry()?;
        let due = next.key().0;
        let datagram = (due <= now).then(|| next.remove())?;
        let last = self.last.get(&datagram.source);
        if last.is_some_and(|last| *last <= due) {
            self.last.remove(&datagram.source);
        }
        Some(datagram)
    }

    /// When the next datagram arrives.
    pub(super) fn next(&self) -> Option<Instant> {
        self.datagrams.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes everything, with when it arrives, in that order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Instant, Datagram)> + use<> {
        let datagrams = std::mem::take(self).datagrams;
        datagrams.into_iter().map(|((due, _), one)| (due, one))
    }
}

/// Wakes a receiver when the next datagram arrives. Made where one is on its way, and never on a
/// network without delay.
#[derive(Debug, Default)]
pub(super) struct ArrivalTimer(Option<Pin<Box<Sleep>>>);

impl ArrivalTimer {
    /// Ready once it is `due`, if it ever is. Not to be called under a lock: the waker is foreign.
    pub(super) fn poll(&mut self, due: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = due else {
            return Poll::Pending;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(cx)
    }
}
