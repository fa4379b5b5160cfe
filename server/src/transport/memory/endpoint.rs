//! A server's end of the network in memory: what a socket is elsewhere.

use std::net::SocketAddr;

use super::MemoryNetwork;

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
    /// Takes over an inbox that was claimed for it.
    pub(super) fn new(network: MemoryNetwork, addr: SocketAddr, member: usize) -> Self {
        Self {
            network,
            addr,
            member,
        }
    }

    /// Returns the address it is bound to.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns how many datagrams were lost since its queue was full.
    pub(crate) fn lost(&self) -> u64 {
        let mut state = self.network.lock();
        state
            .inbox(self.addr, self.member)
            .map_or(0, |inbox| inbox.lost)
    }
}

impl Drop for MemoryEndpoint {
    fn drop(&mut self) {
        let inbox = self.network.lock().release(self.addr, self.member);
        drop(inbox); // wakers are foreign code: not under the lock
    }
}
