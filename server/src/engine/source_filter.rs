//! Which sources may be answered.

mod host;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::time::Instant;

use crate::transport::Endpoint;
use host::{HostAddresses, same_scope, scope};

/// Drops what comes from nobody, from many, or from the server itself.
#[derive(Debug, Default)]
pub(crate) struct SourceFilter {
    /// The lowest port of the server's own sockets, and how far above it the highest is: one look
    /// tells that a source is none of them. 0, and no further, where its own are answered.
    first_port: u16,
    ports_above: u16,
    /// All of them, sorted.
    ports: Vec<u16>,
    sockets: Vec<OwnSocket>,
    host: HostAddresses,
}

impl SourceFilter {
    /// For a server with these sockets, whose own addresses it does not answer.
    pub(crate) fn new<'a>(endpoints: impl Iterator<Item = &'a Arc<dyn Endpoint>>) -> Self {
        Self::of(
            endpoints
                .map(|endpoint| OwnSocket::new(&**endpoint))
                .collect(),
        )
    }

    fn of(mut sockets: Vec<OwnSocket>) -> Self {
        sockets.dedup(); // workers of one address
        let mut ports: Vec<_> = sockets.iter().map(|socket| socket.bound.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        let first_port = ports.first().copied().unwrap_or(0);
        Self {
            first_port,
            ports_above: ports.last().map_or(0, |last| last - first_port),
            ports,
            sockets,
            host: HostAddresses::default(),
        }
    }

    /// Whether this source may be answered.
    #[inline(always)] // on every datagram's path
    pub(crate) fn is_answerable(&mut self, remote: &SocketAddr, now: Instant) -> bool {
        let port = remote.port();
        let may_be_own = port.wrapping_sub(self.first_port) <= self.ports_above;
        match remote {
            SocketAddr::V4(addr) if port != 0 && !may_be_own && is_below_multicast(*addr.ip()) => {
                true
            }
            _ => self.is_answerable_after_all(remote, now),
        }
    }

    /// The same for those that need a closer look.
    #[inline(never)]
    fn is_answerable_after_all(&mut self, remote: &SocketAddr, now: Instant) -> bool {
        let is_own_port = self.ports.binary_search(&remote.port()).is_ok();
        is_one_host(remote) && !(is_own_port && self.is_own(remote, now))
    }

    /// Whether one of the server's sockets has this address.
    #[cold]
    fn is_own(&mut self, remote: &SocketAddr, now: Instant) -> bool {
        let mut on_wildcard = false;
        for socket in &self.sockets {
            match socket.may_have(remote) {
                Has::No => {}
                Has::Yes => return true,
                Has::IfThisHost => on_wildcard = true,
            }
        }
        on_wildcard && self.host.has(remote, now)
    }
}

/// Whether it is an address below 224.0.0.0, and not 0.0.0.0.
#[inline]
fn is_below_multicast(ip: Ipv4Addr) -> bool {
    (1..0xe000_0000).contains(&ip.to_bits())
}

