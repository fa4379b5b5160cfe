//! The bounds that hold for all workers of a server together, and what is used of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;

use super::prefixes::{Prefixes, Source};

/// A client may hold one part in so many of what is still free: a burst is kept whole while there is
/// room, and however many clients are greedy, each leaves four fifths of what it found.
const SHARE: usize = 4;

/// But one part in so many of all is not for them: it is for clients that hold little, or one
/// datagram. Else a few dozen greedy clients would leave nothing.
const KEPT_FREE: usize = 8;

/// Little is one part in so many of all, 4 KiB with the default bound: some thirty lines of a log.
/// What is kept free is that of 2,048 clients.
const LITTLE: usize = 16_384;

/// What is in the way of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// All queues together are full.
    Total,
    /// Its client holds its share of what is free.
    Share,
}

/// The bounds that hold for the whole server, and what is used of them.
#[derive(Debug)]
pub(crate) struct Totals {
    max_clients: usize,
    /// What of them each socket may have whatever the others have.
    clients_of_socket: usize,
    max_bytes: usize,
    clients: AtomicUsize,
    bytes: AtomicUsize,
    datagrams: AtomicUsize,
    tasks: AtomicUsize,
    /// `None` where the clients of one source prefix are not bounded.
    prefixes: Option<Prefixes>,
}

impl Totals {
    pub(crate) fn new(max_clients: usize, max_bytes: usize) -> Self {
        Self {
            max_clients,
            clients_of_socket: max_clients,
            max_bytes,
            clients: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            datagrams: AtomicUsize::new(0),
            tasks: AtomicUsize::new(0),
            prefixes: None,
        }
    }

    /// The same, with a bound for the clients of each source prefix, if there is one.
    pub(crate) fn clients_per_prefix(self, max: Option<usize>) -> Self {
        self.clients_per_prefix_by(max, RandomState::new())
    }

    /// The same, where a test has to know which prefixes share a bound.
    pub(crate) fn clients_per_prefix_by(mut self, max: Option<usize>, hasher: RandomState) -> Self {
        self.prefixes = max.map(|max| Prefixes::new(max, hasher));
        self
    }

    /// The same, for so many sockets: a flood on one does not close the others, since each may have
    /// its part of all clients.
    pub(crate) fn sockets(mut self, count: usize) -> Self {
        self.clients_of_socket = (self.max_clients / count.max(1)).max(1);
        self
    }

    /// Whether one more client may have a handler, of a socket that has so many. Workers ask without
    /// a lock, so that with several of them the bound can be passed by one client for each further
    /// worker; and by what one has of its part while another has more than its own.
    pub(crate) fn admits_client(&self, of_socket: usize) -> bool {
        self.clients.load(Ordering::Relaxed) < self.max_clients
            || of_socket < self.clients_of_socket
    }

    /// Whether one more client of its source prefix may have a handler. With several workers this
    /// bound can be passed like that of all clients.
    #[inline]
    pub(crate) fn admits_prefix(&self, client: &impl Source) -> bool {
        match &self.prefixes {
            None => true,
            Some(prefixes) => prefixes.admits(client.address()),
        }
    }

    pub(crate) fn add_client(&self, client: &impl Source) {
        self.clients.fetch_add(1, Ordering::Relaxed);
        if let Some(prefixes) = &self.prefixes {
            prefixes.add(client.address());
        }
    }

    pub(crate) fn remove_client(&self, client: &impl Source) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
        if let Some(prefixes) = &self.prefixes {
            prefixes.remove(client.address());
        }
    }

    /// Takes `cost` bytes of the total for a client that has `held` bytes of it, or nothing.
    ///
    /// A client with nothing queued may have all that is left: how much it gets of the rest is a
    /// matter of what it sends more.
    pub(crate) fn reserve(&self, cost: usize, held: usize) -> Result<(), NoRoom> {
        let before = self.bytes.fetch_add(cost, Ordering::Relaxed);
        let free = self.max_bytes.saturating_sub(before);
        let spare = free.saturating_sub(self.max_bytes / KEPT_FREE);
        let share = (spare / SHARE).max(self.max_bytes / LITTLE);
        let no_room = if cost > free {
            NoRoom::Total
        } else if held > 0 && held + cost > share {
            NoRoom::Share
        } else {
            self.datagrams.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        self.bytes.fetch_sub(cost, Ordering::Relaxed);
        Err(no_room)
    }

    pub(crate) fn release(&self, cost: usize) {
        self.bytes.fetch_sub(cost, Ordering::Relaxed);
        self.datagrams.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn add_task(&self) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_task(&self) {
        self.tasks.fetch_sub(1, Ordering::Relaxed);
    }

    /// Tasks of clients that run.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.load(Ordering::Relaxed)
    }

    /// Clients whose handler is waiting for something.
    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Bytes queued in all queues, overhead included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Datagrams queued in all queues.
    pub(crate) fn datagrams(&self) -> usize {
        self.datagrams.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: usize = 64 << 20;

    /// A client queues datagrams until one is refused.
    fn takes_all_it_may(totals: &Totals, cost: usize) -> usize {
        let mut held = 0;
        while totals.reserve(cost, held).is_ok() {
            held += cost;
        }
        held
    }

    #[test]
    fn l1_greedy_clients_leave_room_for_those_that_hold_little() {
        for (greedy, cost) in [(1000, 132), (1000, 1032), (64, 60_032)] {
            let totals = Totals::new(100_000, DEFAULT);
            for _ in 0..greedy {
                takes_all_it_may(&totals, cost);
            }
            for _ in 0..1000 {
                let mut held = 0;
                while held + 132 <= DEFAULT / LITTLE {
                    assert_eq!(totals.reserve(132, held), Ok(()), "{greedy} of {cost}");
                    held += 132;
                }
            }
            assert!(totals.bytes() <= DEFAULT);
        }
    }

    #[test]
    fn l1_a_client_alone_holds_a_quarter_of_what_is_free_but_for_the_eighth() {
        let held = takes_all_it_may(&Totals::new(1, DEFAULT), 132);
        let most = (DEFAULT - DEFAULT / KEPT_FREE) / (SHARE + 1);
        assert!((most - 132..=most).contains(&held), "{held} of {most}");
        assert!(held / 132 > 85_000, "lines of 100 bytes");
    }
}
