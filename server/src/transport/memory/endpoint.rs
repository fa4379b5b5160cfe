//! What a worker is bound to on the network in memory.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use postbox_memory_network::{Member, MemoryNetwork};

use super::transport::MemoryTransport;
use crate::transport::{Capabilities, Endpoint, InfoAsked, Transport};

/// One member of the group that shares an address.
#[derive(Debug)]
pub(crate) struct MemoryEndpoint {
    pub(super) member: Member,
    /// What the server asks for.
    pub(super) info: InfoAsked,
}

impl MemoryEndpoint {
    /// Opens `group` endpoints at one address; each client's datagrams go to one of them.
    pub(crate) fn bind(
        network: &MemoryNetwork,
        addr: SocketAddr,
        group: usize,
        info: InfoAsked,
    ) -> io::Result<Vec<Arc<Self>>> {
        let members = Member::bind(network, addr, group, info.kernel_time)?;
        let endpoint = |member| Arc::new(Self { member, info });
        Ok(members.into_iter().map(endpoint).collect())
    }
}

impl Endpoint for Arc<MemoryEndpoint> {
    fn local_addr(&self) -> SocketAddr {
        self.member.local_addr()
    }

    fn open(&self) -> io::Result<Box<dyn Transport>> {
        self.member.open()?;
        Ok(Box::new(MemoryTransport::new(Self::clone(self))))
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
        self.info.is_any()
    }

    fn drops(&self) -> Option<u64> {
        Some(self.member.lost())
    }
}
