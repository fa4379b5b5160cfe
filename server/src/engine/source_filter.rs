//! Which sources may be answered.

use std::net::{IpAddr, SocketAddr};

/// Whether this source may be answered: never port 0, nor an address that is not one host's. A
/// forged source of that kind would make the server send to many, or to nobody.
pub(crate) fn is_answerable(remote: &SocketAddr) -> bool {
    let ip = remote.ip().to_canonical(); // an IPv4-mapped address is the IPv4 address
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}
