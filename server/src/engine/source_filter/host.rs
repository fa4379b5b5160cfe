//! The addresses of this host.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use crate::transport::host_addresses;

/// The interface that an address belongs to, or 0.
pub(super) fn scope(addr: &SocketAddr) -> u32 {
    match addr {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(addr) => addr.scope_id(),
    }
}

/// Whether an address is the same host's on two interfaces: a link-local one means nothing without
/// its own. 0 is an interface that is not known.
pub(super) fn same_scope(ip: IpAddr, one: u32, other: u32) -> bool {
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !link_local || one == other || one == 0 || other == 0
}

/// The addresses of this host, as they were when they were read last.
pub(super) struct HostAddresses {
    pub(super) read: Box<ReadAddresses>,
    /// When that was.
    at: Option<Instant>,
    /// With their interfaces. Sorted.
    all: Vec<(IpAddr, u32)>,
    failed: bool,
}

type ReadAddresses = dyn FnMut() -> io::Result<Vec<(IpAddr, u32)>> + Send;

impl HostAddresses {
    /// They are read again after this time, if somebody asks.
    pub(super) const LASTS: Duration = Duration::from_secs(1);

    /// Whether this host has this address.
    pub(super) fn has(&mut self, remote: &SocketAddr, now: Instant) -> bool {
        let ip = remote.ip().to_canonical();
        if ip.is_loopback() {
            return true; // the whole of 127.0.0.0/8, whatever the list says
        }
        if self
            .at
            .is_none_or(|at| now.duration_since(at) >= Self::LASTS)
        {
            self.at = Some(now);
            self.read();
        }
        let first = self.all.partition_point(|(own, _)| *own < ip);
        let same = self.all[first..].iter().take_while(|(own, _)| *own == ip);
        let mut interfaces = same.map(|(_, interface)| *interface);
        interfaces.any(|interface| same_scope(ip, interface, scope(remote)))
    }

    fn read(&mut self) {
        match (self.read)() {
            Ok(mut all) => {
                all.sort_unstable();
                self.all = all;
                self.failed = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::warn!(
                        "cannot read the addresses of this host, so one of them may be answered: {error}"
                    );
                }
            }
        }
    }
}

impl Default for HostAddresses {
    fn default() -> Self {
        Self {
            read: Box::new(host_addresses),
            at: None,
            all: Vec::new(),
            failed: false,
        }
    }
}

impl fmt::Debug for HostAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostAddresses")
            .field("all", &self.all)
            .finish_non_exhaustive()
    }
}
