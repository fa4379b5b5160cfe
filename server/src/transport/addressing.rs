//! Whether a datagram is for one host or for many.

use std::net::{IpAddr, SocketAddr};

use super::LocalAddr;

/// Whom the address means that a datagram was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addressing {
    /// This host alone.
    Unicast,
    /// All hosts of a network (IPv4).
    Broadcast,
    /// A group of hosts.
    Multicast,
}

impl Addressing {
    /// Of a datagram that was sent here.
    ///
    /// An IPv4 address that an answer cannot leave from is a broadcast address: which addresses
    /// are, only the kernel's table of interfaces knows.
    pub(crate) fn of(local: &LocalAddr) -> Self {
        let asked = local.asked.to_canonical();
        if asked.is_multicast() {
            Self::Multicast
        } else if asked.is_ipv4() && local.reply_from != Some(local.asked) {
            Self::Broadcast
        } else {
            Self::Unicast
        }
    }

    /// Of all datagrams to a socket that is bound here, and `is_broadcast` says of which kind of
    /// address it is; `None` if that is any address.
    pub(crate) fn of_bound(bound: SocketAddr, is_broadcast: bool) -> Option<Self> {
        match bound.ip().to_canonical() {
            ip if ip.is_unspecified() => None,
            ip if ip.is_multicast() => Some(Self::Multicast),
            IpAddr::V4(ip) if ip.is_broadcast() || is_broadcast => Some(Self::Broadcast),
            _ => Some(Self::Unicast),
        }
    }
}
