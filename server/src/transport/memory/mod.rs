//! A network without sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Capabilities, Outgoing, RecvBatch, Sent, Transport};

/// A network in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {}

impl MemoryNetwork {
    /// Makes an empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a client's socket.
    pub fn socket(&self, _addr: SocketAddr) -> io::Result<MemorySocket> {
        unimplemented!()
    }

    pub(crate) fn bind(
        &self,
        _addr: SocketAddr,
        _group: usize,
    ) -> io::Result<Vec<Arc<MemoryEndpoint>>> {
        unimplemented!()
    }
}

/// A client's socket.
#[derive(Debug)]
pub struct MemorySocket {}

impl MemorySocket {
    /// Sends.
    pub fn send_to(&self, _datagram: &[u8], _to: SocketAddr) -> io::Result<()> {
        unimplemented!()
    }

    /// Receives.
    pub async fn recv_from(&self) -> io::Result<(Vec<u8>, SocketAddr)> {
        unimplemented!()
    }

    /// Receives what is there.
    pub fn try_recv_from(&self) -> io::Result<(Vec<u8>, SocketAddr)> {
        unimplemented!()
    }

    /// Returns its address.
    pub fn local_addr(&self) -> SocketAddr {
        unimplemented!()
    }
}

/// A server's socket.
#[derive(Debug)]
pub(crate) struct MemoryEndpoint {}

impl MemoryEndpoint {
    pub(crate) fn local_addr(&self) -> SocketAddr {
        unimplemented!()
    }
}

/// Serves an endpoint.
#[derive(Debug)]
pub(crate) struct MemoryTransport {}

impl MemoryTransport {
    pub(crate) fn new(_endpoint: Arc<MemoryEndpoint>) -> Self {
        Self {}
    }
}

impl Transport for MemoryTransport {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            local_addr: true,
            truncation: true,
            icmp_errors: false,
            offloads: false,
        }
    }

    fn poll_recv(&mut self, _: &mut Context<'_>, _: &mut RecvBatch) -> Poll<io::Result<()>> {
        unimplemented!()
    }

    fn poll_send(&mut self, _: &mut Context<'_>, _: &[u8], _: &[Outgoing]) -> Poll<Sent> {
        unimplemented!()
    }
}
