//! Admission: who may start a handler.

use std::net::SocketAddr;

/// The user's admission check.
pub(crate) type Admission = dyn Fn(&Incoming) -> bool + Send + Sync;

/// A datagram that is asked to be admitted, before it is parsed: where it came from, where it was
/// sent to, and how long it is.
#[derive(Debug, Clone, Copy)]
pub struct Incoming {
    remote: SocketAddr,
    local: Option<SocketAddr>,
    len: usize,
}

impl Incoming {
    #[inline]
    pub(crate) fn new(remote: SocketAddr, local: Option<SocketAddr>, len: usize) -> Self {
        Self { remote, local, len }
    }

    /// The address that the datagram says it comes from. Anybody can forge it.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// The address that it was sent to. `None` on a wildcard bind where the transport cannot tell.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Its length in bytes, as received.
    #[expect(clippy::len_without_is_empty, reason = "not a collection")]
    pub fn len(&self) -> usize {
        self.len
    }
}
