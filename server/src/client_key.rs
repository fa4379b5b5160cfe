//! Which client a datagram comes from.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

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

/// Whether this source may be answered: never port 0, nor an address that is not one host's. A
/// forged source of that kind would make the server send to many, or to nobody.
pub(crate) fn may_answer(remote: &SocketAddr) -> bool {
    let ip = remote.ip().to_canonical(); // an IPv4-mapped address is the IPv4 address
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
