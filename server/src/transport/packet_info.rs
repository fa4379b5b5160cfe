//! What is told of a datagram beside its bytes and addresses, where the server asks for it.

use std::time::SystemTime;

pub use postbox_memory_network::Ecn;

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
