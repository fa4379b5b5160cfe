//! When a datagram arrived, in few bytes: each waiting client keeps one, and each queued datagram.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A moment since its worker began, in microseconds and one more, so that none is 0. It has 48 bits,
/// which are nine years: what comes later is not told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

/// A [`Stamp`] that needs no alignment of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PackedStamp([u16; 3]);

impl Stamp {
    const LAST: u64 = (1 << 48) - 1;

    #[inline]
    pub(crate) fn new(since_start: Duration) -> Self {
        let secs = since_start.as_secs().wrapping_mul(1_000_000); // half a million years
        let micros = secs.wrapping_add(since_start.subsec_micros().into());
        Self(micros.min(Self::LAST - 1) + 1)
    }

    pub(crate) fn since_start(self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(1))
    }

    pub(crate) fn pack(self) -> PackedStamp {
        PackedStamp([self.0 as u16, (self.0 >> 16) as u16, (self.0 >> 32) as u16])
    }
}

impl PackedStamp {
    pub(crate) fn unpack(self) -> Stamp {
        let [low, middle, high] = self.0.map(u64::from);
        Stamp(low | middle << 16 | high << 32)
    }
}

/// When the batch was received that a worker handles now.
#[derive(Debug, Default)]
pub(crate) struct BatchStamp(AtomicU64);

impl BatchStamp {
    pub(crate) fn set(&self, at: Stamp) {
        self.0.store(at.0, Ordering::Relaxed);
    }

    /// On the worker's thread.
    #[inline]
    pub(crate) fn get(&self) -> Stamp {
        Stamp(self.0.load(Ordering::Relaxed))
    }
}

/// When the datagram arrived that a run has received last, and how long it is: 0 if there is none.
#[derive(Debug, Default)]
pub(crate) struct LastReceived(AtomicU64);

impl LastReceived {
    /// By the receive itself, which is one at a time.
    #[inline]
    pub(crate) fn set(&self, at: Stamp, len: usize) {
        // No datagram is longer.
        let packed = at.0 << 16 | u64::from(len as u16);
        self.0.store(packed, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<(Stamp, usize)> {
        let packed = self.0.load(Ordering::Relaxed);
        (packed != 0).then_some((Stamp(packed >> 16), usize::from(packed as u16)))
    }

    #[inline]
    pub(crate) fn reset(&mut self) {
        *self.0.get_mut() = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h19_a_stamp_keeps_its_moment_to_the_microsecond_for_nine_years() {
        let years = |years: u64| Duration::from_secs(years * 365 * 24 * 3600);
        for since_start in [
            Duration::ZERO,
            Duration::from_nanos(1999),
            Duration::from_millis(65_536),
            years(8) + Duration::from_nanos(123_456_789),
        ] {
            let whole = Duration::from_micros(since_start.as_micros().try_into().unwrap());
            let stamp = Stamp::new(since_start);
            assert_eq!(stamp.since_start(), whole);
            assert_eq!(stamp.pack().unpack(), stamp);
            for len in [0, 1, 65_535] {
                let mut last = LastReceived::default();
                assert_eq!(last.get(), None);
                last.set(stamp, len);
                assert_eq!(
                    last.get(),
                    Some((stamp, len)),
                    "also the first, of no bytes"
                );
                last.reset();
                assert_eq!(last.get(), None);
            }
        }
        for late in [years(9), years(1000), years(500_000)] {
            assert!(Stamp::new(late).since_start() > years(8));
        }
    }
}
