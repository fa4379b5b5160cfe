//! The counters of a server, which add up.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::measured::Measured;
use crate::admission::Refusals;

/// Declares each counter once: a figure of [`Stats`], what it counts, and the worker's own counter of
/// that name.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident: $unit:ident,)+) => {
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
            pub(crate) measured: Measured,
        }

        impl Counters {
            /// Adds these to a sum.
            pub(crate) fn add_to(&self, stats: &mut Stats) {
                $(stats.$name += self.$name.get();)+
                stats.handed_out += self.handed_out_elsewhere.get();
            }
        }

        impl Stats {
            /// All figures, one by one, in the order in which they are declared: for who shows or
            /// exports them. What the system does not tell is left out.
            ///
            /// ```
            /// use postbox_server::Stats;
            ///
            /// for figure in Stats::default().iter() {
            ///     println!("{} {} {}", figure.name, figure.value, figure.unit);
            /// }
            /// ```
            pub fn iter(&self) -> impl Iterator<Item = Stat> + use<> {
                let counted = [$((
                    stringify!($name),
                    stringify!($unit),
                    concat!($($doc),+),
                    self.$name,
                ),)+];
                let counted = counted.map(|(name, unit, doc, value)| Stat {
                    name,
                    kind: StatKind::Counter,
                    unit,
                    help: first_part(doc),
                    value,
                });
                counted.into_iter().chain(self.others())
            }
        }
    };
}

counters! {
    /// Datagrams received. The segments of a coalesced receive count singly.
    received: datagrams,
    /// Datagrams that a receive handed to a handler, as a request or as an error.
    handed_out: datagrams,
    /// Datagrams discarded because their handler ended before it received them.
    discarded: datagrams,
    /// Datagrams dropped because their client's queue was full.
    dropped_client_bound: datagrams,
    /// Datagrams dropped because all queues together were full.
    dropped_total_bound: datagrams,
    /// Datagrams dropped because too many clients had a handler, and none was ended for a new one.
    dropped_clients_bound: datagrams,
    /// Datagrams dropped because too many clients of their source prefix had a handler:
    /// [`Limits::clients_per_prefix`](crate::Limits::clients_per_prefix).
    dropped_prefix_bound: datagrams,
    /// Datagrams dropped because their source address must not be answered, or is the server's own.
    dropped_source: datagrams,
    /// Datagrams refused by the admission check. [`refusals`](crate::ServerHandle::refusals) tells
    /// by which part of it.
    dropped_refused: datagrams,
    /// Repeated questions that were dropped: the first one was still handled, or was answered nothing,
    /// or the outbox had no room
    /// ([`ServerBuilder::at_most_once`](crate::ServerBuilder::at_most_once)).
    dropped_repeated: datagrams,
    /// Datagrams dropped because the server was shutting down.
    dropped_shutdown: datagrams,
    /// Repeated questions that were given the first one's answer again, by no handler:
    /// [`ServerBuilder::at_most_once`](crate::ServerBuilder::at_most_once).
    answered_again: datagrams,
    /// Answers that were kept for repeated questions and forgotten before their time, as there were
    /// too many: [`Limits::answers`](crate::Limits::answers).
    answers_forgotten: answers,
    /// Datagrams received cut short: each is also handed out as an error, discarded or dropped.
    truncated: datagrams,
    /// Datagrams that a receive could not decode, whatever the handler made of that. Each is also
    /// handed out as an error; one that was cut short counts as [`truncated`](Self::truncated) only.
    malformed: datagrams,
    /// Datagrams at which the protocol object panicked while a receive decoded them. Each is also
    /// handed out as an error.
    crashed: datagrams,
    /// Failed receives.
    receive_errors: errors,
    /// Datagrams that left.
    sent: datagrams,
    /// Datagrams that the kernel refused to send, and ICMP errors about others, where they are
    /// asked for.
    send_errors: errors,
    /// Answers given up when a serving ended: the system had not taken them for a second, or the
    /// serving's future was dropped.
    answers_abandoned: answers,
    /// Handlers that returned `Ok`.
    handlers_returned: handlers,
    /// Handlers that returned an error: also those whose receive a shutdown closed.
    handlers_failed: handlers,
    /// Handlers that panicked.
    handlers_panicked: handlers,
    /// Handlers ended in favour of a new client, as too many waited: however they took it, but for
    /// a panic.
    handlers_evicted: handlers,
    /// Handlers cancelled by a shutdown.
    handlers_cancelled: handlers,
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

/// One figure of [`Stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// The name of the field.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: StatKind,
    /// What it counts: `datagrams`, `bytes`, `handlers` and so on.
    pub unit: &'static str,
    /// What it says, in a few words.
    pub help: &'static str,
    /// How many.
    pub value: u64,
}

