//! How much a server may hold, and whom it admits.

use std::sync::Arc;
use std::time::Duration;

use super::ServerBuilder;
use crate::admission::{Admission, Incoming};
use crate::config::Limits;

/// # Bounds and admission
///
/// How much the server may hold, and which datagrams are admitted.
impl ServerBuilder {
    /// Sets the server's bounds: all of them, so also an earlier [`grace`](Self::grace).
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how long running handlers may go on at a shutdown: [`Limits::grace`], default 1 second.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.limits = self.limits.grace(grace);
        self
    }

    /// Sets the admission check: a closure that returns whether a datagram is admitted. It is asked
    /// for each datagram, before anything is allocated for it; a `false` drops the datagram, and is
    /// counted as `check`.
    ///
    /// It runs in the receive loop, so it must be quick. Where it panics, which is logged, the
    /// datagram is refused.
    pub fn admit(self, check: impl Fn(&Incoming<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.admission(check)
    }

    /// Sets the admission check, which may be made of several [parts](Admission). While the server
    /// runs [`set_admission`](crate::ServerHandle::set_admission) replaces it. Default: none, all
    /// datagrams are admitted.
    ///
    /// ```
    /// use postbox_protocol::{DatagramProtocol, RawSerializer};
    /// use postbox_server::{Admission, Networks, RatePerPrefix, Server};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let protocol = DatagramProtocol::new(RawSerializer);
    /// let builder = Server::builder_fn(protocol, |client, mut requests| async move {
    ///     client.send(requests.recv().await?).await?;
    ///     Ok(())
    /// });
    /// let networks = Networks::new().allow(["10.0.0.0/8".parse()?]);
    /// let builder = builder.admission(networks.and(RatePerPrefix::new(200, 400)));
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn admission(mut self, check: impl Admission + 'static) -> Self {
        self.admission = Some(Arc::new(check));
        self
    }

    /// Whether datagrams are answered that come from an address of the server's own sockets: on a
    /// wildcard bind, from any address of this host with that port.
    ///
    /// Default: they are dropped, and counted as
    /// [`dropped_source`](crate::Stats::dropped_source). One such datagram, which anybody can forge,
    /// could else make the server talk to itself for ever. But where multicast groups are joined,
    /// or a port is shared by [`reuse_port`](Self::reuse_port) or by the sockets' own option, other
    /// programs of this host may use the same address: there they are answered, unless this is set
    /// to `false`.
    ///
    /// The host's addresses are looked up when such a datagram comes, at most once a second by each
    /// worker.
    pub fn allow_own_source(mut self, allow: bool) -> Self {
        self.allow_own_source = Some(allow);
        self
    }
}
