//! What an admission check is told of a datagram.

use std::fmt;
use std::net::SocketAddr;

use tokio::time::Instant;

use crate::transport::{LocalAddr, local_addr};

/// A datagram that asks to be admitted, before it is parsed: where it came from, where it was sent
/// to, how long it is, and whether its client has a handler.
///
/// ```
/// use postbox_protocol::{DatagramProtocol, RawSerializer};
/// use postbox_server::{Incoming, Server};
///
/// fn is_admitted(datagram: &Incoming<'_>) -> bool {
///     datagram.len() <= 512 && datagram.remote_addr().port() >= 1024
/// }
///
/// let protocol = DatagramProtocol::new(RawSerializer);
/// let builder = Server::builder_fn(protocol, |client, mut requests| async move {
///     client.send(requests.recv().await?).await?;
///     Ok(())
/// });
/// let builder = builder.admit(is_admitted);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    pub(crate) remote: &'a SocketAddr,
    /// The address that was asked, on a wildcard bind.
    pub(crate) local: &'a Option<LocalAddr>,
    /// The address that the socket is bound to.
    pub(crate) bound: &'a SocketAddr,
    pub(crate) len: usize,
    pub(crate) has_handler: bool,
    /// The clock, as its worker has read it in this turn.
    pub(crate) now: Instant,
}

impl Incoming<'_> {
    /// The address that the datagram says it comes from. Anybody can forge it.
    pub fn remote_addr(&self) -> SocketAddr {
        *self.remote
    }

    /// The address that it was sent to. `None` on a wildcard bind where the transport cannot tell.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        local_addr(self.local, *self.bound)
    }

    /// Its length in bytes, as received.
    #[expect(clippy::len_without_is_empty, reason = "not a collection")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether a handler of its client runs: then the datagram is part of a conversation, and is
    /// received by that handler. Else it starts one.
    pub fn has_handler(&self) -> bool {
        self.has_handler
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("remote_addr", &self.remote_addr())
            .field("local_addr", &self.local_addr())
            .field("len", &self.len)
            .field("has_handler", &self.has_handler)
            .finish()
    }
}
