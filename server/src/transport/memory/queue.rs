//! What waits at an address.

use std::collections::VecDeque;
use std::task::Waker;

use tokio::time::Instant;

use super::flight::Flight;
use super::{Datagram, NetworkStats, QUEUE_LEN};
use crate::transport::InfoAsked;

/// One member's end of the network.
#[derive(Debug, Default)]
pub(super) struct RecvQueue {
    pub(super) datagrams: VecDeque<Datagram>,
    /// What is on its way here.
    pub(super) flight: Flight,
    /// How many were lost for want of room.
    pub(super) lost: u64,
    /// Those who wait for a datagram.
    pub(super) wakers: Vec<Waker>,
    /// Who waits until he may send.
    pub(super) blocked: Option<Waker>,
    /// The member has gone, others of its group have not.
    pub(super) closed: bool,
    /// What its server asks for.
    pub(super) info: InfoAsked,
}

impl RecvQueue {
    /// A datagram arrives now. The clock is read only where it is asked for.
    pub(super) fn push(&mut self, datagram: Datagram, stats: &mut NetworkStats) {
        let now = self.info.kernel_time.then(Instant::now);
        self.push_at(datagram, now, stats);
    }

    fn push_at(
        &mut self,
        mut datagram: Datagram,
        arrived: Option<Instant>,
        stats: &mut NetworkStats,
    ) {
        datagram.arrived = arrived;
        if self.datagrams.len() < QUEUE_LEN {
            stats.delivered += datagram.count();
            self.datagrams.push_back(datagram);
        } else {
            stats.overflowed += datagram.count();
            self.lost += 1;
        }
    }

    /// Takes in what has arrived by now.
    pub(super) fn take_arrived(&mut self, now: Instant, stats: &mut NetworkStats) {
        while let Some((datagram, arrived)) = self.flight.take_arrived(now) {
            self.push_at(datagram, Some(arrived), stats);
        }
    }
}