/// Whether this is an address of one host: never port 0, nor an address that is not one host's. A
/// forged source of that kind would make the server send to many, or to nobody.
fn is_one_host(remote: &SocketAddr) -> bool {
    let ip = remote.ip().to_canonical(); // an IPv4-mapped address is the IPv4 address
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// One of the server's sockets.
#[derive(Debug, Clone, PartialEq)]
struct OwnSocket {
    bound: SocketAddr,
    /// Bound to every IPv6 address, and to every IPv4 address with that.
    takes_v4: bool,
    /// On a network in memory: bound to every address, it gets what nobody else is bound to.
    alone: bool,
}

/// Whether a socket has an address.
#[derive(Debug, PartialEq)]
enum Has {
    No,
    Yes,
    /// It is bound to every address of this host.
    IfThisHost,
}

impl OwnSocket {
    fn new(endpoint: &dyn Endpoint) -> Self {
        Self {
            bound: endpoint.local_addr(),
            takes_v4: endpoint.takes_v4(),
            alone: endpoint.socket().is_none(),
        }
    }

    fn may_have(&self, remote: &SocketAddr) -> Has {
        let (bound, ip) = (self.bound.ip().to_canonical(), remote.ip().to_canonical());
        if remote.port() != self.bound.port() {
            Has::No
        } else if !bound.is_unspecified() {
            match bound == ip && same_scope(ip, scope(&self.bound), scope(remote)) {
                true => Has::Yes,
                false => Has::No,
            }
        } else if ip.is_ipv4() != bound.is_ipv4() && !(ip.is_ipv4() && self.takes_v4) {
            Has::No
        } else if self.alone {
            Has::Yes
        } else {
            Has::IfThisHost
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::transport::host_addresses;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A filter of a server with sockets that are bound to these, on a host with these addresses,
    /// and how often they were read.
    fn filter(bound: &[&str], host: &'static [(&str, u32)]) -> (SourceFilter, Arc<Mutex<u32>>) {
        let socket = |bound: &&str| OwnSocket {
            bound: addr(bound),
            takes_v4: false,
            alone: false,
        };
        let mut filter = SourceFilter::of(bound.iter().map(socket).collect());
        let reads = Arc::new(Mutex::new(0));
        let count = Arc::clone(&reads);
        filter.host.read = Box::new(move || {
            *count.lock().unwrap() += 1;
            Ok(host
                .iter()
                .map(|(ip, number)| (ip.parse().unwrap(), *number))
                .collect())
        });
        (filter, reads)
    }

    #[track_caller]
    fn assert_answered(filter: &mut SourceFilter, answered: bool, sources: &[&str]) {
        for source in sources {
            let is = filter.is_answerable(&addr(source), Instant::now());
            assert_eq!(is, answered, "{source}");
        }
    }

    const HOST: &[(&str, u32)] = &[
        ("127.0.0.1", 1),
        ("10.9.0.1", 2),
        ("10.9.0.1", 3),
        ("2001:db8::9", 2),
        ("fe80::7", 2),
        ("fe80::7", 4),
        ("fe80::8", 3),
    ];

    #[test]
    fn l5_a_socket_of_one_address_has_that_address_alone() {
        let (mut filter, reads) = filter(&["10.9.0.1:7", "[2001:db8::9]:8", "127.0.0.1:9"], HOST);
        let own = [
            "10.9.0.1:7",
            "[::ffff:10.9.0.1]:7",
            "[2001:db8::9]:8",
            "127.0.0.1:9",
        ];
        assert_answered(&mut filter, false, &own);
        let others = [
            "10.9.0.1:8", // another server of this host
            "10.9.0.1:6",
            "10.9.0.2:7",
            "127.0.0.1:7",
            "127.0.0.2:9", // another server's, perhaps
            "[2001:db8::9]:7",
            "[2001:db8::8]:8",
        ];
        assert_answered(&mut filter, true, &others);
        assert_eq!(*reads.lock().unwrap(), 0);
    }

    #[test]
    fn l5_a_wildcard_socket_has_every_address_of_its_family_on_this_host() {
        let (mut filter, _) = filter(&["0.0.0.0:7", "[::]:8"], HOST);
        let own = [
            "10.9.0.1:7",
            "127.0.0.1:7",
            "127.200.3.4:7",
            "[::ffff:10.9.0.1]:7",
            "[::ffff:127.0.0.9]:7",
            "[2001:db8::9]:8",
            "[::1]:8",
        ];
        assert_answered(&mut filter, false, &own);
        let others = [
            "10.9.0.2:7",
            "10.9.0.1:8",
            "127.0.0.1:8",
            "10.9.0.1:9",
            "[::1]:7",
            "[2001:db8::9]:7",
            "[2001:db8::10]:8",
        ];
        assert_answered(&mut filter, true, &others);
    }

    #[test]
    fn l5_a_wildcard_socket_of_both_families_has_the_addresses_of_both() {
        let (mut filter, _) = filter(&["[::]:7"], HOST);
        assert_answered(&mut filter, true, &["10.9.0.1:7", "[::ffff:127.0.0.1]:7"]);
        filter.sockets[0].takes_v4 = true;
        let own = [
            "10.9.0.1:7",
            "[::ffff:10.9.0.1]:7",
            "127.0.0.1:7",
            "[2001:db8::9]:7",
        ];
        assert_answered(&mut filter, false, &own);
        assert_answered(&mut filter, true, &["10.9.0.2:7", "10.9.0.1:8"]);
    }

    #[test]
    fn l5_a_link_local_address_is_the_hosts_on_its_own_interface_alone() {
        let (mut wildcard, _) = filter(&["[::]:7"], HOST);
        let own = [
            "[fe80::7%2]:7",
            "[fe80::7%4]:7",
            "[fe80::8%3]:7",
            "[fe80::8]:7",
        ];
        assert_answered(&mut wildcard, false, &own);
        assert_answered(
            &mut wildcard,
            true,
            &["[fe80::7%3]:7", "[fe80::8%2]:7", "[fe80::9%2]:7"],
        );
        let (mut one, _) = filter(&["[fe80::7%2]:7"], HOST);
        assert_answered(&mut one, false, &["[fe80::7%2]:7"]);
        assert_answered(&mut one, true, &["[fe80::7%4]:7", "[fe80::8%2]:7"]);
    }

    #[test]
    fn l5_the_hosts_addresses_are_read_when_they_are_needed_and_once_a_second_at_most() {
        let (mut filter, reads) = filter(&["0.0.0.0:7"], HOST);
        let start = Instant::now();
        let mut ask = |source: &str, millis| {
            filter.is_answerable(&addr(source), start + Duration::from_millis(millis));
            *reads.lock().unwrap()
        };
        assert_eq!(ask("10.9.0.2:8", 0), 0, "another port");
        assert_eq!(ask("127.0.0.1:7", 0), 0, "known without");
        assert_eq!(ask("10.9.0.2:7", 10), 1);
        assert_eq!(ask("10.9.0.1:7", 1009), 1);
        assert_eq!(ask("10.9.0.1:7", 1010), 2);
        assert_eq!(ask("10.9.0.2:7", 2009), 2);
        assert_eq!(ask("10.9.0.2:8", 5000), 2);
        assert_eq!(ask("10.9.0.2:7", 5000), 3);
    }

    #[test]
    fn l5_an_address_that_the_host_gets_later_is_known_a_second_later() {
        let (mut filter, _) = filter(&["0.0.0.0:7"], HOST);
        let start = Instant::now();
        assert!(filter.is_answerable(&addr("10.9.0.2:7"), start));
        filter.host.read = Box::new(|| Ok(vec![("10.9.0.2".parse().unwrap(), 2)]));
        let later = start + HostAddresses::LASTS;
        assert!(!filter.is_answerable(&addr("10.9.0.2:7"), later));
        assert!(
            filter.is_answerable(&addr("10.9.0.1:7"), later),
            "it is gone"
        );
        // What cannot be read is as it was.
        filter.host.read = Box::new(|| Err(io::ErrorKind::PermissionDenied.into()));
        assert!(!filter.is_answerable(&addr("10.9.0.2:7"), later + HostAddresses::LASTS));
        assert!(!filter.is_answerable(&addr("127.0.0.9:7"), later));
    }

    #[test]
    fn l5_this_hosts_addresses_can_be_read() {
        assert!(
            host_addresses()
                .unwrap()
                .iter()
                .any(|(ip, _)| ip.is_loopback())
        );
    }

    #[test]
    fn l5_a_server_with_many_ports_knows_each_of_them() {
        let bound: Vec<_> = (1..=50)
            .rev()
            .map(|port| format!("192.0.2.1:{port}"))
            .collect();
        let bound: Vec<_> = bound.iter().map(String::as_str).collect();
        let (mut filter, _) = filter(&bound, HOST);
        assert_answered(&mut filter, false, &bound);
        assert_answered(&mut filter, true, &["192.0.2.1:51", "192.0.2.2:50"]);
    }
}
