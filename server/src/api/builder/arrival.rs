//! What is to be told of each datagram.

use super::ServerBuilder;

/// # What is told of datagrams
///
/// What [`Arrival`](crate::Arrival) tells of each, beside what costs nothing.
impl ServerBuilder {
    /// Has the kernel tell when it received each datagram (`SO_TIMESTAMPNS`), for
    /// [`Arrival::kernel_time`](crate::Arrival::kernel_time). Default off. It holds for sockets that
    /// [you made](Self::from_sockets) and for networks in memory too.
    ///
    /// Datagrams are then received one by one, whatever [`offloads`](Self::offloads) say, as coalesced
    /// ones have one time for all. What had arrived before the kernel was asked has the time at which
    /// it was received from the kernel.
    ///
    /// Where the transport cannot tell it
    /// ([`Capabilities::kernel_time`](crate::Capabilities::kernel_time): elsewhere than on Linux,
    /// and with the [plain transport](Self::plain_transport)) it stays `None`. So do the hop limit
    /// and ECN.
    pub fn recv_kernel_time(mut self, ask: bool) -> Self {
        self.sockets.info.kernel_time = ask;
        self
    }

    /// Has the hop limit of each datagram told (`IP_RECVTTL`, `IPV6_RECVHOPLIMIT`), for
    /// [`Arrival::hop_limit`](crate::Arrival::hop_limit). Default off; where it holds, see
    /// [`recv_kernel_time`](Self::recv_kernel_time).
    pub fn recv_hop_limit(mut self, ask: bool) -> Self {
        self.sockets.info.hop_limit = ask;
        self
    }

    /// Has told what each datagram says of congestion (`IP_RECVTOS`, `IPV6_RECVTCLASS`), for
    /// [`Arrival::ecn`](crate::Arrival::ecn). Default off; where it holds, see
    /// [`recv_kernel_time`](Self::recv_kernel_time).
    pub fn recv_ecn(mut self, ask: bool) -> Self {
        self.sockets.info.ecn = ask;
        self
    }
}
