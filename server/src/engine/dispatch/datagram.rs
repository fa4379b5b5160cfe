//! A datagram that waits.

use crate::config::DATAGRAM_OVERHEAD;
use crate::engine::stamp::PackedStamp;
use crate::transport::PacketInfo;

/// A datagram that waits, in memory of its own size (never in the buffer it was received in).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct QueuedDatagram {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) truncated: bool,
    /// When it arrived.
    pub(crate) at: PackedStamp,
    /// Where the server asks for it.
    pub(crate) info: Option<Box<PacketInfo>>,
}

impl QueuedDatagram {
    pub(crate) fn cost(&self) -> usize {
        let info = self.info.as_deref().map_or(0, size_of_val);
        self.bytes.len() + DATAGRAM_OVERHEAD + info
    }
}
