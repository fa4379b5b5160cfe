//! The load generator: one thread, one socket, many clients.
//!
//! Each client has an address of its own, 127.x.y.z, so that many are sent and received in full
//! batches. It is a closed loop: a client asks again once it is answered. What is not answered in
//! time is counted as lost, and asked again. It never sleeps, so that waking it is not at the
//! server's cost.

mod bursts;
mod clients;
mod generator;
mod histogram;

pub(crate) use bursts::Bursts;
pub(crate) use generator::{BUFFER, Figures, Generator, is_passing};
pub(crate) use histogram::Histogram;

use std::net::SocketAddrV4;
use std::time::Duration;

/// What is asked of a server.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Whom it is asked of.
    pub(crate) server: SocketAddrV4,
    /// How many ask.
    pub(crate) clients: usize,
    /// How many unanswered requests each has.
    pub(crate) window: usize,
    /// How many unanswered requests there are in all, at most: the server's receive buffer must
    /// hold them.
    pub(crate) in_flight: usize,
    /// The request, and the answer.
    pub(crate) payload: Vec<u8>,
    /// When a request counts as lost.
    pub(crate) timeout: Duration,
}
