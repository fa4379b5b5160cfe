//! Where a server is bound: what users may write, and what it resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::BindError;

/// One or several addresses to bind: `"localhost:9000"`, a [`SocketAddr`], `("::1", 9000)`, or an array,
/// slice or `Vec` of these. Port 0 picks a free port.
pub trait Hosts: sealed::Sealed {
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
        impl Hosts for $host {
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

impl<T: Hosts, const N: usize> sealed::Sealed for [T; N] {}
impl<T: Hosts, const N: usize> Hosts for [T; N] {
    fn hosts(self) -> Vec<Host> {
        self.into_iter().flat_map(Hosts::hosts).collect()
    }
}

impl<T: Hosts> sealed::Sealed for Vec<T> {}
impl<T: Hosts> Hosts for Vec<T> {
    fn hosts(self) -> Vec<Host> {
        self.into_iter().flat_map(Hosts::hosts).collect()
    }
}

impl<T: Hosts + Clone> sealed::Sealed for &[T] {}
impl<T: Hosts + Clone> Hosts for &[T] {
    fn hosts(self) -> Vec<Host> {
        self.iter().cloned().flat_map(Hosts::hosts).collect()
    }
}

/// Resolves names, all their addresses, and removes duplicates. The order stays.
pub(crate) async fn resolve(hosts: Vec<Host>) -> Result<Vec<SocketAddr>, BindError> {
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for host in hosts {
        let resolved = match host {
            Host::Addr(addr) => vec![addr],
            Host::Name(host) => match host.parse() {
                Ok(addr) => vec![addr],
                Err(_) => {
                    let resolved = tokio::net::lookup_host(&host).await.map(Vec::from_iter);
                    resolved.map_err(|source| BindError::Resolve { host, source })?
                }
            },
        };
        for addr in resolved {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
    }
    Ok(addrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolved(hosts: impl Hosts) -> Vec<String> {
        let addrs = resolve(hosts.hosts()).await.unwrap();
        addrs.iter().map(SocketAddr::to_string).collect()
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
}
