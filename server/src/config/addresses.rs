//! Where a server is bound: what users may write, and what it resolves to.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::io::{BufRead, BufReader};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs, UdpSocket,
};

use crate::error::BindError;

/// One or several addresses to bind: `"localhost:9000"`, a [`SocketAddr`], `("::1", 9000)`, or an
/// array, slice or `Vec` of these. Port 0 picks a free port. A link-local address has a zone, by name
/// or number: `"[fe80::1%eth0]:9000"`, `("fe80::1%2", 9000)`, or a [`SocketAddrV6`] with its scope.
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
    SocketAddrV4: self => Host::Addr(self.into());
    SocketAddrV6: self => Host::Addr(self.into());
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
            Host::Name(host) => {
                let (resolved, is_written) = match (host.parse(), zoned(&host)) {
                    (Ok(addr), _) => (Ok(vec![addr]), true),
                    (_, Some(resolved)) => (resolved, true),
                    _ => (
                        tokio::net::lookup_host(&host).await.map(Vec::from_iter),
                        false,
                    ),
                };
                let failed = |source| BindError::Resolve { host, source };
                (resolved.map_err(failed)?, is_written)
            }
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

/// All IPv4 and all IPv6 addresses of this host.
pub(crate) fn every_interface(port: u16) -> Vec<Requested> {
    let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let wanted = |ip| Requested {
        addr: SocketAddr::new(ip, port),
        is_written: false,
    };
    all.map(wanted).into()
}

/// Opens each address, but for those that nobody wrote and whose family the host lacks: `localhost`
/// is often both `127.0.0.1` and `::1` where there is no IPv6. If none is left, the first failure
/// tells what is wrong.
pub(crate) fn open_all<T>(
    wanted: &[Requested],
    mut open: impl FnMut(SocketAddr) -> io::Result<Vec<T>>,
    has_family: impl Fn(SocketAddr) -> bool,
) -> Result<Vec<T>, BindError> {
    let (mut opened, mut skipped) = (Vec::new(), None);
    for Requested { addr, is_written } in wanted {
        match open(*addr) {
            Ok(endpoints) => opened.extend(endpoints),
            Err(source) => {
                let unknown = source.raw_os_error() == Some(libc::EAFNOSUPPORT);
                let missing = source.kind() == io::ErrorKind::AddrNotAvailable;
                let lacks = unknown || missing && !has_family(*addr);
                let addr = *addr;
                let error = BindError::Bind { addr, source };
                if *is_written || !lacks {
                    return Err(error);
                }
                skipped.get_or_insert(error);
            }
        }
    }
    match skipped {
        Some(error) if opened.is_empty() => Err(error),
        _ => Ok(opened),
    }
}

/// Whether the host has any address of this one's family.
pub(crate) fn has_family(addr: SocketAddr) -> bool {
    #[cfg(target_os = "linux")]
    if let Some(listed) = is_listed(addr.is_ipv6()) {
        return listed;
    }
    let loopback: IpAddr = match addr {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    UdpSocket::bind((loopback, 0)).is_ok()
}

/// Whether the kernel lists an address of this family: IPv6 may be there without `::1`, and can be
/// switched off such that sockets of its kind are still made. `None` if it does not say.
#[cfg(target_os = "linux")]
fn is_listed(v6: bool) -> Option<bool> {
    let (table, mark) = match v6 {
        true => ("/proc/self/net/if_inet6", ""),
        false => ("/proc/self/net/fib_trie", "host LOCAL"),
    };
    let lines = BufReader::new(File::open(table).ok()?).lines();
    Some(lines.map_while(Result::ok).any(|line| line.contains(mark)))
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

    /// What is opened where this error meets IPv6, of which the host has an address or not.
    fn opened(wanted: &[Requested], code: i32, has_v6: bool) -> Result<Vec<String>, String> {
        let open = |addr: SocketAddr| match addr {
            SocketAddr::V4(_) => Ok(vec![addr.to_string()]),
            SocketAddr::V6(_) => Err(io::Error::from_raw_os_error(code)),
        };
        open_all(wanted, open, |_| has_v6).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn v1_a_family_that_the_host_lacks_is_passed_over_where_nobody_wrote_its_address() {
        let named = ["127.0.0.1:1", "[::1]:1"].map(|addr| Requested {
            addr: addr.parse().unwrap(),
            is_written: false,
        });
        let written = resolve(["127.0.0.1:1", "[::1]:1"].hosts()).await.unwrap();
        let all = every_interface(9000);
        let v4 = |addr: &str| Ok(vec![addr.to_owned()]);
        let failed = |addr: &str| Err(format!("cannot bind {addr}"));
        for code in [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL] {
            assert_eq!(opened(&all, code, false), v4("0.0.0.0:9000"));
            assert_eq!(opened(&named, code, false), v4("127.0.0.1:1"));
            assert_eq!(opened(&named[1..], code, false), failed("[::1]:1"));
            assert_eq!(opened(&written, code, false), failed("[::1]:1"));
        }
        // It has the family, if not this address; or something else is wrong.
        for code in [libc::EADDRNOTAVAIL, libc::EADDRINUSE, libc::EMFILE] {
            assert_eq!(opened(&all, code, true), failed("[::]:9000"));
            assert_eq!(opened(&named, code, true), failed("[::1]:1"));
        }
        assert_eq!(opened(&named, libc::EMFILE, false), failed("[::1]:1"));

        let open = |addr| Ok(vec![addr]);
        let bound = open_all(&all, open, |_| false).unwrap();
        let bound: Vec<_> = bound.iter().map(SocketAddr::to_string).collect();
        assert_eq!(bound, ["0.0.0.0:9000", "[::]:9000"], "binding tells");
    }

    /// No runtime is needed for it, and no name server.
    #[test]
    #[cfg(target_os = "linux")]
    fn v1_an_ipv6_address_with_a_zone_is_written_in_many_ways() {
        let loopback = SocketAddrV6::new("fe80::1".parse().unwrap(), 9000, 0, 1);
        let check = |hosts: Vec<Host>| {
            let mut resolving = std::pin::pin!(resolve(hosts));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(wanted) = resolving.as_mut().poll(&mut cx) else {
                panic!("it waits");
            };
            let addr = loopback.into();
            let is_written = true;
            assert_eq!(wanted.unwrap(), [Requested { addr, is_written }]);
        };
        check("[fe80::1%lo]:9000".hosts());
        check("[fe80::1%1]:9000".hosts());
        check(String::from("[fe80::1%lo]:9000").hosts());
        check(("fe80::1%lo", 9000).hosts());
        check(("fe80::1%1", 9000).hosts());
        check((String::from("fe80::1%lo"), 9000).hosts());
        check(loopback.hosts());
        check(SocketAddr::from(loopback).hosts());
        check(["[fe80::1%lo]:9000", "[fe80::1%1]:9000"].hosts());
        check(vec![("fe80::1%lo", 9000)].hosts());
    }

    #[tokio::test]
    async fn v1_a_zone_that_is_none_is_named_by_the_error() {
        for host in ["[fe80::1%no-such-zone]:9000", "[fe80::1%]:9000"] {
            match resolve(host.hosts()).await.unwrap_err() {
                BindError::Resolve { host: named, .. } => assert_eq!(named, host),
                error => panic!("{error}"),
            }
        }
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
        assert!(has_family(SocketAddr::from(([192, 0, 2, 1], 9000))));
    }
}
