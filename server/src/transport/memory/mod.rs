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

use std::collections::VecDeque;
use std::net::SocketAddr;

pub(crate) use endpoint::MemoryEndpoint;
pub use network::MemoryNetwork;
pub use socket::MemorySocket;
pub(crate) use transport::MemoryTransport;

use super::MAX_PAYLOAD_V4;

/// The datagrams that wait at one address, at most; later ones are lost, as with a full socket
/// buffer. Room for one datagram from each of 10,000 clients.
const QUEUE_LEN: usize = 16_384;

/// The longest payload over IPv6: 65,535 less the UDP header.
const MAX_PAYLOAD_V6: usize = MAX_PAYLOAD_V4 + 20;

/// A datagram on its way.
#[derive(Debug)]
struct Datagram {
    source: SocketAddr,
    destination: SocketAddr,
    payload: Vec<u8>,
    /// The size of each part if several datagrams travel as one, else the payload's.
    segment: usize,
}

/// The datagrams that wait at one address.
#[derive(Debug, Default)]
struct Queue {
    datagrams: VecDeque<Datagram>,
    /// How many were lost for want of room.
    lost: u64,
}

impl Queue {
    fn push(&mut self, datagram: Datagram) {
        if self.datagrams.len() < QUEUE_LEN {
            self.datagrams.push_back(datagram);
        } else {
            self.lost += 1;
        }
    }
}
