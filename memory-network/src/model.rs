//! The model of a network that is not perfect: what it does to each datagram is drawn from a seed.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;

use crate::{Conditions, MemoryNetwork, NetworkStats};

/// What is to happen on which way, and the source of all chance.
#[derive(Debug)]
pub(crate) struct Model {
    random: Rng,
    everywhere: Conditions,
    /// From where to where, and what is different there.
    links: HashMap<(SocketAddr, SocketAddr), Conditions>,
    partitions: HashSet<(SocketAddr, SocketAddr)>,
}

/// What is to happen to one copy of a datagram.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) payload: Vec<u8>,
    /// Its end is missing.
    pub(crate) cut: bool,
    pub(crate) delay: Duration,
    /// It stays behind those that were sent before.
    pub(crate) in_order: bool,
}

impl Model {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
            everywhere: Conditions::default(),
            links: HashMap::new(),
            partitions: HashSet::new(),
        }
    }

    /// Returns the conditions of a way, or none if there is no way.
    pub(crate) fn conditions(&self, from: SocketAddr, to: SocketAddr) -> Option<Conditions> {
        if self.partitions.contains(&(from, to)) || self.partitions.contains(&(to, from)) {
            return None;
        }
        let own = self.links.get(&(from, to)).copied();
        Some(own.unwrap_or(self.everywhere))
    }

    /// Decides what becomes of a datagram: the copies of it that arrive.
    pub(crate) fn copies(
        &mut self,
        conditions: &Conditions,
        payload: &[u8],
        stats: &mut NetworkStats,
    ) -> Vec<Copy> {
        if self.hits(conditions.loss) {
            stats.lost += 1;
            return Vec::new();
        }
        let mut count = 1;
        if self.hits(conditions.duplicate) {
            stats.duplicated += 1;
            count = 2;
        }
        let copy = |_| self.copy(conditions, payload.to_vec(), stats);
        (0..count).map(copy).collect()
    }

    fn copy(
        &mut self,
        conditions: &Conditions,
        mut payload: Vec<u8>,
        stats: &mut NetworkStats,
    ) -> Copy {
        let cut = !payload.is_empty() && self.hits(conditions.truncate);
        if cut {
            stats.truncated += 1;
            payload.truncate(self.random.usize(..payload.len()));
        }
        if !payload.is_empty() && self.hits(conditions.corrupt) {
            stats.corrupted += 1;
            let place = self.random.usize(..payload.len());
            payload[place] ^= self.random.u8(1..);
        }
        let mut delay = conditions.delay;
        if !conditions.jitter.is_zero() {
            let most = u64::try_from(conditions.jitter.as_nanos()).unwrap_or(u64::MAX);
            let jitter = Duration::from_nanos(self.random.u64(..=most));
            delay = delay.saturating_add(jitter);
        }
        let late = self.hits(conditions.reorder);
        if late {
            stats.reordered += 1;
            delay = delay.saturating_add(conditions.held_back);
        }
        Copy {
            payload,
            cut,
            delay,
            in_order: !late,
        }
    }

    /// Draws only where something can happen.
    fn hits(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.f64() < probability
    }
}

/// What becomes of datagrams: nothing, unless it is said here. It holds for what is sent from then
/// on.
impl MemoryNetwork {
    /// Sets what becomes of all datagrams, but on ways that have conditions of their own.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.lock().model().everywhere = conditions;
    }

    /// Sets what becomes of the datagrams that `from` sends to `to`, whatever holds elsewhere. The
    /// way back is another.
    ///
    /// The addresses are those that stand in the datagrams: of a server on a wildcard address, the
    /// one that the client sends to.
    pub fn set_conditions_between(&self, from: SocketAddr, to: SocketAddr, conditions: Conditions) {
        self.lock().model().links.insert((from, to), conditions);
    }

    /// Cuts the ways between two addresses, until they are [healed](Self::heal): what either sends
    /// to the other is lost. What is on its way arrives.
    pub fn partition(&self, a: SocketAddr, b: SocketAddr) {
        self.lock().model().partitions.insert((a, b));
    }

    /// Heals what a [partition](Self::partition) has cut. The conditions are as before.
    pub fn heal(&self, a: SocketAddr, b: SocketAddr) {
        let mut state = self.lock();
        let partitions = &mut state.model().partitions;
        partitions.remove(&(a, b));
        partitions.remove(&(b, a));
    }
}
