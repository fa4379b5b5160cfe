//! What a worker receives from and sends to: a socket, or a place in a network in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use socket2::Socket;

use crate::socket::SocketOptions;
use crate::stats::Counters;
use crate::transport::MemoryEndpoint;

/// What one worker receives from and sends to. It outlives servings.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) id: u64,
    pub(crate) addr: SocketAddr,
    pub(crate) kind: EndpointKind,
    pub(crate) counters: Arc<Counters>,
}

#[derive(Debug, Clone)]
pub(crate) enum EndpointKind {
    Socket {
        socket: Arc<Socket>,
        member: usize,
        options: SocketOptions,
    },
    Memory(Arc<MemoryEndpoint>),
}

impl Endpoint {
    pub(crate) fn new(addr: SocketAddr, kind: EndpointKind) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            addr,
            kind,
            counters: Arc::default(),
        }
    }
}

/// How sockets are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransportChoice {
    /// One datagram at a time through tokio, also where batches are possible.
    pub(crate) plain: bool,
    /// Let the kernel coalesce and segment.
    pub(crate) offloads: bool,
}
