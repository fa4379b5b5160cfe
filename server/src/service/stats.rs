//! The counters of a server, which add up.

use std::sync::atomic::{AtomicU64, Ordering};

/// What happened to the datagrams of a server so far, over all its workers and all its servings.
///
/// While nothing runs, [`received`](Self::received) is exactly [`accounted`](Self::accounted):
/// everything that was received was handed to a handler, discarded by one, dropped for a stated
/// reason, or is queued. While the server runs the figures of a few datagrams may be under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams received. The segments of a coalesced receive count singly.
    pub received: u64,
    /// Datagrams that a receive handed to a handler, as a request or as an error.
    pub handed_out: u64,
    /// Datagrams discarded because their handler ended before it received them.
    pub discarded: u64,
    /// Datagrams dropped because their client's queue was full.
    pub dropped_client_bound: u64,
    /// Datagrams dropped because all queues together were full.
    pub dropped_total_bound: u64,
    /// Datagrams dropped because too many clients had a handler.
    pub dropped_clients_bound: u64,
    /// Datagrams dropped because their source address must not be answered.
    pub dropped_source: u64,
    /// Datagrams refused by the admission check.
    pub dropped_refused: u64,
    /// Datagrams dropped because the server was shutting down.
    pub dropped_shutdown: u64,
    /// Datagrams that wait in queues now.
    pub queued: u64,
    /// Bytes that wait in queues now, overhead included.
    pub queued_bytes: u64,
    /// Clients whose handler waits now.
    pub waiting_clients: u64,
    /// Datagrams received cut short: each is also handed out as an error, discarded or dropped.
    pub truncated: u64,
    /// Failed receives.
    pub receive_errors: u64,
    /// Datagrams that left.
    pub sent: u64,
    /// Datagrams that the kernel refused to send, and ICMP errors about others, where they are
    /// asked for.
    pub send_errors: u64,
    /// Handlers that returned `Ok`.
    pub handlers_returned: u64,
    /// Handlers that returned an error: also those whose receive a shutdown closed.
    pub handlers_failed: u64,
    /// Handlers that panicked.
    pub handlers_panicked: u64,
    /// Handlers cancelled by a shutdown.
    pub handlers_cancelled: u64,
    /// Datagrams that the kernel dropped before the server could receive them, mostly because the
    /// receive buffer was full. They are in no other figure. `None` where the system does not tell.
    pub kernel_drops: Option<u64>,
}

impl Stats {
    /// Datagrams dropped, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.dropped_client_bound
            + self.dropped_total_bound
            + self.dropped_clients_bound
            + self.dropped_source
            + self.dropped_refused
            + self.dropped_shutdown
    }

    /// Where received datagrams went: handed out, discarded, dropped or queued.
    pub fn accounted(&self) -> u64 {
        self.handed_out + self.discarded + self.dropped() + self.queued
    }
}

/// A counter that one thread at a time adds to, and any may read: no read-modify-write instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds, as the only writer (a worker's own counters).
    pub(crate) fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Adds, from any thread.
    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: Counter,
    pub(crate) handed_out: Counter,
    /// Handed out by a receive in another task or thread: the one counter with many writers.
    pub(crate) handed_out_elsewhere: Counter,
    pub(crate) discarded: Counter,
    pub(crate) client_bound: Counter,
    pub(crate) total_bound: Counter,
    pub(crate) clients_bound: Counter,
    pub(crate) source: Counter,
    pub(crate) refused: Counter,
    pub(crate) shutdown: Counter,
    pub(crate) truncated: Counter,
    pub(crate) receive_errors: Counter,
    pub(crate) sent: Counter,
    pub(crate) send_errors: Counter,
    pub(crate) returned: Counter,
    pub(crate) failed: Counter,
    pub(crate) panicked: Counter,
    pub(crate) cancelled: Counter,
}

impl Counters {
    /// Adds these to a sum.
    pub(crate) fn add_to(&self, stats: &mut Stats) {
        stats.received += self.received.get();
        stats.handed_out += self.handed_out.get() + self.handed_out_elsewhere.get();
        stats.discarded += self.discarded.get();
        stats.dropped_client_bound += self.client_bound.get();
        stats.dropped_total_bound += self.total_bound.get();
        stats.dropped_clients_bound += self.clients_bound.get();
        stats.dropped_source += self.source.get();
        stats.dropped_refused += self.refused.get();
        stats.dropped_shutdown += self.shutdown.get();
        stats.truncated += self.truncated.get();
        stats.receive_errors += self.receive_errors.get();
        stats.sent += self.sent.get();
        stats.send_errors += self.send_errors.get();
        stats.handlers_returned += self.returned.get();
        stats.handlers_failed += self.failed.get();
        stats.handlers_panicked += self.panicked.get();
        stats.handlers_cancelled += self.cancelled.get();
    }
}
