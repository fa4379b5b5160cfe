//! The options of the sockets that are opened.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::ServerBuilder;
use crate::transport::socket::MulticastGroup;

/// # Options of the sockets
///
/// What is asked of the sockets that the server opens itself.
impl ServerBuilder {
    /// Lets other sockets share the port (`SO_REUSEPORT`). Default: a port in use is an error,
    /// whatever the number of workers.
    ///
    /// Several workers share their own port by the same means. So another program of the same user
    /// that asks for `SO_REUSEPORT` can join them uninvited, which it cannot where there is one
    /// worker.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.sockets.reuse_port = reuse;
        self
    }

    /// Sets the receive buffer to ask the system for, in bytes. Default 4 MiB, since the kernel's
    /// own default holds about 280 small datagrams. Linux grants `net.core.rmem_max` at most,
    /// unless the process has `CAP_NET_ADMIN`; what was granted is told by
    /// [`SocketOptions::recv_buffer_size`](crate::SocketOptions::recv_buffer_size).
    pub fn recv_buffer(mut self, bytes: usize) -> Self {
        self.sockets.recv_buffer = Some(bytes);
        self
    }

    /// Sets the send buffer to ask the system for, in bytes. Default 4 MiB: answers to hosts of the
    /// own network that do not answer ARP or NDP stay in it for seconds, and with Linux's 208 KiB
    /// some hundred of them hold up everybody's. Linux grants `net.core.wmem_max` at most, unless
    /// the process has `CAP_NET_ADMIN`.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.sockets.send_buffer = Some(bytes);
        self
    }

    /// Sets the type of service (IPv4) or traffic class (IPv6) of what is sent: 0 to 255, others
    /// make binding fail. Default: the system's, 0.
    pub fn tos(mut self, tos: u32) -> Self {
        self.sockets.tos = Some(tos);
        self
    }

    /// Sets the hops that what is sent may take (TTL, or IPv6 hop limit): 1 to 255, others make
    /// binding fail. Default: the system's, mostly 64.
    pub fn ttl(mut self, hops: u32) -> Self {
        self.sockets.ttl = Some(hops);
        self
    }

    /// Refuses answers that are longer than the network device takes (1,472 bytes over IPv4 on
    /// Ethernet), instead of sending them in fragments. Default off. Linux only: elsewhere binding
    /// fails.
    ///
    /// RFC 8085 section 3.2 advises against fragments. And without them the kernel does not look up
    /// each client's path MTU, which is some 5 % of what a small answer costs.
    pub fn dont_fragment(mut self, dont: bool) -> Self {
        self.sockets.dont_fragment = dont;
        self
    }

    /// Asks for ICMP errors: a client that is gone makes its next [`flush`](crate::Client::flush)
    /// fail, and a receive that waits for it answers [`Unreachable`](crate::RecvError::Unreachable),
    /// once. Default off: unconnected sockets hear none.
    ///
    /// Linux only: elsewhere binding fails. The [plain transport](Self::plain_transport) hears
    /// none, whether they are asked for or not.
    pub fn icmp_errors(mut self, ask: bool) -> Self {
        self.sockets.icmp_errors = ask;
        self
    }

    /// Joins an IPv4 multicast group, on the interface with the given address.
    pub fn join_multicast_v4(mut self, group: Ipv4Addr, interface: Ipv4Addr) -> Self {
        self.sockets
            .multicast
            .push(MulticastGroup::V4 { group, interface });
        self
    }

    /// Joins an IPv6 multicast group, on the interface with the given index (0: the system
    /// chooses).
    pub fn join_multicast_v6(mut self, group: Ipv6Addr, interface: u32) -> Self {
        self.sockets
            .multicast
            .push(MulticastGroup::V6 { group, interface });
        self
    }
}
