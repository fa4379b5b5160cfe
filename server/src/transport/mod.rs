//! How datagrams get in and out: a batch of addressed datagrams each way.
//!
//! A [`Transport`] is the one thing the receive loop knows about the network. There are three:
//!
//! | transport | where | local address on a wildcard bind | truncation seen | offloads |
//! |---|---|---|---|---|
//! | [`udp`] | Linux, batched system calls | yes | yes | yes |
//! | [`plain`] | everywhere, one datagram per call | no | no | no |
//! | [`memory`] | no socket at all: tests, simulation | yes | yes | no |
//!
//! Nothing here knows packets, clients or handlers. System calls that need `unsafe` are in
//! `sys/` and nowhere else.

mod batch;
mod memory;
#[cfg(target_os = "linux")]
mod mtu;
mod plain;
#[cfg(target_os = "linux")]
mod runs;
#[cfg(target_os = "linux")]
pub(crate) mod sys;
#[cfg(test)]
mod tests;
#[cfg(target_os = "linux")]
mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

pub(crate) use batch::{Meta, RecvBatch};
pub(crate) use memory::{MemoryEndpoint, MemoryTransport};
pub use memory::{MemoryNetwork, MemorySocket};
pub(crate) use plain::PlainTransport;
#[cfg(target_os = "linux")]
pub(crate) use udp::UdpTransport;

/// How many datagrams one [`Transport::poll_send`] looks at, at most. Larger batches gain nothing
/// measurable: the system call itself is under 3 % of the cost of 64 small datagrams.
pub(crate) const SEND_BATCH: usize = 64;

/// Moves batches of datagrams between one socket and its receive loop.
///
/// Both directions are polled by one task. Each keeps the waker of its own latest call.
pub(crate) trait Transport: Send + 'static {
    /// What this transport can tell and do.
    const CAPABILITIES: Capabilities;

    /// Fills `batch`, which it empties first, with at least one datagram.
    ///
    /// An error concerns no datagram in particular, and leaves the batch empty. Receiving may go
    /// on after it.
    fn poll_recv(&mut self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<()>>;

    /// Sends from the front of `datagrams`, as many as go out in one step.
    ///
    /// Pending means that none left, since the socket's buffer is full.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        datagrams: &[Outgoing],
    ) -> Poll<Sent>;

    /// What ICMP said of datagrams that had left: whom they were for, and why they did not arrive.
    /// Unless `look`, only what other calls have met.
    fn take_refused(&mut self, look: bool) -> Vec<(SocketAddr, io::Error)> {
        let _ = look;
        Vec::new()
    }
}

/// The local address that a datagram was sent to, and how to answer from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LocalAddr {
    /// The destination that the sender wrote, which may be a broadcast or multicast address.
    pub(crate) asked: IpAddr,
    /// The source that an answer leaves from; `None` lets the kernel choose.
    pub(crate) reply_from: Option<IpAddr>,
    /// The interface that an answer has to leave through; 0 lets the kernel choose. Kept where an
    /// address means nothing without it: link-local and multicast IPv6.
    pub(crate) interface: u32,
}

/// One datagram to send: a range of the bytes handed to [`Transport::poll_send`].
///
/// Segmentation offload joins neighbours only where their ranges touch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    /// Where it goes.
    pub(crate) remote: SocketAddr,
    /// Where it leaves from; `None` lets the kernel choose.
    pub(crate) local: Option<LocalAddr>,
    /// Where its payload starts.
    pub(crate) start: usize,
    /// The length of its payload, which may be 0.
    pub(crate) len: usize,
}

/// What one [`Transport::poll_send`] did.
#[derive(Debug)]
pub(crate) enum Sent {
    /// This many left, counted from the front; at least one.
    Left(usize),
    /// The first one failed, for this reason, and is to be skipped. The others were not tried.
    Failed(io::Error),
}

/// What a transport can tell and do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// On a wildcard bind, tells the address that was asked, and answers from it.
    pub local_addr: bool,
    /// Tells that a datagram did not fit and was cut.
    pub truncation: bool,
    /// Can tell ICMP errors (*port unreachable* and its like), where the socket asks for them.
    pub icmp_errors: bool,
    /// Receives coalesced datagrams and sends runs of answers in one go, if switched on.
    pub offloads: bool,
}
