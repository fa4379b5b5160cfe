use std::time::Duration;

/// Shorter times are taken for this one, so that no number makes a client send without a pause.
const SHORTEST: Duration = Duration::from_millis(1);

/// When a question is sent again, and when it is given up.
///
/// The defaults are what the Internet asks for. In a network of your own, where a round trip takes
/// less than a millisecond, shorter ones do:
///
/// ```
/// use std::time::Duration;
///
/// use postbox_client::AskTimes;
///
/// let mut times = AskTimes::default();
/// times.first = Duration::from_millis(100);
/// times.min = Duration::from_millis(20);
/// times.deadline = Duration::from_secs(5);
/// ```
///
/// All numbers work: less than a millisecond counts as one, and a smallest timeout above the
/// largest counts as the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskTimes {
    /// The timeout of the first sending before a round trip was measured. Default 1 second (RFC
    /// 8085 section 3.1.1 and RFC 6298 section 2.1).
    pub first: Duration,

    /// The smallest timeout, however short the round trips. Default 1 second (RFC 6298 section
    /// 2.4).
    pub min: Duration,

    /// The largest timeout, however often a question was sent, jitter included. Default 60 seconds
    /// (RFC 6298 section 2.5 allows no less on the Internet).
    pub max: Duration,

    /// How long a question waits for its answer in all. Default 30 seconds, in which it is sent
    /// four or five times if nothing was measured. [`Duration::MAX`] is for ever.
    pub deadline: Duration,
}

impl AskTimes {
    /// A timeout within the bounds.
    pub(crate) fn bounded(&self, timeout: Duration) -> Duration {
        let max = self.max.max(SHORTEST);
        timeout.clamp(self.min.clamp(SHORTEST, max), max)
    }
}

impl Default for AskTimes {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            min: Duration::from_secs(1),
            max: Duration::from_secs(60),
            deadline: Duration::from_secs(30),
        }
    }
}
