//! What a network does to the datagrams that travel on it.

use std::time::Duration;

/// What becomes of datagrams on a [`MemoryNetwork`](crate::MemoryNetwork): how many are lost, how
/// long they take, and what else may happen to them. Without any of these the network is perfect.
///
/// A datagram is lost, or it is duplicated, or neither. Then each copy by itself is cut short,
/// corrupted, delayed and held back, or not. Everything is decided by the network's
/// [seed](crate::MemoryNetwork::seeded).
///
/// What one address sends to another arrives in the order of sending, however long each datagram
/// takes, unless [`reorder`](Self::reorder) is set. What arrives at the same time arrives in the
/// order of sending too.
///
/// ```
/// use std::time::Duration;
///
/// use postbox_server::{BoxError, Conditions, MemoryNetwork};
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// let network = MemoryNetwork::seeded(7);
/// let conditions = Conditions::default()
///     .loss(0.2) // every fifth is lost
///     .delay(Duration::from_millis(10))
///     .jitter(Duration::from_millis(40)); // each takes 10 to 50 ms
/// network.set_conditions(conditions);
///
/// let sender = network.socket("127.0.0.1:0".parse()?)?;
/// let receiver = network.socket("127.0.0.1:0".parse()?)?;
/// let begin = Instant::now();
/// for _ in 0..100 {
///     sender.send_to(b"hello", receiver.local_addr())?;
/// }
/// let lost = network.stats().lost;
/// for _ in 0..100 - lost {
///     receiver.recv_from().await?;
/// }
/// assert!((10..=30).contains(&lost));
/// assert!(begin.elapsed() >= Duration::from_millis(10)); // no time has really passed
/// assert!(begin.elapsed() <= Duration::from_millis(50));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conditions {
    pub(crate) loss: f64,
    pub(crate) duplicate: f64,
    pub(crate) truncate: f64,
    pub(crate) corrupt: f64,
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) reorder: f64,
    pub(crate) held_back: Duration,
}

/// Probabilities are from 0 to 1: 0.2 is one datagram in five.
impl Conditions {
    /// The probability that a datagram is lost.
    ///
    /// # Panics
    ///
    /// If it is not from 0 to 1.
    #[must_use]
    #[track_caller]
    pub fn loss(mut self, probability: f64) -> Self {
        self.loss = checked(probability);
        self
    }

    /// The probability that a datagram arrives twice.
    ///
    /// # Panics
    ///
    /// If it is not from 0 to 1.
    #[must_use]
    #[track_caller]
    pub fn duplicate(mut self, probability: f64) -> Self {
        self.duplicate = checked(probability);
        self
    }

    /// The probability that a datagram is cut short, by a random number of bytes: from one to all
    /// that it has.
    ///
    /// A server tells its handler so, as where a datagram is longer than the server receives:
    /// `RecvError::Truncated`. A client or a [`MemorySocket`](crate::MemorySocket) is not told, and
    /// receives what is left. An empty datagram stays as it is.
    ///
    /// # Panics
    ///
    /// If it is not from 0 to 1.
    #[must_use]
    #[track_caller]
    pub fn truncate(mut self, probability: f64) -> Self {
        self.truncate = checked(probability);
        self
    }

    /// The probability that one byte of a datagram, at a random place, becomes another. An empty
    /// datagram stays as it is.
    ///
    /// # Panics
    ///
    /// If it is not from 0 to 1.
    #[must_use]
    #[track_caller]
    pub fn corrupt(mut self, probability: f64) -> Self {
        self.corrupt = checked(probability);
        self
    }

    /// How long a datagram takes at least.
    ///
    /// Time is tokio's, paused or running, and whoever waits for a delayed datagram does so in a
    /// tokio runtime with its time enabled (`enable_time`). Receivers are woken at whole
    /// milliseconds, as by any timer of tokio.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// How much longer than the [delay](Self::delay) a datagram takes at most: anything between is
    /// as likely. One that would overtake those that were sent before arrives right behind them.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// The probability that a datagram is held back `by` so long, on top of the delay: whatever is
    /// sent meanwhile overtakes it.
    ///
    /// # Panics
    ///
    /// If the probability is not from 0 to 1.
    #[must_use]
    #[track_caller]
    pub fn reorder(mut self, probability: f64, by: Duration) -> Self {
        self.reorder = checked(probability);
        self.held_back = by;
        self
    }

    /// Whether nothing can happen to a datagram.
    pub(crate) fn is_perfect(&self) -> bool {
        *self == Self::default()
    }
}

#[track_caller]
fn checked(probability: f64) -> f64 {
    assert!(
        (0.0..=1.0).contains(&probability),
        "a probability is from 0 to 1, and not {probability}"
    );
    probability
}
