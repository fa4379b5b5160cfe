use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::task::Poll;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{ToSocketAddrs, UdpSocket, lookup_host};
use tokio::sync::Notify;

use crate::ConnectError;

/// How often a send is tried again that met the refusals of earlier datagrams. Each attempt takes
/// one away, so more are only met if other tasks send to nobody at the same time.
const ATTEMPTS: usize = 8;

/// The largest UDP payload over IPv4: 65,535 - 20 (IP header) - 8 (UDP header), RFC 791 and RFC
/// 768.
const MAX_PAYLOAD_V4: usize = 65_507;
/// The largest UDP payload over IPv6 without jumbograms: 65,535 - 8, RFC 8200 section 3 and RFC
/// 768.
const MAX_PAYLOAD_V6: usize = 65_527;

/// A connected socket: the system gives it only what its peer has sent.
#[derive(Debug)]
pub(crate) struct Socket {
    udp: UdpSocket,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// A refusal that a send met, kept for a receive.
    refused: Notify,
}

impl Socket {
    /// Connects to the first address that works.
    pub(crate) async fn connect(addrs: impl ToSocketAddrs) -> Result<Self, ConnectError> {
        let mut result = Err(ConnectError::NoAddress);
        for addr in lookup_host(addrs).await.map_err(ConnectError::Resolve)? {
            let connected = bind_for(addr).and_then(|udp| connect(udp, addr));
            result = connected.map_err(|source| ConnectError::Connect { addr, source });
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Takes a socket that is connected already. Needs the runtime that it will wait with.
    pub(crate) fn from_connected(udp: net::UdpSocket) -> io::Result<Self> {
        udp.set_nonblocking(true)?;
        let (local, peer) = (udp.local_addr()?, udp.peer_addr()?);
        Ok(Self {
            udp: UdpSocket::from_std(udp)?,
            local,
            peer,
            refused: Notify::new(),
        })
    }

    /// The largest datagram that the peer can be sent.
    pub(crate) fn max_payload(&self) -> usize {
        match self.peer.ip().to_canonical() {
            IpAddr::V4(_) => MAX_PAYLOAD_V4,
            IpAddr::V6(_) => MAX_PAYLOAD_V6,
        }
    }

    /// Sends one datagram. Dropping the future before it is ready sends nothing.
    ///
    /// The system tells the refusal of an earlier datagram by failing the next call, which sends
    /// nothing then: that is kept for the next receive, and the send is tried again.
    pub(crate) async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let mut result = Ok(());
        for _ in 0..ATTEMPTS {
            result = self.udp.send(datagram).await.map(drop);
            match &result {
                Err(error) if is_refusal(error) => self.refused.notify_one(),
                _ => break,
            }
        }
        result
    }

    /// Receives a datagram if one is there, and fails with *would block* if none is.
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if pin!(self.refused.notified()).enable() {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let mut recv = || (&*SockRef::from(&self.udp)).read(buffer);
        // So that tokio learns when its record of what is there is out of date. One by one: it runs
        // nothing for a sum of interests.
        for interest in [Interest::READABLE, Interest::ERROR] {
            match self.udp.try_io(interest, &mut recv) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        recv() // the runtime may not have looked yet
    }

    /// Waits until there may be something to receive. Fails if it is a refusal that a send met.
    pub(crate) async fn arrival(&self) -> io::Result<()> {
        let mut refused = pin!(self.refused.notified());
        let mut ready = pin!(self.udp.ready(Interest::READABLE | Interest::ERROR));
        poll_fn(|cx| match refused.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(ErrorKind::ConnectionRefused.into())),
            Poll::Pending => ready.as_mut().poll(cx).map_ok(drop),
        })
        .await
    }
}

/// Whether an earlier datagram came to a port where nobody listens. Windows calls it a reset.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
    )
}

fn bind_for(peer: SocketAddr) -> io::Result<net::UdpSocket> {
    let any = match peer {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    net::UdpSocket::bind((any, 0))
}

fn connect(udp: net::UdpSocket, peer: SocketAddr) -> io::Result<Socket> {
    udp.connect(peer)?;
    udp.set_nonblocking(true)?;
    // What others sent to the port before it was connected. The peer does not know the port yet.
    while udp.recv(&mut []).is_ok() {}
    Socket::from_connected(udp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_came_before_the_socket_was_connected_is_not_received() {
        let server = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = server.local_addr().unwrap();
        let udp = bind_for(peer).unwrap();
        let early = SocketAddr::new(peer.ip(), udp.local_addr().unwrap().port());
        let stranger = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"too early", early).unwrap();
        stranger.send_to(b"", early).unwrap();

        let socket = connect(udp, peer).unwrap();

        let nothing = socket.try_recv(&mut [0; 16]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        server.send_to(b"hello", socket.local).unwrap();
        socket.arrival().await.unwrap();
        assert_eq!(socket.try_recv(&mut [0; 16]).unwrap(), 5);
    }
}
