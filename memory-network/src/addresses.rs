//! Who uses which address.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::network::unspecified;
use crate::queue::RecvQueue;

/// The first port that is handed out where the user asks for port 0: the first of the range that
/// systems use for it.
const FIRST_PORT: u16 = 49_152;

/// The addresses in use, each with what arrives there.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// By address: one queue for a client, one for each member of a server's group.
    bound: HashMap<SocketAddr, Vec<RecvQueue>, ahash::RandomState>,
    last_port: Option<u16>,
}

impl Addresses {
    /// Takes an address for `members` to share.
    pub(crate) fn claim(&mut self, addr: SocketAddr, members: usize) -> io::Result<SocketAddr> {
        let addr = if addr.port() == 0 {
            SocketAddr::new(addr.ip(), self.free_port(addr.ip())?)
        } else if self.is_taken(addr) {
            return Err(io::ErrorKind::AddrInUse.into());
        } else {
            addr
        };
        let queues = std::iter::repeat_with(RecvQueue::default).take(members);
        self.bound.insert(addr, queues.collect());
        Ok(addr)
    }

    /// Picks the next free port, in order, so that a port is not soon used again.
    fn free_port(&mut self, ip: IpAddr) -> io::Result<u16> {
        for _ in FIRST_PORT..=u16::MAX {
            let next = self.last_port.and_then(|port| port.checked_add(1));
            let port = next.unwrap_or(FIRST_PORT);
            self.last_port = Some(port);
            if !self.is_taken(SocketAddr::new(ip, port)) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    /// A wildcard address and any other with the same port exclude each other.
    fn is_taken(&self, addr: SocketAddr) -> bool {
        let wildcard = SocketAddr::new(unspecified(addr.is_ipv4()), addr.port());
        let same_port =
            |taken: &SocketAddr| taken.port() == addr.port() && taken.is_ipv4() == addr.is_ipv4();
        self.bound.contains_key(&addr)
            || self.bound.contains_key(&wildcard)
            || (addr == wildcard && self.bound.keys().any(same_port))
    }

    /// Finds the queue for a datagram: at its very address, or at the wildcard of its port.
    pub(crate) fn find(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Option<&mut RecvQueue> {
        let place = if self.bound.contains_key(&destination) {
            destination
        } else {
            SocketAddr::new(unspecified(destination.is_ipv4()), destination.port())
        };
        let members = self.bound.get_mut(&place)?;
        let mut hasher = DefaultHasher::new(); // not seeded: the same member in every run
        source.hash(&mut hasher);
        let member = hasher.finish() % members.len() as u64;
        // The remainder is below the number of members, a usize.
        members
            .get_mut(member as usize)
            .filter(|queue| !queue.closed)
    }

    /// Returns the queues at an address.
    pub(crate) fn group(&mut self, addr: SocketAddr) -> &mut [RecvQueue] {
        self.bound.get_mut(&addr).map_or(&mut [], Vec::as_mut_slice)
    }

    /// Returns all queues, in no order.
    pub(crate) fn queues(&mut self) -> impl Iterator<Item = &mut RecvQueue> {
        self.bound.values_mut().flatten()
    }

    /// Lets go of a queue, and of the address with the last of its group. What waited there is
    /// handed back, to be dropped once nothing is locked.
    pub(crate) fn release(&mut self, addr: SocketAddr, member: usize) -> Option<RecvQueue> {
        let members = self.bound.get_mut(&addr)?;
        let closed = RecvQueue {
            closed: true,
            ..RecvQueue::default()
        };
        let queue = std::mem::replace(members.get_mut(member)?, closed);
        if members.iter().all(|queue| queue.closed) {
            self.bound.remove(&addr);
        }
        Some(queue)
    }
}
