//! How datagrams get in and out: a batch of addressed datagrams each way.
//!
//! An [`Endpoint`] is what a worker is bound to, and a [`Transport`], which it opens for each
//! serving, the one thing the receive loop knows about the network. There are three of each:
//!
//! | transport | where | local address on a wildcard bind | truncation seen | offloads | kernel time, hop limit, ECN |
//! |---|---|---|---|---|---|
//! | [`udp`] | Linux, batched system calls | yes | yes | yes | yes |
//! | [`plain`] | everywhere, one datagram per call | no | no | no | no |
//! | [`memory`] | no socket at all: tests, simulation | yes | yes | no | yes |
//!
//! Nothing here knows packets, clients or handlers. Sockets are opened in `socket/`. System calls
//! that need `unsafe` are in `sys/` and nowhere else.

mod addressing;
mod batch;
mod endpoint;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod hearing;
mod host;
mod memory;
mod packet_info;
mod plain;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod readiness;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod segmentation;
pub(crate) mod socket;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
pub(crate) mod sys;
#[cfg(test)]
mod tests;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

pub use addressing::Addressing;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
pub(crate) use batch::Slots;
pub(crate) use batch::{Meta, RecvBatch};
pub(crate) use endpoint::Endpoint;
pub(crate) use host::host_addresses;
pub(crate) use memory::MemoryEndpoint;
pub use memory::{Conditions, MemoryNetwork, MemorySocket, NetworkStats};
pub use packet_info::Ecn;
pub(crate) use packet_info::{InfoAsked, PacketInfo};
pub(crate) use plain::PlainEndpoint;
pub use socket::SocketOptions;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
pub(crate) use udp::{COALESCED_LEN, UdpEndpoint};

/// The largest UDP payload over IPv4: 65,535 - 20 (IP header) - 8 (UDP header), RFC 791 and RFC
/// 768.
pub(crate) const MAX_PAYLOAD_V4: usize = 65_507;

/// The largest UDP payload over IPv6 without jumbograms: 65,535 - 8, RFC 8200 section 3 and RFC
/// 768.
pub(crate) const MAX_PAYLOAD_V6: usize = 65_527;

/// How many datagrams one [`Transport::poll_send`] looks at, at most. Larger batches gain nothing
/// measurable: the system call itself is under 3 % of the cost of 64 small datagrams.
pub(crate) const SEND_BATCH: usize = 64;

/// Moves batches of datagrams between one socket and its receive loop.
///
/// Both directions are polled by one task, and each keeps the waker of its own latest call. A
/// transport waits for nothing but its own socket, blocks never, and does a bounded amount of work
/// in a call. It may panic only for a bug of its own: that ends serving with an error.
pub(crate) trait Transport: Send {
    /// Fills `batch`, which it empties first, with datagrams in the order of their arrival.
    ///
    /// Pending means that nothing is there. A batch with none in it means that what was there is
    /// not for this socket, and that others get a turn before the transport looks for more.
    ///
    /// An error concerns no datagram in particular, and leaves the batch empty. Receiving may go
    /// on after it.
    fn poll_recv(&mut self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<()>>;

    /// The next receive looks for itself, also where nobody has told it of what is there. Returns
    /// how many datagrams may be there at most.
    fn look(&mut self) -> usize;

    /// Sends from the front of `datagrams`, as many as go out in one step.
    ///
    /// Pending means that none left, since the socket's buffer is full. What failed is the first
    /// datagram's own fault: no other keeps it from leaving, and it keeps no other.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        datagrams: &[Outgoing],
    ) -> Poll<Sent>;

    /// Whether the socket asks for ICMP errors.
    fn hears_icmp(&self) -> bool {
        false
    }

    /// What ICMP said of datagrams that had left: whom they were for, and why they did not arrive.
    /// Unless `look`, only what other calls have met.
    fn take_icmp_errors(&mut self, look: bool) -> Vec<(SocketAddr, io::Error)> {
        let _ = look;
        Vec::new()
    }

    /// How many more there were than [`take_icmp_errors`](Self::take_icmp_errors) could keep, since
    /// this was asked last.
    fn take_icmp_left_out(&mut self) -> u64 {
        0
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

impl LocalAddr {
    /// The other way around than [`local_addr`]: what a datagram that was sent to this address
    /// tells.
    pub(crate) fn of(addr: &SocketAddr) -> Self {
        let (asked, ip) = (addr.ip(), addr.ip().to_canonical());
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        Self {
            asked,
            reply_from: (!ip.is_multicast() && !broadcast).then_some(asked),
            interface: interface(addr),
        }
    }
}

/// The interface of an IPv6 address that means nothing without it; else 0.
pub(crate) fn interface(addr: &SocketAddr) -> u32 {
    match addr {
        SocketAddr::V6(addr) if addr.ip().is_multicast() || addr.ip().is_unicast_link_local() => {
            addr.scope_id()
        }
        _ => 0,
    }
}

/// The address that was asked, of a socket that is bound to this one. `None` where the transport
/// cannot tell.
pub(crate) fn local_addr(local: &Option<LocalAddr>, bound: SocketAddr) -> Option<SocketAddr> {
    match local {
        Some(local) => {
            let mut addr = SocketAddr::new(local.asked, bound.port());
            if let SocketAddr::V6(addr) = &mut addr {
                addr.set_scope_id(local.interface); // where it means nothing without
            }
            Some(addr)
        }
        None if bound.ip().is_unspecified() => None,
        None => Some(bound),
    }
}

/// One datagram to send: a range of the bytes handed to [`Transport::poll_send`].
///
/// Segmentation offload joins neighbours only where their ranges touch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    /// Where it goes.
    pub(crate) remote: SocketAddr,
    /// The number of the session there, which is nothing to a transport.
    pub(crate) session: u64,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Can tell when the kernel received each datagram, if asked to
    /// ([`recv_kernel_time`](crate::ServerBuilder::recv_kernel_time)).
    pub kernel_time: bool,
    /// Can tell the hop limit of each datagram, if asked to
    /// ([`recv_hop_limit`](crate::ServerBuilder::recv_hop_limit)).
    pub hop_limit: bool,
    /// Can tell what each datagram says of congestion, if asked to
    /// ([`recv_ecn`](crate::ServerBuilder::recv_ecn)).
    pub ecn: bool,
}

impl Capabilities {
    /// What two transports can both do.
    pub(crate) fn both(self, other: Self) -> Self {
        Self {
            local_addr: self.local_addr && other.local_addr,
            truncation: self.truncation && other.truncation,
            icmp_errors: self.icmp_errors && other.icmp_errors,
            offloads: self.offloads && other.offloads,
            kernel_time: self.kernel_time && other.kernel_time,
            hop_limit: self.hop_limit && other.hop_limit,
            ecn: self.ecn && other.ecn,
        }
    }
}
