//! What is measured.

use super::ServerBuilder;

/// # What is measured
///
/// What [`Metrics`](crate::Metrics) can tell beside counters.
impl ServerBuilder {
    /// Measures how long handlers run, and what datagrams wait in queues, for the histograms of
    /// [`Metrics`](crate::Metrics). Default off.
    ///
    /// It takes two reads of the clock for each run of a handler, some 50 nanoseconds, and 8 KiB of
    /// memory for each worker; a client whose handler waits takes some 100 bytes more. What waited in a
    /// queue is measured by the clock that the worker has read for its turn; where another task
    /// receives, the clock is read for each.
    pub fn measure_times(mut self, measure: bool) -> Self {
        self.measures_times = measure;
        self
    }
}
