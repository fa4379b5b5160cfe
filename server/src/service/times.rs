//! How long handlers ran and datagrams waited, counted by length: for [`Metrics`](super::Metrics).

use std::time::Duration;

use super::stats::Counter;

/// What one worker has measured.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// From the call of a handler to its end. The worker alone counts here.
    pub(crate) handlers: Durations,
    /// Of what was queued, from its arrival to its receive. Receives in other tasks count here too.
    pub(crate) queue: Durations,
}

/// How many of each length. A length is told by its first four binary digits, in nanoseconds: so a
/// bucket is an eighth as wide as it is long, or less, up to the 584 years that 64 bits are.
#[derive(Debug)]
pub(crate) struct Durations(Box<[Counter]>);

impl Default for Durations {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| Counter::default()).collect())
    }
}

/// Buckets of each power of two.
const PARTS: u64 = 8;

/// Those of 0 to 7 nanoseconds, and of 61 powers of two.
pub(super) const BUCKETS: usize = 62 * PARTS as usize;

impl Durations {
    /// By the only writer.
    pub(crate) fn add(&self, length: Duration) {
        self.0[bucket(length)].add(1);
    }

    /// By any thread.
    pub(crate) fn add_shared(&self, length: Duration) {
        self.0[bucket(length)].add_shared(1);
    }

    /// Adds these to sums.
    pub(super) fn add_to(&self, sums: &mut [u64]) {
        for (sum, counter) in sums.iter_mut().zip(&self.0) {
            *sum += counter.get();
        }
    }
}

fn bucket(length: Duration) -> usize {
    let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    match nanos.checked_ilog2() {
        Some(power @ 3..) => {
            let part = (nanos >> (power - 3)) % PARTS;
            (u64::from(power - 2) * PARTS + part) as usize
        }
        _ => nanos as usize,
    }
}

/// The middle of a bucket.
pub(super) fn middle(bucket: usize) -> Duration {
    let (power, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    let nanos = match power.checked_sub(1) {
        Some(shift) => ((PARTS + part) << shift) + ((1 << shift) >> 1),
        None => part,
    };
    Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l7_a_length_is_counted_within_a_sixteenth_whatever_it_is() {
        let mut last = 0;
        for power in 0..64 {
            for part in 0..1000_u64 {
                let nanos = (1 << power) + (((1_u128 << power) * u128::from(part)) / 1000) as u64;
                let bucket = bucket(Duration::from_nanos(nanos));
                assert!(
                    bucket < BUCKETS && (last..=last + 1).contains(&bucket),
                    "{nanos}"
                );
                last = bucket;
                let error = middle(bucket).as_nanos().abs_diff(nanos.into());
                assert!(error * 16 <= u128::from(nanos), "{nanos}: {error}");
            }
        }
        assert_eq!(last, BUCKETS - 1);
        assert_eq!(bucket(Duration::MAX), last);
        assert_eq!((bucket(Duration::ZERO), middle(0)), (0, Duration::ZERO));
    }

    #[test]
    fn l7_lengths_of_several_workers_add_up() {
        let (one, other) = (Durations::default(), Durations::default());
        let second = Duration::from_secs(1);
        one.add(second);
        other.add_shared(second);
        other.add_shared(Duration::ZERO);
        let mut sums = vec![0; BUCKETS];
        one.add_to(&mut sums);
        other.add_to(&mut sums);
        assert_eq!((sums[bucket(second)], sums[0]), (2, 1));
        assert_eq!(sums.iter().sum::<u64>(), 3);
    }
}
