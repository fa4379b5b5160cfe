//! The bounds that hold for all workers of a server together, and what is used of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;

use super::prefixes::{Prefixes, Source};

/// A client may hold one part in so many of what is still free: a burst is kept whole while there is
/// room, and however many clients are greedy, each leaves four fifths of what it found.
const SHARE: usize = 4;

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
        let no_room = if cost > free {
            NoRoom::Total
        } else if held > 0 && held + cost > free / SHARE {
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
