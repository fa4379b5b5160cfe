//! Where a server is bound: what users may write, and what it resolves to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::error::BindError;

/// One or several addresses to bind: `"localhost:9000"`, a [`SocketAddr`], `("::1", 9000)`, or an
/// array, slice or `Vec` of these. Port 0 picks a free port.
///
/// ```
/// use std::net::{Ipv4Addr, SocketAddr};
///
/// use postbox_server::BindAddrs;
///
/// fn takes(_: impl BindAddrs) {}
///
/// takes("localhost:9000"); // all addresses of the name
/// takes(("127.0.0.1", 9000));
/// takes((Ipv4Addr::UNSPECIFIED, 9000)); // every IPv4 interface
/// takes(SocketAddr::from(([127, 0, 0, 1], 9000)));
/// takes(["127.0.0.1:9000", "[::1]:9000"]);
/// ```
#[diagnostic::on_unimplemented(
    note = "write `\"localhost:9000\"`, `(ip, port)`, a `SocketAddr`, or several of these"
)]
pub trait BindAddrs: sealed::Sealed {
    #[doc(hidden)]
    fn hosts(self) -> Vec<Host>;
}

/// One host, as given.
#[doc(hidden)]
#[derive(Debug, Clone)]
#[expect(unnameable_types, reason = "sealed")]
pub enum Host {
    Addr(SocketAddr),
    /// `name:port`, to be resolved.
    Name(String),
}

mod sealed {
    #[expect(unnameable_types, reason = "sealed")]
    pub trait Sealed {}
}

macro_rules! one_host {
    ($($host:ty: $self:ident => $made:expr;)*) => {$(
        impl sealed::Sealed for $host {}
        impl BindAddrs for $host {
            fn hosts($self) -> Vec<Host> {
                vec![$made]
            }
        }
    )*};
}

one_host! {
    &str: self => Host::Name(String::from(self));
    String: self => Host::Name(self);
    &String: self => Host::Name(self.clone());
    SocketAddr: self => Host::Addr(self);
    (&str, u16): self => named(self.0, self.1);
    (String, u16): self => named(&self.0, self.1);
    (IpAddr, u16): self => Host::Addr(self.into());
    (Ipv4Addr, u16): self => Host::Addr(self.into());
    (Ipv6Addr, u16): self => Host::Addr(self.into());
}

fn named(host: &str, port: u16) -> Host {
    match host.parse::<IpAddr>() {
        Ok(ip) => Host::Addr(SocketAddr::new(ip, port)),
        Err(_) => Host::Name(format!("{host}:{port}")),
    }
}

impl<T: BindAddrs, const N: usize> sealed::Sealed for [T; N] {}
impl<T: BindAddrs, const N: usize> BindAddrs for [T; N] {
    fn hosts(self) -> Vec<Host> {
        self.into_iter().flat_map(BindAddrs::hosts).collect()
    }
}

impl<T: BindAddrs> sealed::Sealed for Vec<T> {}
impl<T: BindAddrs> BindAddrs for Vec<T> {
    fn hosts(self) -> Vec<Host> {
        self.into_iter().flat_map(BindAddrs::hosts).collect()
    }
}

impl<T: BindAddrs + Clone> sealed::Sealed for &[T] {}
impl<T: BindAddrs + Clone> BindAddrs for &[T] {
    fn hosts(self) -> Vec<Host> {
        self.iter().cloned().flat_map(BindAddrs::hosts).collect()
    }
}

/// An address to bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Requested {
    addr: SocketAddr,
    /// The user wrote this very address. Others were found for a name, or stand for every
    /// interface.
    is_written: bool,
}

/// Resolves names, all their addresses, and removes duplicates. The order stays.
pub(crate) async fn resolve(hosts: Vec<Host>) -> Result<Vec<Requested>, BindError> {
    let mut all: Vec<Requested> = Vec::new();
    for host in hosts {
        let (resolved, is_written) = match host {
            Host::Addr(addr) => (vec![addr], true),
            Host::Name(host) => match host.parse() {
                Ok(addr) => (vec![addr], true),
                Err(_) => {
                    let resolved = tokio::net::lookup_host(&host).await.map(Vec::from_iter);
                    let resolved =
                        resolved.map_err(|source| BindError::Resolve { host, source })?;
                    (resolved, false)
                }
            },
        };
        for addr in resolved {
            match all.iter_mut().find(|wanted| wanted.addr == addr) {
                Some(wanted) => wanted.is_written |= is_written,
                None => all.push(Requested { addr, is_written }),
            }
        }
    }
    Ok(all)
}

/// All IPv4 and all IPv6 addresses of this host.
pub(crate) fn every_interface(port: u16) -> Vec<Requested> {
    let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let wanted = |ip| Requested {
        addr: SocketAddr::new(ip, port),
        is_written: false,
    };
    all.map(wanted).into()
}

/// The addresses without those that nobody wrote and whose family the host lacks: `localhost` is
/// often both `127.0.0.1` and `::1` where there is no IPv6. All of them if no other is left, so
/// that binding tells what is wrong.
pub(crate) fn usable(wanted: &[Requested], lacks: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
    let is_usable = |wanted: &&Requested| wanted.is_written || !lacks(wanted.addr);
    let addr = |wanted: &Requested| wanted.addr;
    let usable: Vec<_> = wanted.iter().filter(is_usable).map(addr).collect();
    if usable.is_empty() {
        return wanted.iter().map(addr).collect();
    }
    usable
}

