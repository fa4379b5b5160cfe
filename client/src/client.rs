use std::fmt;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use postbox_protocol::Protocol;
use tokio::time::timeout;

use crate::drain::Drain;
use crate::endpoint::Endpoint;
use crate::shared::Shared;
use crate::socket::Socket;
use crate::stream::Wait;
use crate::{ConnectError, ServerAddrs, UdpRecvError, UdpSendError};

/// A client of one UDP server: sends `Sent` to it, and receives `Received` from it.
///
/// Its socket is connected, so datagrams from anybody else are ignored. It takes `&self` and can be
/// cloned, so that one task sends while another receives. Clones share the socket, and each datagram
/// is received by **one** of them: tasks that ask and wait for their answers
/// [share an asking client](Self::asking).
///
/// It is also a [`Stream`](futures_core::Stream) of what [`recv`](Self::recv) answers, without an
/// end.
///
/// # Cancel safety
///
/// Here *cancel safe* means: dropping the future of a send before it is ready sends nothing, and
/// dropping the future of a receive before it is ready loses no datagram. All methods are.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use postbox_client::UdpClient;
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::{BoxError, DatagramProtocol};
///
/// #[tokio::main]
/// async fn main() -> Result<(), BoxError> {
///     // The client sends a text, and receives its length.
///     let protocol = DatagramProtocol::new(JsonSerializer::<String, usize>::new());
///     let client = UdpClient::connect("localhost:9000", protocol).await?;
///     client.send("hello".to_owned()).await?;
///     println!("{}", client.recv_timeout(Duration::from_secs(1)).await?);
///     Ok(())
/// }
/// ```
pub struct UdpClient<Sent, Received = Sent> {
    pub(crate) shared: Arc<Shared<Sent, Received>>,
    pub(crate) send_limit: usize,
    /// The wait of the stream, which lasts over several polls.
    pub(crate) wait: Wait<Received>,
}

impl<Sent: 'static, Received: 'static> UdpClient<Sent, Received> {
    /// Opens a socket of its own for a server, of which `protocol` is the other side
    /// ([`flip`](postbox_protocol::Flip::flip) gives it).
    ///
    /// The protocol is the client's: it sends what it asks, and receives what it is answered. Where
    /// the compiler finds `Sent` and `Received` the other way round, or a `send` that wants the
    /// answer's type, the protocol is the server's: `.flip()` it.
    ///
    /// The addresses of a name are tried in order, and the first that can be connected to is used.
    /// That shows only that this machine has a route to it: UDP tells nobody that a client is
    /// there.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], if there is no address, or none works.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready opens nothing.
    pub async fn connect<P>(addr: impl ServerAddrs, protocol: P) -> Result<Self, ConnectError>
    where
        P: Protocol<Sent = Sent, Received = Received>,
    {
        let socket = Socket::connect(addr).await?;
        Ok(Self::new(Endpoint::Udp(socket), protocol))
    }

    /// Uses a socket that the user made, bound and connected: from an address of their choice, with
    /// their options.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Socket`] if it is not connected, or cannot be made non-blocking.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn from_socket<P>(socket: net::UdpSocket, protocol: P) -> Result<Self, ConnectError>
    where
        P: Protocol<Sent = Sent, Received = Received>,
    {
        let socket = Socket::from_connected(socket).map_err(ConnectError::Socket)?;
        Ok(Self::new(Endpoint::Udp(socket), protocol))
    }

    pub(crate) fn new(
        socket: Endpoint,
        protocol: impl Protocol<Sent = Sent, Received = Received>,
    ) -> Self {
        Self {
            send_limit: socket.max_payload(),
            shared: Arc::new(Shared::new(socket, Box::new(protocol))),
            wait: Wait::default(),
        }
    }

    /// Sets the largest datagram that this client and its future clones send, in bytes. A larger
    /// packet is an error of [`send`](Self::send).
    ///
    /// Default 65,507 over IPv4 and 65,527 over IPv6, the most that UDP can carry. RFC 8085 section
    /// 3.2 advises to stay below the path's MTU (1,200 bytes are safe on the Internet).
    #[must_use]
    pub fn with_send_limit(mut self, bytes: usize) -> Self {
        self.send_limit = bytes.min(self.shared.socket.max_payload());
        self
    }

    /// Encodes a packet and sends it, as exactly one datagram. Waits while the system's send buffer
    /// is full.
    ///
    /// # Errors
    ///
    /// [`UdpSendError`] speaks of this packet only. That nobody listens at the server's address is
    /// learnt later, and told by a receive that finds nothing else. So is what else the network
    /// says of an earlier packet (by ICMP).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready sends nothing.
    pub async fn send(&self, packet: Sent) -> Result<(), UdpSendError> {
        self.shared.send(packet, self.send_limit).await
    }

    /// Receives and decodes the next packet, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// [`UdpRecvError`] says what was wrong with this datagram, or, if none is there, what became of
    /// an earlier packet. One can go on receiving.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no datagram.
    pub async fn recv(&self) -> Result<Received, UdpRecvError> {
        self.shared.recv().await
    }

    /// Receives and decodes the next packet, waiting for it at most `limit`.
    ///
    /// Zero answers [`UdpRecvError::TimedOut`] at once if nothing has arrived, and delivers if
    /// something has; [`Duration::MAX`] waits for ever. The answer never comes early.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`UdpRecvError::TimedOut`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled, unless `limit` is zero or [`Duration::MAX`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no datagram.
    pub async fn recv_timeout(&self, limit: Duration) -> Result<Received, UdpRecvError> {
        match limit {
            Duration::ZERO => self.try_recv().unwrap_or(Err(UdpRecvError::TimedOut)),
            Duration::MAX => self.recv().await,
            _ => match timeout(limit, self.recv()).await {
                Ok(result) => result,
                Err(_) => Err(UdpRecvError::TimedOut),
            },
        }
    }

    /// Receives and decodes the next packet if it has arrived already, and answers `None` if not.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&self) -> Option<Result<Received, UdpRecvError>> {
        self.shared.try_recv()
    }

    /// Returns an iterator over what has arrived already. It ends when nothing more is there, and
    /// after a failure of the socket; parse errors do not end it.
    pub fn drain(&self) -> Drain<'_, Sent, Received> {
        Drain::new(self)
    }

    /// Returns the address that this client sends from.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.socket.local_addr()
    }

    /// Returns the server's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.shared.socket.peer_addr()
    }
}

impl<Sent, Received> Clone for UdpClient<Sent, Received> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            send_limit: self.send_limit,
            wait: Wait::default(),
        }
    }
}

impl<Sent: 'static, Received: 'static> fmt::Debug for UdpClient<Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpClient")
            .field("local_addr", &self.local_addr())
            .field("peer_addr", &self.peer_addr())
            .finish_non_exhaustive()
    }
}
