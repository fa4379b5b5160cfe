//! Prefixes of source addresses: what a stranger can send from without further effort.

use std::net::IpAddr;

/// Where the IPv4-mapped addresses are: above their 32 bits.
pub(super) const MAPPED: u128 = 0xffff << 32;

/// An address as the bits of an IPv6 address. An IPv4 address is its IPv4-mapped one, so that both
/// of its forms are the same.
#[inline]
pub(crate) fn address_bits(ip: &IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => MAPPED | u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Cuts addresses to their prefixes, of one length for IPv4 and another for IPv6.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrefixMask {
    v4: u128,
    v6: u128,
}

impl PrefixMask {
    /// Lengths in bits. More than an address has is the whole address.
    pub(crate) const fn new(v4: u8, v6: u8) -> Self {
        Self {
            v4: leading(96 + if v4 < 32 { v4 } else { 32 }),
            v6: leading(v6),
        }
    }

    pub(super) const fn set_v4(&mut self, v4: u8) {
        self.v4 = Self::new(v4, 0).v4;
    }

    pub(super) const fn set_v6(&mut self, v6: u8) {
        self.v6 = Self::new(0, v6).v6;
    }

    /// The prefix of an address. That of an IPv4 address is none of IPv6.
    #[inline]
    pub(crate) fn prefix(&self, address: u128) -> u128 {
        let is_v4 = address >> 32 == MAPPED >> 32;
        address & if is_v4 { self.v4 } else { self.v6 }
    }
}

/// So many ones, then zeros.
const fn leading(ones: u8) -> u128 {
    match ones {
        0 => 0,
        1..128 => u128::MAX << (128 - ones),
        128.. => u128::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(mask: PrefixMask, one: &str, other: &str) -> bool {
        let prefix = |ip: &str| mask.prefix(address_bits(&ip.parse().unwrap()));
        prefix(one) == prefix(other)
    }

    #[test]
    fn l6_a_prefix_is_the_address_without_its_last_bits() {
        let mask = PrefixMask::new(24, 64);
        assert!(same(mask, "192.0.2.0", "192.0.2.255"));
        assert!(!same(mask, "192.0.2.0", "192.0.3.0"));
        assert!(same(mask, "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"));
        assert!(!same(mask, "2001:db8::", "2001:db8:0:1::"));
        let whole = PrefixMask::new(32, 128);
        assert!(!same(whole, "192.0.2.0", "192.0.2.1"));
        assert!(!same(whole, "2001:db8::", "2001:db8::1"));
        let longer = PrefixMask::new(255, 255);
        assert!(!same(longer, "192.0.2.0", "192.0.2.1"));
        assert!(!same(longer, "2001:db8::", "2001:db8::1"));
    }

    #[test]
    fn l6_a_mapped_address_is_the_ipv4_address_and_no_other_meets_one() {
        for mask in [PrefixMask::new(24, 64), PrefixMask::new(0, 0)] {
            assert!(same(mask, "192.0.2.1", "::ffff:192.0.2.9"));
            assert!(!same(mask, "192.0.2.1", "::"));
            assert!(!same(mask, "192.0.2.1", "2001:db8::1"));
        }
        let none = PrefixMask::new(0, 0);
        assert!(same(none, "192.0.2.1", "10.0.0.1"));
        assert!(same(none, "2001:db8::1", "::1"));
    }
}