/// Whether the host lacks the address's family: then it has not even its loopback address.
pub(crate) fn lacks_family(addr: SocketAddr) -> bool {
    let loopback: IpAddr = match addr {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    UdpSocket::bind((loopback, 0)).is_err_and(|error| {
        error.kind() == io::ErrorKind::AddrNotAvailable
            || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolved(hosts: impl BindAddrs) -> Vec<String> {
        let wanted = resolve(hosts.hosts()).await.unwrap();
        wanted.iter().map(|one| one.addr.to_string()).collect()
    }

    #[tokio::test]
    async fn v1_a_host_is_written_in_many_ways() {
        let v4 = ["127.0.0.1:9000"];
        assert_eq!(resolved("127.0.0.1:9000").await, v4);
        assert_eq!(resolved(String::from("127.0.0.1:9000")).await, v4);
        assert_eq!(resolved(&String::from("127.0.0.1:9000")).await, v4);
        assert_eq!(resolved(SocketAddr::from(([127, 0, 0, 1], 9000))).await, v4);
        assert_eq!(resolved(("127.0.0.1", 9000)).await, v4);
        assert_eq!(resolved((String::from("127.0.0.1"), 9000)).await, v4);
        assert_eq!(resolved((IpAddr::from([127, 0, 0, 1]), 9000)).await, v4);
        assert_eq!(resolved((Ipv4Addr::LOCALHOST, 9000)).await, v4);
        let v6 = ["[::1]:9000"];
        assert_eq!(resolved("[::1]:9000").await, v6);
        assert_eq!(resolved(("::1", 9000)).await, v6);
        assert_eq!(resolved((Ipv6Addr::LOCALHOST, 9000)).await, v6);
    }

    #[tokio::test]
    async fn v1_several_hosts_are_bound_in_order_without_duplicates() {
        let two = ["127.0.0.1:1", "127.0.0.1:2"];
        assert_eq!(resolved(two).await, two);
        assert_eq!(resolved(&two[..]).await, two);
        assert_eq!(resolved(Vec::from(two)).await, two);
        let again = [
            ("127.0.0.1", 2),
            ("::1", 2),
            ("127.0.0.1", 2),
            ("127.0.0.1", 1),
        ];
        assert_eq!(
            resolved(again).await,
            ["127.0.0.1:2", "[::1]:2", "127.0.0.1:1"]
        );
        assert!(resolved(Vec::<SocketAddr>::new()).await.is_empty());
    }

    #[tokio::test]
    async fn v1_a_name_stands_for_all_its_addresses() {
        let expected = tokio::net::lookup_host("localhost:9000").await.unwrap();
        let mut expected: Vec<String> = expected.map(|addr| addr.to_string()).collect();
        expected.dedup();
        assert!(!expected.is_empty());
        assert_eq!(resolved("localhost:9000").await, expected);
        assert_eq!(resolved(("localhost", 9000)).await, expected);
        assert_eq!(
            resolved(["localhost:9000", "localhost:9000"]).await,
            expected
        );
    }

    #[tokio::test]
    async fn v1_a_host_that_is_none_is_named_by_the_error() {
        for host in ["no port", "127.0.0.1:70000", ""] {
            let error = resolve(["127.0.0.1:9000", host].hosts()).await.unwrap_err();
            match error {
                BindError::Resolve { host: named, .. } => assert_eq!(named, host),
                error => panic!("{error}"),
            }
        }
    }

    #[tokio::test]
    async fn v1_a_family_that_the_host_lacks_is_passed_over_where_nobody_wrote_its_address() {
        let without_v6 = |wanted: &[Requested]| {
            let usable = usable(wanted, |addr| addr.is_ipv6());
            usable.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(without_v6(&every_interface(9000)), ["0.0.0.0:9000"]);
        let named = ["127.0.0.1:1", "[::1]:1"].map(|addr| Requested {
            addr: addr.parse().unwrap(),
            is_written: false,
        });
        assert_eq!(without_v6(&named), ["127.0.0.1:1"]);
        assert_eq!(without_v6(&named[1..]), ["[::1]:1"], "else there is none");
        let written = resolve(["127.0.0.1:1", "[::1]:1"].hosts()).await.unwrap();
        assert_eq!(without_v6(&written), ["127.0.0.1:1", "[::1]:1"]);

        let all = usable(&every_interface(0), |_| false);
        let all: Vec<_> = all.iter().map(SocketAddr::to_string).collect();
        assert_eq!(all, ["0.0.0.0:0", "[::]:0"]);
        assert_eq!(
            usable(&every_interface(0), |_| true).len(),
            2,
            "else there is none"
        );
    }

    #[tokio::test]
    async fn v1_an_address_that_is_written_and_named_counts_as_written() {
        let named = resolve("localhost:9000".hosts()).await.unwrap();
        assert!(named.iter().all(|wanted| !wanted.is_written));
        let addr = named[0].addr.to_string();
        let both = resolve(["localhost:9000", &addr[..]].hosts())
            .await
            .unwrap();
        assert_eq!(both.len(), named.len());
        assert!(both[0].is_written);
    }

    #[test]
    fn v1_this_host_has_ipv4() {
        assert!(!lacks_family(SocketAddr::from(([192, 0, 2, 1], 9000))));
    }
}
