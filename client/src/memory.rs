//! Clients on a network in memory.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use postbox_memory_network::{MemoryNetwork, MemorySocket};
use postbox_protocol::Protocol;
use tokio::task::coop;

use crate::endpoint::Endpoint;
use crate::{ConnectError, UdpClient};

/// For tests of handlers, and for simulations; with the feature `memory`.
///
/// The client is the same as on a socket, and follows the network's [conditions] and tokio's clock,
/// paused or running. Only, nothing refuses: what is sent to an address that nobody uses is lost in
/// silence, as behind a firewall, so [`UdpRecvError::Refused`](crate::UdpRecvError::Refused) does
/// not occur. Where datagrams are delayed it needs a tokio runtime with time enabled, and else
/// none.
///
/// [conditions]: postbox_memory_network::Conditions
impl<Sent: 'static, Received: 'static> UdpClient<Sent, Received> {
    /// Opens a client of the server at `addr` on a network in memory. The client's own address is a
    /// loopback one that is free there; the unspecified address is a loopback one too.
    ///
    /// ```
    /// use postbox_client::{MemoryNetwork, UdpClient};
    /// use postbox_protocol::{BoxError, DatagramProtocol, RawSerializer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let network = MemoryNetwork::new();
    /// // Here the server is a socket; mostly it is one that `bind_memory` made.
    /// let server = network.socket("127.0.0.1:9000".parse()?)?;
    ///
    /// let protocol = DatagramProtocol::new(RawSerializer);
    /// let client = UdpClient::connect_memory(&network, server.local_addr(), protocol)?;
    /// client.send("hello".into()).await?;
    ///
    /// let (datagram, from) = server.recv_from().await?;
    /// server.send_to(&datagram, from)?;
    /// assert_eq!(client.recv().await?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError::Connect`] if no port is free: there are 16,384.
    pub fn connect_memory<P>(
        network: &MemoryNetwork,
        addr: SocketAddr,
        protocol: P,
    ) -> Result<Self, ConnectError>
    where
        P: Protocol<Sent = Sent, Received = Received>,
    {
        let own = match addr {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        };
        let socket = network.socket(SocketAddr::new(own, 0));
        let socket = socket.map_err(|source| ConnectError::Connect { addr, source })?;
        socket.connect(addr);
        Self::from_memory_socket(socket, protocol)
    }

    /// Uses a socket that the user made on a network in memory, and connected: at an address of
    /// their choice, with their marks.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Socket`] if it is not [connected](MemorySocket::connect).
    pub fn from_memory_socket<P>(socket: MemorySocket, protocol: P) -> Result<Self, ConnectError>
    where
        P: Protocol<Sent = Sent, Received = Received>,
    {
        let peer = socket.peer_addr().ok_or(ErrorKind::NotConnected);
        let peer = peer.map_err(|kind| ConnectError::Socket(kind.into()))?;
        let end = MemoryEnd { socket, peer };
        Ok(Self::new(Endpoint::Memory(end), protocol))
    }
}

/// A connected socket on a network in memory.
#[derive(Debug)]
pub(crate) struct MemoryEnd {
    socket: MemorySocket,
    peer: SocketAddr,
}

impl MemoryEnd {
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        coop::consume_budget().await; // the network takes any number without a pause
        self.socket.send_to(datagram, self.peer)
    }

    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (datagram, _) = self.socket.try_recv_from()?;
        let len = datagram.len().min(buffer.len()); // several that travel as one may be longer
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }

    pub(crate) async fn arrival(&self) -> io::Result<()> {
        self.socket.readable().await;
        Ok(())
    }
}
