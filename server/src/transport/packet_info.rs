//! What is told of a datagram beside its bytes and addresses, where the server asks for it.

use std::time::SystemTime;

/// What of it the server asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InfoAsked {
    pub(crate) kernel_time: bool,
    pub(crate) hop_limit: bool,
    pub(crate) ecn: bool,
}

impl InfoAsked {
    pub(crate) fn is_any(self) -> bool {
        self.kernel_time || self.hop_limit || self.ecn
    }
}

/// What is told of one datagram. `None` is what was not asked for, or is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PacketInfo {
    /// When the kernel received it, by the system's clock.
    pub(crate) kernel_time: Option<SystemTime>,
    /// The TTL of IPv4, or the hop limit of IPv6, that was left.
    pub(crate) hop_limit: Option<u8>,
    pub(crate) ecn: Option<Ecn>,
}

/// What a datagram says of congestion: the two bits of its IP header that RFC 3168 section 5
/// defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// Not-ECT, 00: its sender does not take part.
    NotEct,
    /// ECT(1), 01: its sender takes part, or asks for low latency (L4S, RFC 9331).
    Ect1,
    /// ECT(0), 10: its sender takes part.
    Ect0,
    /// CE, 11: a router on its way was congested.
    Ce,
}

impl Ecn {
    /// The two lowest bits of a type of service (IPv4) or traffic class (IPv6); those above are
    /// left out.
    pub fn from_bits(tos: u8) -> Self {
        match tos & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }
}
