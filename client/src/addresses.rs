//! Where a server is: what users may write.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};

use tokio::net::lookup_host;

/// The address of a server, or several to try in order: `"localhost:9000"`, a [`SocketAddr`],
/// `("::1", 9000)`, or a slice of socket addresses. A link-local address has a zone, by name or
/// number: `"[fe80::1%eth0]:9000"`, `("fe80::1%2", 9000)`, or a [`SocketAddrV6`] with its scope.
#[diagnostic::on_unimplemented(
    note = "write `\"localhost:9000\"`, `(ip, port)`, a `SocketAddr`, or a `&[SocketAddr]`"
)]
pub trait ServerAddrs: sealed::Sealed {
    #[doc(hidden)]
    fn host(&self) -> Host;
}

/// What was written.
#[doc(hidden)]
#[derive(Debug)]
#[expect(unnameable_types, reason = "sealed")]
pub enum Host {
    Addrs(Vec<SocketAddr>),
    /// `name:port`, to be resolved.
    Name(String),
}

mod sealed {
    #[expect(unnameable_types, reason = "sealed")]
    pub trait Sealed {}
}

macro_rules! hosts {
    ($($host:ty: $self:ident => $made:expr;)*) => {$(
        impl sealed::Sealed for $host {}
        impl ServerAddrs for $host {
            fn host(&$self) -> Host {
                $made
            }
        }
    )*};
}

hosts! {
    str: self => Host::Name(self.to_owned());
    String: self => Host::Name(self.clone());
    SocketAddr: self => Host::Addrs(vec![*self]);
    SocketAddrV4: self => Host::Addrs(vec![(*self).into()]);
    SocketAddrV6: self => Host::Addrs(vec![(*self).into()]);
    (IpAddr, u16): self => Host::Addrs(vec![(*self).into()]);
    (Ipv4Addr, u16): self => Host::Addrs(vec![(*self).into()]);
    (Ipv6Addr, u16): self => Host::Addrs(vec![(*self).into()]);
    (&str, u16): self => named(self.0, self.1);
    (String, u16): self => named(&self.0, self.1);
    [SocketAddr]: self => Host::Addrs(self.to_vec());
}

impl<T: ServerAddrs + ?Sized> sealed::Sealed for &T {}
impl<T: ServerAddrs + ?Sized> ServerAddrs for &T {
    fn host(&self) -> Host {
        (**self).host()
    }
}

fn named(host: &str, port: u16) -> Host {
    match host.parse::<IpAddr>() {
        Ok(ip) => Host::Addrs(vec![SocketAddr::new(ip, port)]),
        Err(_) => Host::Name(format!("{host}:{port}")),
    }
}

impl Host {
    /// All addresses, in order.
    pub(crate) async fn resolve(self) -> io::Result<Vec<SocketAddr>> {
        match self.known() {
            Ok(addrs) => addrs,
            Err(name) => Ok(lookup_host(name).await?.collect()),
        }
    }

    /// The same, and blocks while it waits for names.
    pub(crate) fn resolve_blocking(self) -> io::Result<Vec<SocketAddr>> {
        match self.known() {
            Ok(addrs) => addrs,
            Err(name) => Ok(name.to_socket_addrs()?.collect()),
        }
    }

    /// The addresses, or the name to be resolved.
    fn known(self) -> Result<io::Result<Vec<SocketAddr>>, String> {
        let name = match self {
            Self::Addrs(addrs) => return Ok(Ok(addrs)),
            Self::Name(name) => name,
        };
        match name.parse() {
            Ok(addr) => Ok(Ok(vec![addr])),
            Err(_) => zoned(&name).ok_or(name),
        }
    }
}

/// The address in `[fe80::1%eth0]:9000`, with or without the brackets, if it is one. The system
/// knows the names of zones, and asks nobody for them.
fn zoned(host: &str) -> Option<io::Result<Vec<SocketAddr>>> {
    let (host, port) = host.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let (host, port) = (bare.unwrap_or(host), port.parse::<u16>().ok()?);
    let (ip, _) = host.split_once('%')?;
    ip.parse::<Ipv6Addr>().ok()?;
    Some((host, port).to_socket_addrs().map(Iterator::collect))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolved(addrs: impl ServerAddrs) -> Vec<SocketAddr> {
        addrs.host().resolve().await.unwrap_or_default()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn v1_an_ipv6_address_with_a_zone_is_written_in_many_ways() {
        let loopback = SocketAddrV6::new("fe80::1".parse().unwrap(), 9000, 0, 1);
        let expected = [SocketAddr::V6(loopback)];
        assert_eq!(resolved("[fe80::1%lo]:9000").await, expected);
        assert_eq!(resolved("[fe80::1%1]:9000").await, expected);
        assert_eq!(
            resolved(&&String::from("[fe80::1%lo]:9000")).await,
            expected
        );
        assert_eq!(resolved(("fe80::1%lo", 9000)).await, expected);
        assert_eq!(resolved((String::from("fe80::1%1"), 9000)).await, expected);
        assert_eq!(resolved(loopback).await, expected);
        assert_eq!(resolved(&expected[..]).await, expected);
    }

    #[tokio::test]
    async fn an_address_is_written_in_many_ways() {
        let [v4, v6] = ["127.0.0.1:9000", "[::1]:9000"].map(|addr| addr.parse().unwrap());
        for resolved in [
            resolved("127.0.0.1:9000").await,
            resolved(("127.0.0.1", 9000)).await,
            resolved((Ipv4Addr::LOCALHOST, 9000)).await,
            resolved((IpAddr::from([127, 0, 0, 1]), 9000)).await,
            resolved(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9000)).await,
            resolved(&v4).await,
        ] {
            assert_eq!(resolved, [v4]);
        }
        assert_eq!(resolved("[::1]:9000").await, [v6]);
        assert_eq!(resolved(("::1", 9000)).await, [v6]);
        assert_eq!(resolved((Ipv6Addr::LOCALHOST, 9000)).await, [v6]);
        assert!(resolved("localhost:9000").await.contains(&v4));
    }
}
