//! What one worker has measured, where it measures: see `ServerBuilder::measure_times`.

use std::time::Duration;

/// What one worker has measured, if it does. Without the feature `metrics` there is nothing here.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    #[cfg(feature = "metrics")]
    pub(super) times: std::sync::OnceLock<super::times::Times>,
}

impl Measured {
    /// Whether anything is measured.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        #[cfg(feature = "metrics")]
        return self.times.get().is_some();
        #[cfg(not(feature = "metrics"))]
        false
    }

    /// A run of a handler took so long: told by its worker.
    pub(crate) fn handler_took(&self, duration: Duration) {
        #[cfg(feature = "metrics")]
        if let Some(times) = self.times.get() {
            times.handlers.add(duration);
        }
        let _ = duration;
    }

    /// A datagram that was received now, by whatever thread, waited so long in its client's queue.
    pub(crate) fn datagram_waited(&self, duration: Duration) {
        #[cfg(feature = "metrics")]
        if let Some(times) = self.times.get() {
            times.queue.add_shared(duration);
        }
        let _ = duration;
    }
}
