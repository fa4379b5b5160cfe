use std::io;
use std::net::{IpAddr, SocketAddr};

#[cfg(feature = "memory")]
use crate::memory::MemoryEnd;
use crate::socket::Socket;

/// The largest UDP payload over IPv4: 65,535 - 20 (IP header) - 8 (UDP header), RFC 791 and RFC
/// 768.
const MAX_PAYLOAD_V4: usize = 65_507;
/// The largest UDP payload over IPv6 without jumbograms: 65,535 - 8, RFC 8200 section 3 and RFC
/// 768.
const MAX_PAYLOAD_V6: usize = 65_527;

/// The largest datagram that this peer can be sent.
pub(crate) fn max_payload(peer: SocketAddr) -> usize {
    match peer.ip().to_canonical() {
        IpAddr::V4(_) => MAX_PAYLOAD_V4,
        IpAddr::V6(_) => MAX_PAYLOAD_V6,
    }
}

/// What a client sends with: it receives only what its peer has sent.
#[derive(Debug)]
pub(crate) enum Endpoint {
    Udp(Socket),
    #[cfg(feature = "memory")]
    Memory(MemoryEnd),
}

impl Endpoint {
    pub(crate) fn local_addr(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.local,
            #[cfg(feature = "memory")]
            Self::Memory(end) => end.local_addr(),
        }
    }

    pub(crate) fn peer_addr(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.peer,
            #[cfg(feature = "memory")]
            Self::Memory(end) => end.peer_addr(),
        }
    }

    /// The largest datagram that the peer can be sent.
    pub(crate) fn max_payload(&self) -> usize {
        max_payload(self.peer_addr())
    }

    /// Sends one datagram. Dropping the future before it is ready sends nothing.
    pub(crate) async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(datagram).await,
            #[cfg(feature = "memory")]
            Self::Memory(end) => end.send(datagram).await,
        }
    }

    /// Receives a datagram if one is there. Fails with what became of an earlier one if none is, or
    /// with *would block*.
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.try_recv(buffer),
            #[cfg(feature = "memory")]
            Self::Memory(end) => end.try_recv(buffer),
        }
    }

    /// Waits until there may be something to receive.
    pub(crate) async fn arrival(&self) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.arrival().await,
            #[cfg(feature = "memory")]
            Self::Memory(end) => end.arrival().await,
        }
    }
}
