//! A network without sockets, for tests and simulations.
//!
//! It behaves like UDP between processes on one machine: datagrams keep their bounds and their
//! order, one to an address that nobody uses is lost, and so is one for which there is no room.
//! Nothing in it depends on a clock or on chance, unless conditions are set: then it behaves like a
//! network on which datagrams are lost, late or changed, by a seed.
//!
//! | file | what |
//! |---|---|
//! | `network.rs`, `socket.rs` | what users have: the network, a client's socket |
//! | `endpoint.rs`, `transport.rs` | the server's end |
//! | `addresses.rs`, `queue.rs` | who uses which address, and what waits there |
//! | `state.rs` | where a datagram goes, and when it arrives |
//! | `conditions.rs`, `model.rs` | what can happen to one; what does, by chance |
//! | `flight.rs` | what is on its way for a while |
//! | `faults.rs` | what is made to fail |

mod addresses;
mod conditions;
mod endpoint;
mod faults;
mod flight;
mod model;
mod network;
mod queue;
mod socket;
mod state;
mod stats;
mod transport;

use std::net::SocketAddr;

use tokio::time::Instant;

pub use conditions::Conditions;
pub(crate) use endpoint::MemoryEndpoint;
pub use network::MemoryNetwork;
pub use socket::MemorySocket;
pub use stats::NetworkStats;
#[cfg(test)]
pub(super) use transport::MemoryTransport;

use crate::transport::Ecn;

/// The datagrams that wait at one address, at most, and those on their way there; later ones are
/// lost, as with a full socket buffer. Room for one datagram from each of 10,000 clients.
const QUEUE_LEN: usize = 16_384;

/// A datagram on its way, whose payload is copied where it is kept.
#[derive(Debug)]
struct Datagram<P = Vec<u8>> {
    source: SocketAddr,
    destination: SocketAddr,
    payload: P,
    /// The size of each part if several datagrams travel as one, else the payload's.
    segment: u32,
    /// Its end was lost on the way.
    cut: bool,
    marks: Marks,
    /// When it arrived, where that is asked for.
    arrived: Option<Instant>,
}

/// What is in the IP header elsewhere.
#[derive(Debug, Clone, Copy)]
struct Marks {
    hop_limit: u8,
    ecn: Ecn,
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
    fn count(&self) -> u64 {
        self.parts().count() as u64
    }

    /// Their payloads; an empty datagram is one too.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let payload = self.payload.as_ref();
        let empty = payload.is_empty().then_some(payload);
        payload.chunks(self.segment.max(1) as usize).chain(empty)
    }

    /// Gives it memory of its own.
    fn keep(self) -> Datagram {
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
