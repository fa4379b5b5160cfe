//! Allowed and denied networks.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::prefix::{MAPPED, address_bits};
use super::{Admission, Incoming, Refused};

/// Admits by the network that a datagram comes from: a part of an [`Admission`] check, with the
/// name `networks`.
///
/// With an allow list only what is on it is admitted; what is on the deny list never is. The lists
/// may be long: it takes some ten comparisons to look into one of a thousand networks. They cannot
/// be changed, but [`ServerHandle::set_admission`](crate::ServerHandle::set_admission) replaces the
/// whole check.
///
/// IPv4-mapped IPv6 addresses are IPv4 addresses, on the lists and as sources; no other IPv6
/// network holds them, not even `::/0`.
///
/// ```
/// use postbox_server::{IpNet, Networks};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let networks = Networks::new()
///     .allow(["10.0.0.0/8".parse::<IpNet>()?, "2001:db8::/32".parse()?])
///     .deny(["10.66.0.0/16".parse::<IpNet>()?]);
/// assert!(networks.contains("10.1.2.3".parse()?));
/// assert!(!networks.contains("10.66.2.3".parse()?));
/// assert!(!networks.contains("192.0.2.1".parse()?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Networks {
    allowed: Option<Ranges>,
    denied: Ranges,
}

impl Networks {
    /// All networks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds networks to those that are allowed. From the first call on no others are: an empty list
    /// allows nobody.
    #[must_use]
    pub fn allow(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.allowed.get_or_insert_default().add(networks);
        self
    }

    /// Adds networks to those that are denied, also where they are allowed.
    #[must_use]
    pub fn deny(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.denied.add(networks);
        self
    }

    /// Whether datagrams from this address are admitted.
    pub fn contains(&self, source: IpAddr) -> bool {
        let address = address_bits(&source);
        let allowed = self.allowed.as_ref();
        allowed.is_none_or(|allowed| allowed.contain(address)) && !self.denied.contain(address)
    }
}

impl Admission for Networks {
    fn admit(&self, datagram: &Incoming<'_>) -> Result<(), Refused> {
        if self.contains(datagram.remote.ip()) {
            Ok(())
        } else {
            Err(Refused::by("networks"))
        }
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Networks")
            .field(
                "allowed",
                &self.allowed.as_ref().map(|allowed| allowed.0.len()),
            )
            .field("denied", &self.denied.0.len())
            .finish()
    }
}

/// Addresses from one to another, both included. Sorted, and none touches the next.
#[derive(Clone, Default)]
struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    fn add(&mut self, networks: impl IntoIterator<Item = IpNet>) {
        self.0.extend(networks.into_iter().flat_map(ranges));
        self.0.sort_unstable();
        self.0.dedup_by(|(next, end), (_, last)| {
            let touches = *next <= last.saturating_add(1);
            if touches {
                *last = (*last).max(*end);
            }
            touches
        });
    }

    fn contain(&self, address: u128) -> bool {
        let begun = self.0.partition_point(|(first, _)| *first <= address);
        let last = begun.checked_sub(1).and_then(|last| self.0.get(last));
        last.is_some_and(|(_, end)| address <= *end)
    }
}

/// The addresses of a network: two ranges where the IPv4-mapped ones lie in between.
fn ranges(network: IpNet) -> impl Iterator<Item = (u128, u128)> {
    const LAST_MAPPED: u128 = MAPPED | u32::MAX as u128;
    let first = address_bits(&network.network());
    let last = address_bits(&network.broadcast());
    let within = MAPPED <= first && last <= LAST_MAPPED;
    let below = (first < MAPPED).then(|| (first, last.min(MAPPED - 1)));
    let above = (last > LAST_MAPPED).then(|| (first.max(LAST_MAPPED + 1), last));
    let parts = [within.then_some((first, last)), below, above];
    parts.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets<const N: usize>(networks: [&str; N]) -> impl Iterator<Item = IpNet> {
        networks.into_iter().map(|network| network.parse().unwrap())
    }

    #[track_caller]
    fn assert_contains(networks: &Networks, inside: &[&str], outside: &[&str]) {
        for ip in inside {
            assert!(networks.contains(ip.parse().unwrap()), "{ip}");
        }
        for ip in outside {
            assert!(!networks.contains(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn l6_without_an_allow_list_all_networks_are_allowed_and_with_an_empty_one_none() {
        assert_contains(&Networks::new(), &["192.0.2.1", "2001:db8::1"], &[]);
        let nobody = Networks::new().allow([]);
        assert_contains(&nobody, &[], &["192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn l6_a_network_begins_with_its_first_address_and_ends_with_its_last() {
        let networks = Networks::new().allow(nets([
            "10.9.8.7/24", // whatever address of it is named
            "192.0.2.1/32",
            "0.0.0.0/8",
            "255.255.255.255/32",
            "2001:db8::/32",
        ]));
        let inside = [
            "10.9.8.0",
            "10.9.8.255",
            "192.0.2.1",
            "0.0.0.0",
            "0.255.255.255",
            "255.255.255.255",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        ];
        let outside = [
            "10.9.7.255",
            "10.9.9.0",
            "192.0.2.0",
            "192.0.2.2",
            "1.0.0.0",
            "255.255.255.254",
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
        ];
        assert_contains(&networks, &inside, &outside);
    }

    #[test]
    fn l6_what_is_denied_is_denied_also_where_it_is_allowed() {
        let networks = Networks::new()
            .deny(nets(["10.66.0.0/16"]))
            .allow(nets(["10.0.0.0/8", "10.66.6.0/24"]))
            .deny(nets(["10.77.0.0/16"]));
        let outside = ["10.66.0.1", "10.66.6.1", "10.77.0.1", "11.0.0.1"];
        assert_contains(&networks, &["10.65.0.1", "10.67.0.1"], &outside);
    }

    #[test]
    fn l6_networks_that_overlap_or_touch_are_one() {
        let networks = Networks::new().deny(nets([
            "10.0.4.0/24",
            "10.0.0.0/23",
            "10.0.2.0/24",
            "10.0.0.0/24",
            "10.0.2.128/25",
            "::/0",
            "2001:db8::/32",
        ]));
        assert_eq!(networks.denied.0.len(), 4);
        let outside = [
            "10.0.0.0",
            "10.0.1.0",
            "10.0.2.255",
            "10.0.4.9",
            "::",
            "::1",
            "ff::1",
        ];
        assert_contains(&networks, &["10.0.3.0", "10.0.5.0", "192.0.2.1"], &outside);
    }

    #[test]
    fn l6_mapped_addresses_are_ipv4_on_the_lists_and_as_sources() {
        let v6 = Networks::new().allow(nets(["::/0"]));
        let end = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let v4 = [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "::ffff:0.0.0.0",
            "255.255.255.255",
        ];
        assert_contains(&v6, &["::", "::fffe:ffff:ffff", "::1:0:0:0", end], &v4);
        let v4 = Networks::new().allow(nets(["192.0.2.0/24"]));
        assert_contains(&v4, &["192.0.2.1", "::ffff:192.0.2.1"], &["::192.0.2.1"]);
        let mapped = Networks::new().allow(nets(["::ffff:192.0.2.0/120"]));
        assert_contains(&mapped, &["192.0.2.1", "::ffff:192.0.2.1"], &["192.0.3.1"]);
    }
}
