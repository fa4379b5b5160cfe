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