/// What kind of figure a [`Stat`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatKind {
    /// It only grows, as long as the server lives.
    Counter,
    /// How it is now.
    Gauge,
}

/// The first part of a description: as far as it needs no more explanation.
fn first_part(doc: &'static str) -> &'static str {
    let end = doc.find(['.', ':', '(']).unwrap_or(doc.len());
    doc[..end].trim()
}

impl Stats {
    /// What is no worker's counter.
    fn others(&self) -> impl Iterator<Item = Stat> + use<> {
        use StatKind::{Counter, Gauge};
        let stat = |name, kind, unit, help, value| Stat {
            name,
            kind,
            unit,
            help,
            value,
        };
        let waiting = "Datagrams that wait in queues now";
        let bytes = "Bytes that wait in queues now, overhead included";
        let clients = "Clients whose handler waits now";
        let tasks = "Tasks of clients that run now";
        let cancelled = "Tasks of clients dropped by a shutdown";
        let drops = "Datagrams that the kernel dropped before the server could receive them";
        let known = [
            stat("queued", Gauge, "datagrams", waiting, self.queued),
            stat("queued_bytes", Gauge, "bytes", bytes, self.queued_bytes),
            stat(
                "waiting_clients",
                Gauge,
                "clients",
                clients,
                self.waiting_clients,
            ),
            stat("client_tasks", Gauge, "tasks", tasks, self.client_tasks),
            stat(
                "tasks_cancelled",
                Counter,
                "tasks",
                cancelled,
                self.tasks_cancelled,
            ),
        ];
        let drops = |count| stat("kernel_drops", Counter, "datagrams", drops, count);
        known.into_iter().chain(self.kernel_drops.map(drops))
    }
}

/// In one line: what was received, sent and dropped, and what else is not zero:
/// `received 12, sent 9, dropped 2 (refused 2), handlers failed 1`.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "received {}, sent {}", self.received, self.sent)?;
        write!(f, ", dropped {}", self.dropped())?;
        let mut separator = " (";
        let some = || self.iter().filter(|figure| figure.value > 0);
        for figure in some() {
            if let Some(reason) = figure.name.strip_prefix("dropped_") {
                write!(f, "{separator}{} {}", words(reason), figure.value)?;
                separator = ", ";
            }
        }
        if separator == ", " {
            f.write_str(")")?;
        }
        let told = ["received", "sent", "handed_out", "handlers_returned"];
        for figure in some() {
            if !told.contains(&figure.name) && !figure.name.starts_with("dropped_") {
                write!(f, ", {} {}", words(figure.name), figure.value)?;
            }
        }
        Ok(())
    }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l7_every_figure_can_be_gone_through_and_is_described() {
        let stats = Stats {
            received: 7,
            dropped_clients_bound: 2,
            queued_bytes: 40,
            kernel_drops: Some(3),
            ..Stats::default()
        };
        let fields = format!("{stats:?}").matches(": ").count();
        let figures: Vec<_> = stats.iter().collect();
        assert_eq!(figures.len(), fields);
        let of = |name| figures.iter().find(|figure| figure.name == name).unwrap();
        assert_eq!(
            (of("received").value, of("received").unit),
            (7, "datagrams")
        );
        assert_eq!(of("queued_bytes").kind, StatKind::Gauge);
        assert_eq!(
            (of("queued_bytes").value, of("kernel_drops").value),
            (40, 3)
        );
        assert_eq!(of("received").help, "Datagrams received");
        for figure in &figures {
            let plain = |letter: char| letter.is_ascii_alphabetic() || " ,-'`".contains(letter);
            assert!(
                figure.help.len() > 10 && figure.help.chars().all(plain),
                "{figure:?}"
            );
        }
        assert_eq!(
            Stats::default().iter().count(),
            fields - 1,
            "nobody tells kernel drops"
        );
    }

    #[test]
    fn l7_the_figures_are_printed_in_one_line_with_what_is_not_zero() {
        assert_eq!(
            Stats::default().to_string(),
            "received 0, sent 0, dropped 0"
        );
        let stats = Stats {
            received: 12,
            handed_out: 9,
            sent: 8,
            dropped_refused: 2,
            dropped_repeated: 1,
            handlers_returned: 8,
            handlers_failed: 1,
            ..Stats::default()
        };
        let line = "received 12, sent 8, dropped 3 (refused 2, repeated 1), handlers failed 1";
        assert_eq!(stats.to_string(), line);
    }
}
