//! Admission: who may start a handler.

use std::fmt;
use std::net::SocketAddr;

use super::ClientKey;

/// The user's admission check.
pub(crate) type Admission = dyn Fn(&Incoming<'_>) -> bool + Send + Sync;

/// A datagram that asks to be admitted, before it is parsed: where it came from, where it was sent
/// to, and how long it is. [`ServerBuilder::admit`](crate::ServerBuilder::admit) sets the check.
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
    client: &'a ClientKey,
    bound: &'a SocketAddr,
    len: usize,
}

impl<'a> Incoming<'a> {
    #[inline]
    pub(crate) fn new(client: &'a ClientKey, bound: &'a SocketAddr, len: usize) -> Self {
        Self { client, bound, len }
    }

    /// The address that the datagram says it comes from. Anybody can forge it.
    pub fn remote_addr(&self) -> SocketAddr {
        self.client.remote
    }

    /// The address that it was sent to. `None` on a wildcard bind where the transport cannot tell.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.client.local_addr(*self.bound)
    }

    /// Its length in bytes, as received.
    #[expect(clippy::len_without_is_empty, reason = "not a collection")]
    pub fn len(&self) -> usize {
        self.len
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("remote_addr", &self.remote_addr())
            .field("local_addr", &self.local_addr())
            .field("len", &self.len)
            .finish()
    }
}
