//! One handler run: its client's addresses, its postbox, its way back to the worker.
//!
//! `Client<Response>` and `Requests<Request>` both are this one allocation, each seen through the
//! half of the protocol that it needs. That half is the only virtual call of a packet.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use postbox_protocol::Protocol;

use crate::dispatch::{Postbox, SlotId, Totals};
use crate::inbox::Inbox;
use crate::limits::{Limits, MAX_PAYLOAD_V4, MAX_PAYLOAD_V6};
use crate::stats::Counters;
use crate::transport::LocalAddr;

/// What tells the clients of one socket apart: the remote address, and the local one that was
/// asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientKey {
    pub(crate) remote: SocketAddr,
    /// The local address that was asked, on a wildcard bind.
    pub(crate) local: Option<LocalAddr>,
}

impl ClientKey {
    /// Where answers leave from is how the client is reached, not who it is: a broadcast may come
    /// by several interfaces.
    fn identity(&self) -> (SocketAddr, Option<(IpAddr, u32)>) {
        let local = self.local.map(|local| (local.asked, local.interface));
        (self.remote, local)
    }
}

impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for ClientKey {}

impl Hash for ClientKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

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
    addr: Option<LocalAddr>,
    port: Arc<Port<P>>,
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

/// One run of a handler.
#[derive(Debug)]
pub(crate) struct Peer<P> {
    pub(crate) remote: SocketAddr,
    pub(crate) slot: SlotId,
    /// The receive of the `Requests` as a stream, in one word: here, since each waiting client pays
    /// twice for the size of a `Requests`. Nobody else uses it.
    pub(crate) stream: AtomicU32,
    pub(crate) postbox: Postbox,
    local: Arc<Local<P>>,
}

impl<P: Protocol> Peer<P> {
    pub(crate) fn new(local: &Arc<Local<P>>, remote: SocketAddr, slot: SlotId) -> Self {
        Self {
            remote,
            slot,
            stream: AtomicU32::new(0),
            postbox: Postbox::default(),
            local: Arc::clone(local),
        }
    }

    /// What all runs of this worker have in common.
    #[inline]
    pub(crate) fn port(&self) -> &Port<P> {
        &self.local.port
    }

    /// The address that the client asked.
    pub(crate) fn local(&self) -> &Arc<Local<P>> {
        &self.local
    }

    /// What tells this run from others while it lives.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Which client this is.
    #[inline]
    pub(crate) fn client(&self) -> ClientKey {
        ClientKey {
            remote: self.remote,
            local: self.local.addr,
        }
    }

    #[inline]
    pub(crate) fn set_client(&mut self, local: &Arc<Local<P>>, remote: SocketAddr) {
        self.remote = remote;
        if !Arc::ptr_eq(&self.local, local) {
            self.local = Arc::clone(local);
        }
    }

    /// The local address that the client sent to, where the transport can tell.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        let bound = self.port().bound;
        match &self.local.addr {
            Some(local) => {
                let mut addr = SocketAddr::new(local.asked, bound.port());
                if let SocketAddr::V6(addr) = &mut addr {
                    addr.set_scope_id(local.interface); // where it means nothing without
                }
                Some(addr)
            }
            None if bound.ip().is_unspecified() => None,
            None => Some(bound),
        }
    }

    /// The largest datagram for this client.
    pub(crate) fn send_limit(&self) -> usize {
        let v4 = match self.remote.ip() {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
        };
        let family = if v4 { MAX_PAYLOAD_V4 } else { MAX_PAYLOAD_V6 };
        self.port().limits.send_datagram.min(family)
    }
}

/// Whether this source may be answered: never port 0, nor an address that is not one host's. A
/// forged source of that kind would make the server send to many, or to nobody.
pub(crate) fn may_answer(remote: &SocketAddr) -> bool {
    let ip = remote.ip().to_canonical(); // an IPv4-mapped address is the IPv4 address
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::sync::atomic::AtomicBool;

    use postbox_protocol::{DatagramProtocol, RawSerializer};

    use super::*;

    fn port(bound: &str) -> Arc<Port<DatagramProtocol<RawSerializer>>> {
        Arc::new(Port {
            protocol: Arc::new(DatagramProtocol::new(RawSerializer)),
            inbox: Arc::new(Inbox::new(0, Arc::new(AtomicBool::new(false)))),
            counters: Arc::default(),
            totals: Arc::new(Totals::new(0, 0)),
            limits: Arc::default(),
            socket: 0,
            bound: bound.parse().unwrap(),
        })
    }

    fn local_addr(bound: &str, local: Option<LocalAddr>) -> Option<SocketAddr> {
        let remote = "[fe80::2%3]:9".parse().unwrap();
        Peer::new(Locals::new(port(bound)).at(local), remote, 0).local_addr()
    }

    fn asked(ip: [u8; 4]) -> Option<LocalAddr> {
        Some(LocalAddr {
            asked: ip.into(),
            reply_from: Some(ip.into()),
            interface: 0,
        })
    }

    #[test]
    fn h13_a_run_that_begins_anew_has_the_address_that_its_own_client_asked() {
        let mut locals = Locals::new(port("0.0.0.0:7"));
        let remote = |port| SocketAddr::from(([10, 9, 0, 7], port));
        let mut peer = Peer::new(locals.at(asked([10, 0, 0, 1])), remote(1), 0);
        for local in [asked([10, 0, 0, 2]), asked([10, 0, 0, 1]), None] {
            peer.set_client(locals.at(local), remote(2));
            let ClientKey {
                remote: to,
                local: from,
            } = peer.client();
            assert_eq!((to, from), (remote(2), local));
        }
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

    #[test]
    fn h10_where_answers_leave_from_makes_no_other_client() {
        let asked = IpAddr::from([10, 9, 0, 255]);
        let key = |asked, own: [u8; 4], interface| ClientKey {
            remote: "10.9.0.7:9".parse().unwrap(),
            local: Some(LocalAddr {
                asked,
                reply_from: Some(own.into()),
                interface,
            }),
        };
        let hasher = ahash::RandomState::new();
        let (one, two) = (key(asked, [10, 9, 0, 1], 0), key(asked, [10, 9, 0, 2], 0));
        assert_eq!(one, two);
        assert_eq!(hasher.hash_one(one), hasher.hash_one(two));
        assert_ne!(one, key(asked, [10, 9, 0, 1], 1));
        assert_ne!(one, key(IpAddr::from([10, 9, 0, 1]), [10, 9, 0, 1], 0));
    }

    #[test]
    fn h13_the_local_address_keeps_the_interface_that_it_means_nothing_without() {
        let asked: Ipv6Addr = "fe80::1".parse().unwrap();
        let local = LocalAddr {
            asked: asked.into(),
            reply_from: Some(asked.into()),
            interface: 3,
        };
        let told = local_addr("[::]:7", Some(local));
        assert_eq!(told, Some("[fe80::1%3]:7".parse().unwrap()));
        let told = local_addr("[fe80::1%3]:7", None);
        assert_eq!(told, Some("[fe80::1%3]:7".parse().unwrap()));
        assert_eq!(local_addr("[::]:7", None), None);
    }
}
