//! A network without sockets, for tests and simulations.
//!
//! It behaves like UDP between processes on one machine: datagrams keep their bounds and their
//! order, one to an address that nobody uses is lost, and so is one for which there is no room.
//! Nothing in it depends on a clock or on chance.

mod endpoint;
mod faults;
mod network;
mod socket;
mod transport;

use std::net::SocketAddr;

pub(crate) use endpoint::MemoryEndpoint;
pub use network::MemoryNetwork;
pub use socket::MemorySocket;
#[cfg(test)]
pub(super) use transport::MemoryTransport;

/// The datagrams that wait at one address, at most; later ones are lost, as with a full socket
/// buffer. Room for one datagram from each of 10,000 clients.
const QUEUE_LEN: usize = 16_384;

/// A datagram on its way.
#[derive(Debug)]
struct Datagram {
    source: SocketAddr,
    destination: SocketAddr,
    payload: Vec<u8>,
    /// The size of each part if several datagrams travel as one, else the payload's.
    segment: usize,
}
