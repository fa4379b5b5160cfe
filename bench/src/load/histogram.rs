//! How often each time was measured.

use std::time::Duration;

/// Times from request to answer, each within 1 %.
#[derive(Debug, Clone)]
pub(crate) struct Histogram(hdrhistogram::Histogram<u64>);

impl Default for Histogram {
    fn default() -> Self {
        // Its room is fixed, so that no memory is asked for while it is measured.
        let hour = Duration::from_secs(3600).as_nanos() as u64;
        let times = hdrhistogram::Histogram::new_with_bounds(1, hour, 2);
        Self(times.expect("these bounds are in order, and two digits are few"))
    }
}

impl Histogram {
    /// Adds one time. Longer ones than an hour count as an hour.
    pub(crate) fn add(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// The time that this share of all does not exceed, in nanoseconds: the middle of those that
    /// are not told apart.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        self.0.median_equivalent(self.0.value_at_quantile(share)) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_found_within_a_hundredth() {
        for nanos in (0..100_000).step_by(7).chain([1 << 40, (1 << 40) + 12_345]) {
            let mut histogram = Histogram::default();
            histogram.add(nanos);
            let off = (histogram.quantile(0.5) - nanos as f64).abs();
            assert!(off <= nanos as f64 / 100.0, "{nanos}: {off}");
        }
    }

    #[test]
    fn quantiles_of_a_hundred() {
        let mut histogram = Histogram::default();
        (1..=100).for_each(|nanos| histogram.add(nanos));
        assert_eq!(histogram.quantile(0.5), 50.0);
        assert_eq!(histogram.quantile(0.99), 99.0);
        assert_eq!(Histogram::default().quantile(0.5), 0.0);
    }

    #[test]
    fn what_takes_longer_than_an_hour_counts_too() {
        let mut histogram = Histogram::default();
        histogram.add(u64::MAX);
        assert!(histogram.quantile(0.5) > 3.5e12);
    }
}
