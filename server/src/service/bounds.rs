//! The bounds that hold for all workers of a server together, and what is used of them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The bounds that hold for the whole server, and what is used of them.
#[derive(Debug)]
pub(crate) struct Totals {
    max_clients: usize,
    max_bytes: usize,
    clients: AtomicUsize,
    bytes: AtomicUsize,
    datagrams: AtomicUsize,
    tasks: AtomicUsize,
}

impl Totals {
    pub(crate) fn new(max_clients: usize, max_bytes: usize) -> Self {
        Self {
            max_clients,
            max_bytes,
            clients: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            datagrams: AtomicUsize::new(0),
            tasks: AtomicUsize::new(0),
        }
    }

    /// Whether one more client may have a handler. Workers ask without a lock, so that with several
    /// of them the bound can be passed by one client for each further worker, never by more.
    pub(crate) fn admits_client(&self) -> bool {
        self.clients.load(Ordering::Relaxed) < self.max_clients
    }

    pub(crate) fn add_client(&self) {
        self.clients.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_client(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes `cost` bytes of the total, or nothing.
    pub(crate) fn reserve(&self, cost: usize) -> bool {
        let before = self.bytes.fetch_add(cost, Ordering::Relaxed);
        if before.saturating_add(cost) > self.max_bytes {
            self.bytes.fetch_sub(cost, Ordering::Relaxed);
            return false;
        }
        self.datagrams.fetch_add(1, Ordering::Relaxed);
        true
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
