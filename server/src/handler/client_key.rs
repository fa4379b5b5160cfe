//! Which client a datagram comes from.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use crate::admission::address_bits;
use crate::config::SessionTag;
use crate::service::Source;
use crate::transport::{LocalAddr, local_addr};

/// What tells the clients of one socket apart: the remote address, the local one that was asked, and
/// the session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientKey {
    pub(crate) remote: SocketAddr,
    /// The local address that was asked, on a wildcard bind.
    pub(crate) local: Option<LocalAddr>,
    pub(crate) session: SessionTag,
}

impl ClientKey {
    /// Whether it is the client with these addresses and this session. Where answers leave from is
    /// how it is reached, not who it is: a broadcast may come by several interfaces.
    #[inline]
    pub(crate) fn is(
        &self,
        remote: &SocketAddr,
        local: &Option<LocalAddr>,
        session: SessionTag,
    ) -> bool {
        let asked_the_same = match (&self.local, local) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                one.asked == other.asked && one.interface == other.interface
            }
            _ => false,
        };
        asked_the_same && self.remote == *remote && self.session == session
    }
}

impl ClientKey {
    /// The address that the client has asked, of a socket that is bound to this one. `None` where
    /// the transport cannot tell.
    pub(crate) fn local_addr(&self, bound: SocketAddr) -> Option<SocketAddr> {
        local_addr(&self.local, bound)
    }

    /// Prints the client, whose local address is this one: see [`Client`](super::Client).
    pub(crate) fn print(
        &self,
        local_addr: Option<SocketAddr>,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        write!(f, "{}", self.remote)?;
        if let (Some(_), Some(local)) = (self.local, local_addr) {
            write!(f, " at {local}")?;
        }
        match self.session.of_key() {
            Some(key) => write!(f, " #{key:016x}"),
            None => Ok(()),
        }
    }
}

/// Clients are counted by the prefix of the remote address.
impl Source for ClientKey {
    fn address(&self) -> u128 {
        address_bits(&self.remote.ip())
    }
}

impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.remote, &other.local, other.session)
    }
}

impl Eq for ClientKey {}

impl ClientKey {
    /// All that it is, in the order that it is sorted by. A socket address alone leaves out an IPv6
    /// address's scope when it is sorted, not when it is compared.
    fn order(&self) -> impl Ord {
        let (flow, scope) = match self.remote {
            SocketAddr::V4(_) => (0, 0),
            SocketAddr::V6(remote) => (remote.flowinfo(), remote.scope_id()),
        };
        let local = self.local.map(|local| (local.asked, local.interface));
        (self.remote, flow, scope, local, self.session)
    }
}

impl PartialOrd for ClientKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ClientKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl Hash for ClientKey {
    /// In few words: the hasher multiplies for each, and each waits for the one before. What a
    /// session adds is a secret hash itself.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let port = u64::from(self.remote.port());
        hash(&self.remote.ip(), port ^ self.session.0, state);
        if let Some(local) = &self.local {
            hash(&local.asked, local.interface.into(), state);
        }
    }
}

#[inline]
fn hash(ip: &IpAddr, rest: u64, state: &mut impl Hasher) {
    match ip {
        IpAddr::V4(ip) => state.write_u64((u64::from(ip.to_bits()) << 32) ^ rest),
        IpAddr::V6(ip) => {
            state.write_u128(ip.to_bits());
            state.write_u64(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn h10_each_part_of_what_a_client_is_makes_another_client_and_another_hash() {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let key = |remote: &str, asked: Option<&str>, reply_from: &str, interface| ClientKey {
            remote: remote.parse().unwrap(),
            local: asked.map(|asked| LocalAddr {
                asked: asked.parse().unwrap(),
                reply_from: Some(reply_from.parse().unwrap()),
                interface,
            }),
            session: SessionTag::ADDRESS,
        };
        let secret = Secret::default();
        let session = |number: u8| ClientKey {
            session: SessionTag::key(secret.id(number)),
            ..key("10.9.0.7:9", None, "::", 0)
        };
        let others = [
            key("10.9.0.7:9", None, "::", 0),
            key("10.9.0.8:9", None, "::", 0),
            key("10.9.0.7:8", None, "::", 0),
            key("10.9.0.7:9", Some("10.9.0.1"), "::", 0),
            key("10.9.0.7:9", Some("10.9.0.2"), "::", 0),
            key("[fe80::7]:9", None, "::", 0),
            key("[fe80::8]:9", None, "::", 0),
            key("[fe80::7]:8", None, "::", 0),
            key("[fe80::7]:9", Some("fe80::1"), "::", 0),
            key("[fe80::7]:9", Some("fe80::1"), "::", 1),
            key("[fe80::7]:9", Some("fe80::2"), "::", 0),
            session(1),
            session(2),
        ];
        for (i, one) in others.iter().enumerate() {
            for (j, other) in others.iter().enumerate() {
                assert_eq!(one == other, i == j, "{one:?} {other:?}");
                assert_eq!(one.cmp(other).is_eq(), i == j);
                assert_eq!(one.cmp(other), other.cmp(one).reverse());
                assert_eq!(hasher.hash_one(one) == hasher.hash_one(other), i == j);
            }
        }
        let reached_otherwise = key("[fe80::7]:9", Some("fe80::1"), "fe80::3", 1);
        assert_eq!(reached_otherwise, others[9]);
        assert_eq!(
            hasher.hash_one(reached_otherwise),
            hasher.hash_one(others[9])
        );
        // A scope tells two hosts of one address apart, if not their hashes.
        let scoped = key("[fe80::7%1]:9", None, "::", 0);
        assert_ne!(scoped, others[5]);
        assert!(scoped.cmp(&others[5]).is_gt());
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
            session: SessionTag::ADDRESS,
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
        let told = |bound: &str, asked: Option<&str>| {
            let local = asked.map(|asked| LocalAddr {
                asked: asked.parse().unwrap(),
                reply_from: None,
                interface: 3,
            });
            let remote = "[fe80::2%3]:9".parse().unwrap();
            let client = ClientKey {
                remote,
                local,
                session: SessionTag::ADDRESS,
            };
            let told = client.local_addr(bound.parse().unwrap());
            told.map(|addr| addr.to_string())
        };
        assert_eq!(told("[::]:7", Some("fe80::1")).unwrap(), "[fe80::1%3]:7");
        assert_eq!(told("[fe80::1%3]:7", None).unwrap(), "[fe80::1%3]:7");
        assert_eq!(told("[::]:7", None), None);
    }
}
