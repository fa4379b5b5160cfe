//! What one worker is bound to, and what it has counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Counters;
use crate::transport::Endpoint;

/// What one worker is bound to, and its counters. Both outlive servings.
#[derive(Clone)]
pub(crate) struct WorkerState {
    pub(crate) endpoint: Arc<dyn Endpoint>,
    pub(crate) counters: Arc<Counters>,
    /// The address that it is bound to: one for all workers of it.
    pub(crate) bound: Arc<SocketAddr>,
}

impl WorkerState {
    pub(super) fn new(endpoint: Arc<dyn Endpoint>, others: &[Self]) -> Self {
        let bound = endpoint.local_addr();
        let same = others.iter().find(|other| *other.bound == bound);
        let bound = same.map_or_else(|| Arc::new(bound), |other| Arc::clone(&other.bound));
        let counters = Arc::<Counters>::default();
        // A user's socket may have a past, which is not this server's.
        let drops = endpoint.drops().unwrap_or(0);
        counters.kernel_drops_told.store(drops, Ordering::Relaxed);
        Self {
            endpoint,
            counters,
            bound,
        }
    }
}
