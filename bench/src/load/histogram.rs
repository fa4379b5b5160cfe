//! Times by their number, within 1.6 %.

/// Steps for each power of two.
const STEPS: u64 = 64;

/// A histogram of nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; index(u64::MAX) + 1],
            total: 0,
        }
    }
}

impl Histogram {
    /// Adds one time.
    pub(crate) fn add(&mut self, nanos: u64) {
        self.counts[index(nanos)] += 1;
        self.total += 1;
    }

    /// The time that this share of all stays below, in nanoseconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (i, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return (lowest(i) as f64 + lowest(i + 1) as f64) / 2.0;
            }
        }
        0.0
    }
}

fn index(nanos: u64) -> usize {
    let shift = (nanos | (STEPS - 1)).ilog2() - (STEPS - 1).ilog2();
    let shift = shift.saturating_sub(1);
    // Below 2 * STEPS: exact. Above: STEPS steps for each doubling.
    (u64::from(shift) * STEPS + (nanos >> shift)) as usize
}

/// The lowest time of a place.
fn lowest(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index / STEPS).saturating_sub(1);
    (index - shift * STEPS)
        .checked_shl(shift as u32)
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_its_place() {
        for nanos in (0..100_000).chain([1 << 40, (1 << 40) + 12_345, u64::MAX >> 1]) {
            let place = index(nanos);
            assert!(
                (lowest(place)..lowest(place + 1)).contains(&nanos),
                "{nanos}"
            );
            let width = lowest(place + 1) - lowest(place);
            assert!(width == 1 || width * STEPS <= nanos, "{nanos}: {width}");
        }
    }

    #[test]
    fn quantiles_of_a_hundred() {
        let mut histogram = Histogram::default();
        (1..=100).for_each(|nanos| histogram.add(nanos));
        assert_eq!(histogram.quantile(0.5), 50.5);
        assert_eq!(histogram.quantile(0.99), 99.5);
        assert_eq!(Histogram::default().quantile(0.5), 0.0);
    }
}
