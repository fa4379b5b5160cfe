//! The counters of a server, which add up.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::admission::Refusals;

/// Declares each counter once: a figure of [`Stats`], and the worker's own counter of that name.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What happened to the datagrams of a server so far, over all its workers and all its
        /// servings.
        ///
        /// While nothing runs, [`received`](Self::received) is exactly
        /// [`accounted`](Self::accounted): everything that was received was handed to a handler,
        /// discarded by one, answered again, dropped for a stated reason, or is queued. While the server runs the
        /// figures of a few datagrams may be under way.
        ///
        /// ```
        /// use postbox_server::Stats;
        ///
        /// /// What to look at first, where a server seems to lose datagrams.
        /// fn print_lost(stats: &Stats) {
        ///     if let Some(drops) = stats.kernel_drops {
        ///         println!("{drops} dropped by the kernel, before the server saw them");
        ///     }
        ///     println!("{} dropped, of {} received:", stats.dropped(), stats.received);
        ///     println!("{} of clients that were too fast", stats.dropped_client_bound);
        ///     println!("{} of too many clients", stats.dropped_clients_bound);
        ///     println!("{} refused", stats.dropped_refused);
        ///     println!("{} were no valid packets", stats.malformed);
        /// }
        /// # print_lost(&Stats::default());
        /// ```
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// Datagrams that wait in queues now.
            pub queued: u64,
            /// Bytes that wait in queues now, overhead included.
            pub queued_bytes: u64,
            /// Clients whose handler waits now.
            pub waiting_clients: u64,
            /// Tasks of clients that run now.
            pub client_tasks: u64,
            /// Tasks of clients dropped by a shutdown, after its grace.
            pub tasks_cancelled: u64,
            /// Datagrams that the kernel dropped before the server could receive them, mostly because the
            /// receive buffer was full. They are in no other figure. `None` where the system does not tell.
            pub kernel_drops: Option<u64>,
        }

        /// The counters of one worker.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
            /// Handed out by a receive in another task or thread: with many writers.
            pub(crate) handed_out_elsewhere: Counter,
            /// What the kernel has dropped, as far as the log knows.
            pub(crate) kernel_drops_told: AtomicU64,
            /// Of those refused, by the part of the check.
            pub(crate) refusals: Refusals,
        }

        impl Counters {
            /// Adds these to a sum.
            pub(crate) fn add_to(&self, stats: &mut Stats) {
                $(stats.$name += self.$name.get();)+
                stats.handed_out += self.handed_out_elsewhere.get();
            }
        }
    };
}

counters! {
    /// Datagrams received. The segments of a coalesced receive count singly.
    received,
    /// Datagrams that a receive handed to a handler, as a request or as an error.
    handed_out,
    /// Datagrams discarded because their handler ended before it received them.
    discarded,
    /// Datagrams dropped because their client's queue was full.
    dropped_client_bound,
    /// Datagrams dropped because all queues together were full.
    dropped_total_bound,
    /// Datagrams dropped because too many clients had a handler, and none was ended for a new one.
    dropped_clients_bound,
    /// Datagrams dropped because too many clients of their source prefix had a handler:
    /// [`Limits::clients_per_prefix`](crate::Limits::clients_per_prefix).
    dropped_prefix_bound,
    /// Datagrams dropped because their source address must not be answered, or is the server's own.
    dropped_source,
    /// Datagrams refused by the admission check. [`refusals`](crate::ServerHandle::refusals) tells
    /// by which part of it.
    dropped_refused,
    /// Repeated questions that were dropped where
    /// [each is handled once](crate::ServerBuilder::at_most_once): the first one was still handled,
    /// or was answered nothing.
    dropped_repeated,
    /// Datagrams dropped because the server was shutting down.
    dropped_shutdown,
    /// Repeated questions that were given the first one's answer again, by no handler:
    /// [`ServerBuilder::at_most_once`](crate::ServerBuilder::at_most_once).
    answered_again,
    /// Answers that were kept for repeated questions and forgotten before their time, as there were
    /// too many: [`Limits::answers`](crate::Limits::answers).
    answers_forgotten,
    /// Datagrams received cut short: each is also handed out as an error, discarded or dropped.
    truncated,
    /// Datagrams that a receive could not decode, whatever the handler made of that. Each is also
    /// handed out as an error; one that was cut short counts as [`truncated`](Self::truncated) only.
    malformed,
    /// Datagrams at which the protocol object panicked while a receive decoded them. Each is also
    /// handed out as an error.
    crashed,
    /// Failed receives.
    receive_errors,
    /// Datagrams that left.
    sent,
    /// Datagrams that the kernel refused to send, and ICMP errors about others, where they are
    /// asked for.
    send_errors,
    /// Answers given up when a serving ended: the system had not taken them for a second, or the
    /// serving's future was dropped.
    answers_abandoned,
    /// Handlers that returned `Ok`.
    handlers_returned,
    /// Handlers that returned an error: also those whose receive a shutdown closed.
    handlers_failed,
    /// Handlers that panicked.
    handlers_panicked,
    /// Handlers ended in favour of a new client, as too many waited: however they took it, but for
    /// a panic.
    handlers_evicted,
    /// Handlers cancelled by a shutdown.
    handlers_cancelled,
}

impl Stats {
    /// Datagrams dropped, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.dropped_client_bound
            + self.dropped_total_bound
            + self.dropped_clients_bound
            + self.dropped_prefix_bound
            + self.dropped_source
            + self.dropped_refused
            + self.dropped_repeated
            + self.dropped_shutdown
    }

    /// Where received datagrams went: handed out, discarded, answered again, dropped or queued.
    pub fn accounted(&self) -> u64 {
        self.handed_out + self.discarded + self.answered_again + self.dropped() + self.queued
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

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
