//! The addresses of this host.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use crate::support::log::tell;
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
                    tell(|| {
                        tracing::warn!(
                            "cannot read the addresses of this host, so one of them may be \
                             answered: {error}"
                        );
                    });
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tracing::subscriber::{NoSubscriber, with_default};
    use tracing::{Event, Metadata, Subscriber, span};

    use super::*;

    /// A log that counts, and panics.
    struct Rude(Arc<AtomicU32>);

    impl Subscriber for Rude {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("in the log");
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn l5_addresses_that_cannot_be_read_are_told_once_and_a_log_that_panics_ends_nothing() {
        // See the watchdog's test.
        let _another = tracing::Dispatch::new(NoSubscriber::default());
        let told = Arc::new(AtomicU32::new(0));
        let mut host = HostAddresses::default();
        let mut read = |can: bool| {
            host.read = Box::new(move || match can {
                true => Ok(Vec::new()),
                false => Err(io::ErrorKind::OutOfMemory.into()),
            });
            with_default(Rude(Arc::clone(&told)), || host.read());
            told.load(Ordering::Relaxed)
        };
        assert_eq!([read(true), read(false), read(false)], [0, 1, 1]);
        assert_eq!([read(true), read(false)], [1, 2]);
    }
}
