//! A server's end of the network in memory: what a socket is elsewhere.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::MemoryNetwork;
use super::transport::MemoryTransport;
use crate::transport::{Capabilities, Endpoint, InfoAsked, Transport};

/// One member of the group that shares an address.
///
/// It keeps what arrives, within bounds, also while nobody serves it, and frees its address when
/// dropped.
#[derive(Debug)]
pub(crate) struct MemoryEndpoint {
    pub(super) network: MemoryNetwork,
    pub(super) addr: SocketAddr,
    pub(super) member: usize,
}

impl MemoryEndpoint {
    /// Takes over a queue that was claimed for it.
    pub(super) fn new(network: MemoryNetwork, addr: SocketAddr, member: usize) -> Self {
        Self {
            network,
            addr,
            member,
        }
    }

    /// Has told of each datagram what a server asks for.
    pub(crate) fn ask(&self, info: InfoAsked) {
        let mut state = self.network.lock();
        if let Some(queue) = state.queue(self.addr, self.member) {
            queue.info = info;
        }
        if info.kernel_time {
            state.clock(); // begins
        }
    }
}

impl Endpoint for Arc<MemoryEndpoint> {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn open(&self) -> io::Result<Box<dyn Transport>> {
        match self.network.lock().faults.take_open(self.addr) {
            Some(error) => Err(error),
            None => Ok(Box::new(MemoryTransport::new(Self::clone(self)))),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            local_addr: true,
            truncation: true,
            kernel_time: true,
            hop_limit: true,
            ecn: true,
            ..Capabilities::default()
        }
    }

    fn informs(&self) -> bool {
        let mut state = self.network.lock();
        let queue = state.queue(self.addr, self.member);
        queue.is_some_and(|queue| queue.info.is_any())
    }

    fn drops(&self) -> Option<u64> {
        let mut state = self.network.lock();
        let queue = state.queue(self.addr, self.member);
        Some(queue.map_or(0, |queue| queue.lost))
    }
}

impl Drop for MemoryEndpoint {
    fn drop(&mut self) {
        let queue = self.network.lock().release(self.addr, self.member);
        drop(queue); // wakers are foreign code: not under the lock
    }
}
