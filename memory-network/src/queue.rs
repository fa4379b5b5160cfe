//! What waits at an address.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Waker;

use tokio::time::Instant;

use crate::NetworkStats;
use crate::datagram::Datagram;
use crate::flight::Flight;

/// The datagrams that wait at one address, at most, and those on their way there; later ones are
/// lost, as with a full socket buffer. Room for one datagram from each of 10,000 clients.
pub(crate) const QUEUE_LEN: usize = 16_384;

/// One member's end of the network.
#[derive(Debug, Default)]
pub(crate) struct RecvQueue {
    pub(crate) datagrams: VecDeque<Datagram>,
    /// What is on its way here.
    pub(crate) flight: Flight,
    /// How many were lost for want of room.
    pub(crate) lost: u64,
    /// Whom it is connected to: what others send does not arrive here.
    pub(crate) peer: Option<SocketAddr>,
    /// Those who wait for a datagram.
    pub(crate) wakers: Vec<Waker>,
    /// Who waits until he may send.
    pub(crate) blocked: Option<Waker>,
    /// The member has gone, others of its group have not.
    pub(crate) closed: bool,
    /// Its server asks when each datagram arrived.
    pub(crate) stamps: bool,
}

impl RecvQueue {
    /// A datagram arrives now. The clock is read only where it is asked for.
    pub(crate) fn push(&mut self, datagram: Datagram, stats: &mut NetworkStats) {
        let now = self.stamps.then(Instant::now);
        self.push_at(datagram, now, stats);
    }

    fn push_at(
        &mut self,
        mut datagram: Datagram,
        arrived: Option<Instant>,
        stats: &mut NetworkStats,
    ) {
        datagram.arrived = arrived;
        if self.peer.is_some_and(|peer| peer != datagram.source) {
            stats.unreachable += datagram.count();
        } else if self.datagrams.len() < QUEUE_LEN {
            stats.delivered += datagram.count();
            self.datagrams.push_back(datagram);
        } else {
            stats.overflowed += datagram.count();
            self.lost += 1;
        }
    }

    /// Takes in what has arrived by now.
    pub(crate) fn take_arrived(&mut self, now: Instant, stats: &mut NetworkStats) {
        while let Some((datagram, arrived)) = self.flight.take_arrived(now) {
            self.push_at(datagram, Some(arrived), stats);
        }
    }

    /// Receives from this peer alone from now on, and drops what others have sent.
    pub(crate) fn connect(&mut self, peer: SocketAddr) {
        self.peer = Some(peer);
        self.datagrams.retain(|one| one.source == peer);
    }
}
