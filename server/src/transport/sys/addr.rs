//! Socket addresses in the kernel's form.

use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for an IPv4 or IPv6 socket address.
///
/// `sockaddr_in6` serves for both: in both forms family and port come first, and the four bytes
/// after them are the IPv4 address or the IPv6 flow label. So no pointer casts are needed.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct RawAddr(libc::sockaddr_in6);

const _: () = assert!(
    offset_of!(libc::sockaddr_in, sin_family) == offset_of!(libc::sockaddr_in6, sin6_family)
        && offset_of!(libc::sockaddr_in, sin_port) == offset_of!(libc::sockaddr_in6, sin6_port)
        && offset_of!(libc::sockaddr_in, sin_addr) == offset_of!(libc::sockaddr_in6, sin6_flowinfo)
        && size_of::<libc::sockaddr_in>() <= size_of::<libc::sockaddr_in6>()
);

impl RawAddr {
    /// The room there is.
    pub(super) const ROOM: libc::socklen_t = size_of::<Self>() as libc::socklen_t;

    /// No address; its family is 0.
    pub(super) const EMPTY: Self = Self(libc::sockaddr_in6 {
        sin6_family: 0,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
        sin6_scope_id: 0,
    });

    /// Writes an address, and returns how many bytes of it count.
    pub(super) fn set(&mut self, addr: SocketAddr) -> libc::socklen_t {
        match addr {
            SocketAddr::V4(addr) => {
                self.0.sin6_family = libc::AF_INET as libc::sa_family_t;
                self.0.sin6_port = addr.port().to_be();
                self.0.sin6_flowinfo = u32::from_ne_bytes(addr.ip().octets());
                // The rest of a sockaddr_in, `sin_zero`, is ignored.
                size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(addr) => {
                self.0.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                self.0.sin6_port = addr.port().to_be();
                self.0.sin6_flowinfo = 0;
                self.0.sin6_addr.s6_addr = addr.ip().octets();
                self.0.sin6_scope_id = addr.scope_id();
                Self::ROOM
            }
        }
    }

    /// Reads the address. What is neither IPv4 nor IPv6, which the kernel never hands to a UDP
    /// socket, becomes 0.0.0.0:0, whom nobody answers.
    pub(super) fn to_std(self) -> SocketAddr {
        let port = u16::from_be(self.0.sin6_port);
        match libc::c_int::from(self.0.sin6_family) {
            libc::AF_INET => {
                let ip = Ipv4Addr::from(self.0.sin6_flowinfo.to_ne_bytes());
                SocketAddr::V4(SocketAddrV4::new(ip, port))
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(self.0.sin6_addr.s6_addr);
                // The flow label is left out: it may change between datagrams of one client.
                SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.0.sin6_scope_id))
            }
            _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in [
            "127.0.0.1:9",
            "255.1.2.3:65535",
            "[::1]:80",
            "[fe80::1%7]:5",
            "[::ffff:1.2.3.4]:6",
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            let mut raw = RawAddr::EMPTY;
            let len = raw.set(addr);
            assert_eq!(len, if addr.is_ipv4() { 16 } else { 28 });
            assert_eq!(raw.to_std(), addr);
        }
    }

    #[test]
    fn an_unknown_family_is_nobody() {
        assert_eq!(RawAddr::EMPTY.to_std(), "0.0.0.0:0".parse().unwrap());
    }
}
