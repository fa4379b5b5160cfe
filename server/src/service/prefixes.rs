//! How many clients wait of each source prefix.

use std::sync::atomic::{AtomicU32, Ordering};

use ahash::RandomState;

use crate::admission::PrefixMask;

/// Where a client's datagrams come from.
pub(crate) trait Source {
    /// As the bits of an IPv6 address; an IPv4 address is its IPv4-mapped one.
    fn address(&self) -> u128;
}

/// The prefixes whose clients are counted together: a /24 of IPv4, a /64 of IPv6.
const MASK: PrefixMask = PrefixMask::new(24, 64);

/// Prefixes of one count share their bound. A stranger who fills his own at the default bound of
/// clients, 65,536, fills that of one in so many others, and cannot choose which.
const COUNTS: usize = 65_536;

/// A bound, and a count for each place that a prefix hashes to.
#[derive(Debug)]
pub(super) struct Prefixes {
    max: usize,
    counts: Box<[AtomicU32]>,
    hasher: RandomState,
}

impl Prefixes {
    pub(super) fn new(max: usize, hasher: RandomState) -> Self {
        Self {
            max,
            counts: (0..COUNTS).map(|_| AtomicU32::new(0)).collect(),
            hasher,
        }
    }

    #[inline(never)] // few have this bound
    pub(super) fn admits(&self, address: u128) -> bool {
        (self.count(address).load(Ordering::Relaxed) as usize) < self.max
    }

    pub(super) fn add(&self, address: u128) {
        self.count(address).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, address: u128) {
        self.count(address).fetch_sub(1, Ordering::Relaxed);
    }

    fn count(&self, address: u128) -> &AtomicU32 {
        let hash = self.hasher.hash_one(MASK.prefix(address));
        &self.counts[hash as usize % COUNTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::address_bits;

    #[test]
    fn l1_the_clients_of_a_24_of_ipv4_and_of_a_64_of_ipv6_are_counted_together() {
        let prefixes = Prefixes::new(1, RandomState::with_seeds(1, 2, 3, 4));
        let bits = |ip: &str| address_bits(&ip.parse().unwrap());
        let one_of_each = [
            ["192.0.2.1", "192.0.2.255", "192.0.3.1"],
            ["::ffff:198.51.100.1", "198.51.100.2", "198.51.101.1"],
            ["2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1"],
        ];
        for [one, same, other] in one_of_each {
            prefixes.add(bits(one));
            assert!(!prefixes.admits(bits(same)), "{same}");
            assert!(prefixes.admits(bits(other)), "{other}");
        }
    }

    /// The places of a thousand prefixes.
    fn places(prefixes: &Prefixes) -> Vec<usize> {
        let place = |number: u128| {
            let count: *const AtomicU32 = prefixes.count(number << 64);
            (count.addr() - prefixes.counts.as_ptr().addr()) / size_of::<AtomicU32>()
        };
        (0..1000).map(place).collect()
    }

    #[test]
    fn l1_the_counts_of_prefixes_are_so_many_and_nobody_knows_whose_is_where() {
        let (one, two) = (
            Prefixes::new(5, RandomState::new()),
            Prefixes::new(5, RandomState::new()),
        );
        assert_eq!(size_of_val(&*one.counts), 256 * 1024);
        assert_ne!(places(&one), places(&two));
        let mut used = places(&one);
        used.sort_unstable();
        used.dedup();
        assert!(used.len() > 900, "spread: {}", used.len());
    }
}
