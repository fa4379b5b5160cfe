//! Datagrams that are on their way for a while.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::datagram::Datagram;

/// What is on its way to one receiver. Nothing moves it: whoever looks takes what has arrived by
/// then.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// By when they arrive, then in the order of sending; each with whether it stays in order.
    datagrams: BTreeMap<(Instant, u64), (Datagram, bool)>,
    sent: u64,
    /// When the last from one address to another arrives, behind which the others stay.
    last: HashMap<(SocketAddr, SocketAddr), Instant>,
}

impl Flight {
    pub(crate) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// How many datagrams that is, coalesced ones counted singly.
    pub(crate) fn count(&self) -> u64 {
        self.datagrams.values().map(|(one, _)| one.count()).sum()
    }

    /// Adds a datagram that arrives at `due`, or later if it has to stay behind others.
    pub(crate) fn insert(&mut self, datagram: Datagram, mut due: Instant, in_order: bool) {
        if in_order {
            let way = (datagram.source, datagram.destination);
            let last = self.last.entry(way).or_insert(due);
            due = due.max(*last);
            *last = due;
        }
        self.sent += 1;
        self.datagrams
            .insert((due, self.sent), (datagram, in_order));
    }

    /// Takes the next datagram that has arrived by now, with when it did.
    pub(crate) fn take_arrived(&mut self, now: Instant) -> Option<(Datagram, Instant)> {
        let next = self.datagrams.first_entry()?;
        let due = next.key().0;
        let (datagram, _) = (due <= now).then(|| next.remove())?;
        let way = (datagram.source, datagram.destination);
        if self.last.get(&way).is_some_and(|last| *last <= due) {
            self.last.remove(&way);
        }
        Some((datagram, due))
    }

    /// When the next datagram arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.datagrams.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes everything, with when it arrives and whether it stays in order, by when it arrives.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Datagram, Instant, bool)> + use<> {
        let datagrams = std::mem::take(self).datagrams.into_iter();
        datagrams.map(|((due, _), (one, in_order))| (one, due, in_order))
    }
}

/// Wakes a receiver when the next datagram arrives. Made where one is on its way, and never on a
/// network without delay.
#[derive(Debug, Default)]
pub struct ArrivalTimer(Option<Pin<Box<Sleep>>>);

impl ArrivalTimer {
    /// Ready once it is `due`, if it ever is. Not to be called under a lock: the waker is foreign.
    pub(crate) fn poll(&mut self, due: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
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
