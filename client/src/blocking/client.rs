use std::fmt;
use std::io::ErrorKind;
use std::net::{self, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postbox_protocol::Protocol;

use super::AskingClient;
use super::socket::Socket;
use crate::ask::Matching;
use crate::codec::{decode, encode};
use crate::endpoint::max_payload;
use crate::shared::failure;
use crate::{ConnectError, ServerAddrs, UdpRecvError, UdpSendError, scratch};

/// A client of one UDP server that blocks: the twin of the async [`UdpClient`](crate::UdpClient),
/// whose methods say more.
///
/// ```no_run
/// use std::time::Duration;
///
/// use postbox_client::blocking::UdpClient;
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::{BoxError, DatagramProtocol};
///
/// fn main() -> Result<(), BoxError> {
///     let protocol = DatagramProtocol::new(JsonSerializer::<String, usize>::new());
///     let mut client = UdpClient::connect("localhost:9000", protocol)?;
///     client.send("hello".to_owned())?;
///     println!("{}", client.recv_timeout(Duration::from_secs(1))?);
///     Ok(())
/// }
/// ```
pub struct UdpClient<Sent, Received = Sent> {
    socket: Socket,
    protocol: Box<dyn Protocol<Sent = Sent, Received = Received>>,
    send_limit: usize,
    sending: BytesMut,
}

impl<Sent: 'static, Received: 'static> UdpClient<Sent, Received> {
    /// Opens a socket of its own for a server, of which `protocol` is the other side: see
    /// [`UdpClient::connect`](crate::UdpClient::connect).
    ///
    /// # Errors
    ///
    /// [`ConnectError`], if there is no address, or none works.
    pub fn connect<P>(addr: impl ServerAddrs, protocol: P) -> Result<Self, ConnectError>
    where
        P: Protocol<Sent = Sent, Received = Received>,
    {
        Ok(Self::new(Socket::connect(addr)?, protocol))
    }

    /// Uses a socket that the user made, bound and connected. Its timeouts and whether it blocks
    /// are the client's from now on, also for clones of the socket.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Socket`] if it is not connected.
    pub fn from_socket<P>(socket: net::UdpSocket, protocol: P) -> Result<Self, ConnectError>
    where
        P: Protocol<Sent = Sent, Received = Received>,
    {
        let socket = Socket::from_connected(socket).map_err(ConnectError::Socket)?;
        Ok(Self::new(socket, protocol))
    }

    fn new(socket: Socket, protocol: impl Protocol<Sent = Sent, Received = Received>) -> Self {
        Self {
            send_limit: max_payload(socket.peer),
            socket,
            protocol: Box::new(protocol),
            sending: BytesMut::new(),
        }
    }

    /// Sets the largest datagram that this client sends, in bytes: see
    /// [`UdpClient::with_send_limit`](crate::UdpClient::with_send_limit).
    #[must_use]
    pub fn with_send_limit(mut self, bytes: usize) -> Self {
        self.send_limit = bytes.min(max_payload(self.socket.peer));
        self
    }

    /// Makes a client that finds the answer to its question: see
    /// [`UdpClient::asking`](crate::UdpClient::asking).
    pub fn asking(self, matching: impl Matching<Sent, Received>) -> AskingClient<Sent, Received> {
        AskingClient::new(self, Box::new(matching))
    }

    /// Encodes a packet and sends it, as exactly one datagram. Waits while the system's send buffer
    /// is full.
    ///
    /// # Errors
    ///
    /// [`UdpSendError`] speaks of this packet only.
    pub fn send(&mut self, packet: Sent) -> Result<(), UdpSendError> {
        self.encode(packet)?;
        let sent = self.socket.send(&self.sending, None);
        sent.map_err(UdpSendError::Io)
    }

    /// Encodes a packet, to be sent by [`send_encoded`](Self::send_encoded).
    pub(super) fn encode(&mut self, packet: Sent) -> Result<(), UdpSendError> {
        self.sending.clear();
        encode(&*self.protocol, packet, self.send_limit, &mut self.sending)
    }

    pub(super) fn send_encoded(&mut self, deadline: Option<Instant>) -> std::io::Result<()> {
        self.socket.send(&self.sending, deadline)
    }

    /// Receives and decodes the next packet, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// [`UdpRecvError`] says what was wrong with this datagram, or, if none is there, what became
    /// of an earlier packet. One can go on receiving.
    pub fn recv(&mut self) -> Result<Received, UdpRecvError> {
        self.recv_until(None)
    }

    /// Receives and decodes the next packet, waiting for it at most `limit`.
    ///
    /// Zero answers [`UdpRecvError::TimedOut`] at once if nothing has arrived, and delivers if
    /// something has; [`Duration::MAX`] waits for ever. The answer never comes early.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`UdpRecvError::TimedOut`].
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Received, UdpRecvError> {
        self.recv_until(Instant::now().checked_add(limit))
    }

    /// Receives what arrives until `deadline`, and once in any case.
    pub(super) fn recv_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Received, UdpRecvError> {
        let mut buffer = scratch::take_receiving();
        let result = match self.socket.recv(&mut buffer, deadline) {
            Ok(len) => decode(&*self.protocol, &buffer[..len]),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(UdpRecvError::TimedOut),
            Err(error) => Err(failure(error)),
        };
        scratch::put_receiving(buffer);
        result
    }

    /// Receives and decodes the next packet if it has arrived already, and answers `None` if not.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Option<Result<Received, UdpRecvError>> {
        let mut buffer = scratch::take_receiving();
        let result = match self.socket.try_recv(&mut buffer) {
            Ok(len) => Some(decode(&*self.protocol, &buffer[..len])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(failure(error))),
        };
        scratch::put_receiving(buffer);
        result
    }

    /// Returns the address that this client sends from.
    pub fn local_addr(&self) -> SocketAddr {
        self.socket.local
    }

    /// Returns the server's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.socket.peer
    }
}

impl<Sent, Received> fmt::Debug for UdpClient<Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpClient")
            .field("local_addr", &self.socket.local)
            .field("peer_addr", &self.socket.peer)
            .finish_non_exhaustive()
    }
}
