//! What a server counts and measures, for the `metrics` facade.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{gauge, histogram};

use super::times::{BUCKETS, middle};
use super::{ServerHandle, Shared, Stat, StatKind};

/// Gives what a server counts and measures to the program's `metrics` recorder: made by
/// [`ServerHandle::metrics`].
///
/// All have the label `server`, the name that the program gives. Further labels are of fixed sets,
/// never a client or what one sent.
///
/// | metric | what |
/// |---|---|
/// | `postbox_datagrams_received_total`, `_handed_out_`, `_discarded_`, `_answered_again_`, `_truncated_`, `_malformed_`, `_crashed_`, `_sent_` | counters of [`Stats`](crate::Stats) |
/// | `postbox_datagrams_dropped_total{reason}` | those named `dropped_...`, by reason |
/// | `postbox_datagrams_refused_total{part}` | [`refusals`](ServerHandle::refusals) |
/// | `postbox_handlers_total{outcome}` | those named `handlers_...`: runs that ended, by outcome |
/// | `postbox_receive_errors_total`, `postbox_send_errors_total`, `postbox_answers_forgotten_total`, `postbox_answers_abandoned_total`, `postbox_tasks_cancelled_total`, `postbox_kernel_drops_total` | the other counters |
/// | `postbox_queued_datagrams`, `postbox_queued_bytes`, `postbox_waiting_clients`, `postbox_client_tasks` | gauges: how it is now |
/// | `postbox_receive_buffer_bytes` | gauge: what the kernel granted the socket that has least |
/// | `postbox_handler_duration_seconds` | histogram: from the call of a handler to its end, where [asked for](crate::ServerBuilder::measure_times) |
/// | `postbox_queue_duration_seconds` | histogram: what datagrams waited in their client's queue, 0 where they did not, where asked for |
///
/// A time is told within a sixteenth.
pub struct Metrics {
    shared: Arc<Shared>,
    server: &'static str,
    /// What the histograms were given so far.
    told: Mutex<[Vec<u64>; 2]>,
}

/// So many times a histogram is given at once, at the most: recorders keep each for a while.
const SAMPLE: u64 = 65_536;

impl ServerHandle {
    /// What gives this server's counters to the program's `metrics` recorder, with the label `server`
    /// of this value.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use postbox_server::ServerHandle;
    ///
    /// /// For a recorder that is asked, such as Prometheus's: each second, or before each answer.
    /// async fn export(handle: ServerHandle) {
    ///     let metrics = handle.metrics("dns");
    ///     let mut seconds = tokio::time::interval(Duration::from_secs(1));
    ///     loop {
    ///         seconds.tick().await;
    ///         metrics.record();
    ///     }
    /// }
    /// # let _ = export;
    /// ```
    pub fn metrics(&self, server: &'static str) -> Metrics {
        Metrics {
            shared: Arc::clone(&self.shared),
            server,
            told: Mutex::new([const { Vec::new() }; 2]),
        }
    }
}

impl Metrics {
    /// Tells the recorder how it is now: counters as they are, and of each histogram what came since
    /// the last call. Of more than 65,536 times since then a histogram is given a sample, with each
    /// length in proportion.
    ///
    /// The workers count for themselves, and never call the recorder; this does, as often as is
    /// wanted. It costs some microseconds, and where times are measured one call of the recorder for
    /// each of them.
    ///
    /// # Panics
    ///
    /// Where the recorder does.
    pub fn record(&self) {
        for stat in self.shared.stats().iter() {
            self.tell(&stat);
        }
        for (part, refused) in self.shared.refusals() {
            let name = "postbox_datagrams_refused_total";
            describe_counter!(name, Unit::Count, "Datagrams refused, by part of the check");
            counter!(name, "server" => self.server, "part" => part).absolute(refused);
        }
        let sockets = self.shared.socket_options();
        let granted = sockets.iter().flat_map(|socket| socket.recv_buffer_size());
        if let Some(bytes) = granted.min() {
            let name = "postbox_receive_buffer_bytes";
            let help = "Bytes that may wait in the kernel, of the socket that was granted least";
            describe_gauge!(name, Unit::Bytes, help);
            gauge!(name, "server" => self.server).set(bytes as f64);
        }
        if let Some(times) = self.shared.times() {
            self.tell_times(times);
        }
    }

