//! How long to wait for an answer before the question is sent again: RFC 6298, without a clock.

use std::time::Duration;

use super::AskTimes;

/// The granularity of the runtime's timers, G in RFC 6298 section 2.
const GRANULARITY: Duration = Duration::from_millis(1);

/// The retransmission timeout towards one server, from the round trips that were measured.
#[derive(Debug, Default)]
pub(crate) struct Rto {
    round_trip: Option<RoundTrip>,
    /// The timeout with which a question was answered that was sent more than once. It holds until
    /// there is a sample again, as at the end of RFC 6298 section 5: where every round trip is
    /// longer than the timeout there never would be one (the second half of Karn's algorithm).
    backed_off: Option<Duration>,
}

/// SRTT and RTTVAR.
#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    smoothed: Duration,
    variation: Duration,
}

impl Rto {
    /// A question that was sent once has been answered after `round_trip`. Of one that was sent
    /// more often nobody knows which sending was answered (RFC 6298 section 3).
    pub(crate) fn sample(&mut self, round_trip: Duration) {
        self.backed_off = None;
        self.round_trip = Some(match self.round_trip {
            // RFC 6298 (2.2)
            None => RoundTrip {
                smoothed: round_trip,
                variation: round_trip / 2,
            },
            // RFC 6298 (2.3), with alpha 1/8 and beta 1/4. Divided first: a sum cannot overflow.
            Some(old) => RoundTrip {
                variation: old.variation / 4 * 3 + old.smoothed.abs_diff(round_trip) / 4,
                smoothed: old.smoothed / 8 * 7 + round_trip / 8,
            },
        });
    }

    /// A question has been answered that was sent more than once, the last time with `timeout`.
    pub(crate) fn answered_with(&mut self, timeout: Duration) {
        self.backed_off = self.backed_off.max(Some(timeout));
    }

    /// The timeout of a question's first sending, without jitter.
    pub(crate) fn timeout(&self, times: &AskTimes) -> Duration {
        let measured = self.round_trip.map(
            |RoundTrip {
                 smoothed,
                 variation,
             }| {
                smoothed.saturating_add(variation.saturating_mul(4).max(GRANULARITY))
            },
        );
        let timeout = measured.max(self.backed_off);
        times.bounded(timeout.unwrap_or(times.first))
    }
}

/// The timeouts of one question: the first, and twice as long after each repetition.
#[derive(Debug)]
pub(crate) struct Repetition {
    timeout: Duration,
    max: Duration,
}

impl Repetition {
    /// `jitter` is random, and makes the first timeout up to half again as long, and so all that
    /// follow (RFC 7252 section 4.2 does the same): questions that were lost together are not
    /// repeated together.
    pub(crate) fn new(timeout: Duration, jitter: u32, times: &AskTimes) -> Self {
        let more = (timeout / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        Self {
            timeout: times.bounded(timeout.saturating_add(more)),
            max: times.bounded(Duration::MAX),
        }
    }

    /// How long to wait after the next sending.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The question is sent again: RFC 6298 (5.5).
    pub(crate) fn back_off(&mut self) {
        self.timeout = self.timeout.saturating_mul(2).min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Bounds that show the estimate as it is.
    fn wide() -> AskTimes {
        AskTimes {
            min: millis(1),
            max: Duration::from_secs(3600),
            ..AskTimes::default()
        }
    }

    #[test]
    fn c4_the_timeout_is_one_second_before_a_round_trip_was_measured() {
        assert_eq!(Rto::default().timeout(&AskTimes::default()), millis(1000));
        let first = millis(300);
        let times = AskTimes { first, ..wide() };
        assert_eq!(Rto::default().timeout(&times), first, "the user's to set");
    }

    #[test]
    fn c4_the_timeout_follows_round_trips_as_rfc_6298_says() {
        let mut rto = Rto::default();
        rto.sample(millis(800));
        // SRTT = R, RTTVAR = R / 2, RTO = SRTT + 4 * RTTVAR
        assert_eq!(rto.timeout(&wide()), millis(2400));
        rto.sample(millis(1600));
        // RTTVAR = 3/4 * 400 + 1/4 * 800 = 500, SRTT = 7/8 * 800 + 1/8 * 1600 = 900
        assert_eq!(rto.timeout(&wide()), millis(2900));
        rto.sample(millis(900));
        // RTTVAR = 3/4 * 500 + 0 = 375, SRTT = 900
        assert_eq!(rto.timeout(&wide()), millis(2400));
        for _ in 0..200 {
            rto.sample(millis(80));
        }
        let steady = rto.timeout(&wide());
        assert!(steady >= millis(81) && steady < millis(83), "{steady:?}");
    }

    #[test]
    fn c4_the_timeout_stays_within_its_bounds() {
        let mut rto = Rto::default();
        rto.sample(millis(1));
        let times = AskTimes::default();
        assert_eq!(rto.timeout(&times), millis(1000), "RFC 6298 (2.4)");
        rto.sample(Duration::from_secs(500));
        assert_eq!(rto.timeout(&times), millis(60_000), "RFC 6298 (2.5)");
        let odd = AskTimes {
            min: Duration::MAX,
            max: Duration::ZERO,
            ..times
        };
        assert_eq!(rto.timeout(&odd), millis(1), "numbers that contradict");
        rto.sample(Duration::MAX);
        rto.sample(Duration::MAX);
        rto.sample(Duration::ZERO);
        assert_eq!(rto.timeout(&times), millis(60_000), "no overflow");
    }

    #[test]
    fn c4_a_longer_timeout_that_found_an_answer_holds_until_there_is_a_sample() {
        let mut rto = Rto::default();
        rto.answered_with(millis(4000));
        rto.answered_with(millis(2000));
        assert_eq!(rto.timeout(&AskTimes::default()), millis(4000));
        rto.sample(millis(100));
        assert_eq!(rto.timeout(&AskTimes::default()), millis(1000));
    }

    #[test]
    fn c4_timeouts_double_at_each_repetition_up_to_the_largest() {
        let times = AskTimes::default();
        let mut repetition = Repetition::new(millis(1000), 0, &times);
        let timeouts: Vec<_> = (0..8)
            .map(|_| {
                let timeout = repetition.timeout();
                repetition.back_off();
                timeout.as_secs()
            })
            .collect();
        assert_eq!(timeouts, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn c4_jitter_makes_a_timeout_longer_by_up_to_half_and_never_shorter() {
        let times = AskTimes::default();
        let jittered = |jitter| Repetition::new(millis(1000), jitter, &times).timeout();
        assert_eq!(jittered(0), millis(1000));
        assert_eq!(jittered(u32::MAX), millis(1500));
        let half = jittered(u32::MAX / 2);
        assert!(half > millis(1249) && half < millis(1251), "{half:?}");
        let longest = Repetition::new(millis(60_000), u32::MAX, &times).timeout();
        assert_eq!(longest, millis(60_000), "within the bounds");
    }
}
