//! One handler run: its client's addresses, its postbox, its way back to the worker.
//!
//! `Client<Response>` and `Requests<Request>` both are this one allocation, each seen through the
//! half of the protocol that it needs. That half is the only virtual call of a packet.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use postbox_protocol::Protocol;

use crate::client_key::ClientKey;
use crate::dispatch::{Postbox, SlotId};
use crate::limits::{MAX_PAYLOAD_V4, MAX_PAYLOAD_V6};
use crate::port::{Local, Port};

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

    /// Whether this is its client.
    #[inline]
    pub(crate) fn is_of(&self, client: &ClientKey) -> bool {
        client.is(&self.remote, &self.local.addr)
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

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::port::Locals;
    use crate::port::tests::{asked, port};
    use crate::transport::LocalAddr;

    fn local_addr(bound: &str, local: Option<LocalAddr>) -> Option<SocketAddr> {
        let remote = "[fe80::2%3]:9".parse().unwrap();
        Peer::new(Locals::new(port(bound)).at(local), remote, 0).local_addr()
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
