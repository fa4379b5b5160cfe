//! What a network did.

use crate::MemoryNetwork;

/// What a [`MemoryNetwork`] did with datagrams so far, whoever sent them. Coalesced ones count
/// singly.
///
/// None is forgotten: `sent + duplicated` is `delivered + lost + partitioned + unreachable +
/// overflowed + in_flight`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkStats {
    /// Datagrams that were sent.
    pub sent: u64,
    /// Datagrams that have arrived at a socket or a server, read or not.
    pub delivered: u64,
    /// Datagrams lost by chance.
    pub lost: u64,
    /// Datagrams lost in a partition.
    pub partitioned: u64,
    /// Datagrams for an address that nobody used when they arrived, or for a socket that was
    /// connected to somebody else.
    pub unreachable: u64,
    /// Datagrams for which their receiver had no room.
    pub overflowed: u64,
    /// Datagrams that are on their way now.
    pub in_flight: u64,
    /// Datagrams that were sent again by the network.
    pub duplicated: u64,
    /// Datagrams that were cut short.
    pub truncated: u64,
    /// Datagrams in which a byte was changed.
    pub corrupted: u64,
    /// Datagrams that were held back, for others to overtake them.
    pub reordered: u64,
}

impl MemoryNetwork {
    /// What the network did so far.
    pub fn stats(&self) -> NetworkStats {
        self.lock().stats()
    }
}
