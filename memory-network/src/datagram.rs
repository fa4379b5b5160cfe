use std::net::SocketAddr;

use tokio::time::Instant;

use crate::Ecn;

/// A datagram on its way, whose payload is copied where it is kept.
#[derive(Debug)]
pub(crate) struct Datagram<P = Vec<u8>> {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) payload: P,
    /// The size of each part if several datagrams travel as one, else the payload's.
    pub(crate) segment: u32,
    /// Its end was lost on the way.
    pub(crate) cut: bool,
    pub(crate) marks: Marks,
    /// When it arrived, where that is asked for.
    pub(crate) arrived: Option<Instant>,
}

/// What is in the IP header elsewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    pub(crate) hop_limit: u8,
    pub(crate) ecn: Ecn,
}

impl Default for Marks {
    /// As Linux sends.
    fn default() -> Self {
        Self {
            hop_limit: 64,
            ecn: Ecn::NotEct,
        }
    }
}

impl<P: AsRef<[u8]> + Into<Vec<u8>>> Datagram<P> {
    /// How many datagrams it is.
    pub(crate) fn count(&self) -> u64 {
        self.parts().count() as u64
    }

    /// Their payloads; an empty datagram is one too.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let payload = self.payload.as_ref();
        let empty = payload.is_empty().then_some(payload);
        payload.chunks(self.segment.max(1) as usize).chain(empty)
    }

    /// Gives it memory of its own.
    pub(crate) fn keep(self) -> Datagram {
        Datagram {
            source: self.source,
            destination: self.destination,
            payload: self.payload.into(),
            segment: self.segment,
            cut: self.cut,
            marks: self.marks,
            arrived: self.arrived,
        }
    }
}
