//! What all handler runs of a worker have in common, and the addresses that its clients ask.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::dispatch::Totals;
use crate::inbox::Inbox;
use crate::limits::Limits;
use crate::stats::Counters;
use crate::transport::LocalAddr;

/// What all handler runs of a worker have in common.
#[derive(Debug)]
pub(crate) struct Port<P> {
    pub(crate) protocol: Arc<P>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) totals: Arc<Totals>,
    pub(crate) limits: Arc<Limits>,
    /// Tells the server's sockets apart, over all servings.
    pub(crate) socket: u64,
    /// The address that the socket is bound to.
    pub(crate) bound: SocketAddr,
}

impl<P> Port<P> {
    /// What tells this port from others while it lives.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// An address of a worker's socket, as its clients ask for it: one for all of them.
#[derive(Debug)]
pub(crate) struct Local<P> {
    /// Where it was asked, on a wildcard bind.
    pub(crate) addr: Option<LocalAddr>,
    pub(crate) port: Arc<Port<P>>,
}

/// The addresses of one worker's socket that were asked last.
#[derive(Debug)]
pub(crate) struct Locals<P> {
    port: Arc<Port<P>>,
    known: Vec<Arc<Local<P>>>,
}

impl<P> Locals<P> {
    /// Hosts have few; but a whole network may be routed to one.
    const KNOWN: usize = 8;

    pub(crate) fn new(port: Arc<Port<P>>) -> Self {
        let known = Vec::new();
        Self { port, known }
    }

    #[inline]
    pub(crate) fn at(&mut self, addr: Option<LocalAddr>) -> &Arc<Local<P>> {
        if self.known.first().is_none_or(|last| last.addr != addr) {
            self.bring_forward(addr);
        }
        &self.known[0]
    }

    #[cold]
    fn bring_forward(&mut self, addr: Option<LocalAddr>) {
        let known = self.known.iter().position(|local| local.addr == addr);
        match known {
            Some(at) => self.known.swap(0, at),
            None => {
                let port = Arc::clone(&self.port);
                self.known.truncate(Self::KNOWN - 1);
                self.known.insert(0, Arc::new(Local { addr, port }));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use postbox_protocol::{DatagramProtocol, RawSerializer};

    use super::*;

    /// A port of raw datagrams whose worker does not run.
    pub(crate) fn port(bound: &str) -> Arc<Port<DatagramProtocol<RawSerializer>>> {
        Arc::new(Port {
            protocol: Arc::new(DatagramProtocol::new(RawSerializer)),
            inbox: Arc::new(Inbox::new(0, Arc::default())),
            counters: Arc::default(),
            totals: Arc::new(Totals::new(0, 0)),
            limits: Arc::default(),
            socket: 0,
            bound: bound.parse().unwrap(),
        })
    }

    pub(crate) fn asked(ip: [u8; 4]) -> Option<LocalAddr> {
        Some(LocalAddr {
            asked: ip.into(),
            reply_from: Some(ip.into()),
            interface: 0,
        })
    }

    #[test]
    fn l2_clients_share_the_address_that_they_asked_and_few_are_kept() {
        let mut locals = Locals::new(port("0.0.0.0:7"));
        let one = Arc::clone(locals.at(asked([10, 0, 0, 1])));
        for last in 2..=255 {
            assert_eq!(
                locals.at(asked([10, 0, 0, last])).addr,
                asked([10, 0, 0, last])
            );
            assert!(
                Arc::ptr_eq(locals.at(asked([10, 0, 0, 1])), &one),
                "asked again and again"
            );
        }
        assert_eq!(locals.known.len(), Locals::<()>::KNOWN);
    }
}