    fn tell(&self, stat: &Stat) {
        let unit = match stat.unit {
            "bytes" => Unit::Bytes,
            _ => Unit::Count,
        };
        let server = self.server;
        if stat.kind == StatKind::Gauge {
            let name = match stat.name {
                "queued" => "postbox_queued_datagrams".to_owned(),
                name => format!("postbox_{name}"),
            };
            describe_gauge!(name.clone(), unit, stat.help);
            gauge!(name, "server" => server).set(stat.value as f64);
        } else if let Some(reason) = stat.name.strip_prefix("dropped_") {
            let name = "postbox_datagrams_dropped_total";
            describe_counter!(name, unit, "Datagrams dropped, by reason");
            counter!(name, "server" => server, "reason" => reason).absolute(stat.value);
        } else if let Some(outcome) = stat.name.strip_prefix("handlers_") {
            let name = "postbox_handlers_total";
            describe_counter!(name, unit, "Runs of a handler that ended, by outcome");
            counter!(name, "server" => server, "outcome" => outcome).absolute(stat.value);
        } else {
            let of = match (stat.unit, stat.name) {
                ("datagrams", name) if name != "kernel_drops" => "datagrams_",
                _ => "",
            };
            let name = format!("postbox_{of}{}_total", stat.name);
            describe_counter!(name.clone(), unit, stat.help);
            counter!(name, "server" => server).absolute(stat.value);
        }
    }

    fn tell_times(&self, now: [Vec<u64>; 2]) {
        let before = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *told, now.clone())
        };
        let names = [
            (
                "postbox_handler_duration_seconds",
                "How long handlers ran, from their call to their end",
            ),
            (
                "postbox_queue_duration_seconds",
                "How long datagrams waited in their client's queue",
            ),
        ];
        for (((name, help), now), before) in names.into_iter().zip(now).zip(before) {
            describe_histogram!(name, Unit::Seconds, help);
            let histogram = histogram!(name, "server" => self.server);
            for (bucket, count) in since(&now, &before) {
                histogram.record_many(middle(bucket).as_secs_f64(), count);
            }
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// From now on its workers measure times.
    pub(crate) fn measure_times(&self) {
        for counters in self.counters() {
            counters.measured.times.get_or_init(Default::default);
        }
    }

    /// How long handlers ran, and datagrams waited: how many of each length, if that is measured.
    fn times(&self) -> Option<[Vec<u64>; 2]> {
        let mut sums = [vec![0; BUCKETS], vec![0; BUCKETS]];
        for counters in self.counters() {
            let times = counters.measured.times.get()?;
            let [handlers, queue] = &mut sums;
            times.handlers.add_to(handlers);
            times.queue.add_to(queue);
            queue[0] += counters.handed_out.get(); // by the worker itself: they were never queued
        }
        Some(sums)
    }
}

/// What came of each length since then, or a sample of it.
fn since(now: &[u64], before: &[u64]) -> Vec<(usize, usize)> {
    let before = before.iter().copied().chain(std::iter::repeat(0));
    let counts = now.iter().zip(before).map(|(now, before)| now - before);
    let new: Vec<_> = counts.enumerate().filter(|&(_, count)| count > 0).collect();
    let all: u64 = new.iter().map(|(_, count)| count).sum();
    let part = |count: u64| match all {
        0..=SAMPLE => count,
        _ => (u128::from(count) * u128::from(SAMPLE)).div_ceil(all.into()) as u64,
    };
    let given = |(bucket, count)| (bucket, part(count) as usize);
    new.into_iter().map(given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l7_of_very_many_times_a_histogram_is_given_a_sample_in_proportion() {
        assert_eq!(since(&[3, 0, 5], &[]), [(0, 3), (2, 5)]);
        assert_eq!(since(&[3, 0, 7], &[3, 0, 5]), [(2, 2)]);
        assert_eq!(since(&[3, 0, 7], &[3, 0, 7]), []);
        let million = 1_000_000;
        let given = since(&[3 * million, 0, million, 1], &[million, 0, 0, 0]);
        assert_eq!(given, [(0, 43_691), (2, 21_846), (3, 1)]);
        let most = since(&[u64::MAX / 2, u64::MAX / 2], &[]);
        assert_eq!(most, [(0, 32_768), (1, 32_768)]);
    }
}
