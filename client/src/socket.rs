use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{Interest, Ready};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::{coop, spawn_blocking};

use crate::{ConnectError, ServerAddrs};

/// How often a send or a receive is tried that meets errors. The system tells what became of an
/// earlier datagram once, by failing the next call, whichever: so what fails again and again is its
/// own. More are only met if they arrive in between.
pub(crate) const ATTEMPTS: usize = 8;

/// Milliseconds of the pause after a send that met a full device. Each further one doubles it: an
/// eighth of a second for all attempts.
pub(crate) const FIRST_PAUSE: u64 = 1;

/// A connected socket: the system gives it only what its peer has sent.
#[derive(Debug)]
pub(crate) struct Socket {
    udp: UdpSocket,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// What became of an earlier datagram, for a receive that finds nothing else.
    earlier: Mutex<Option<io::Error>>,
    /// Wakes a receive that waits, when there is such an error.
    told: Notify,
}

impl Socket {
    /// Connects to the first address that works.
    pub(crate) async fn connect(addrs: impl ServerAddrs) -> Result<Self, ConnectError> {
        let resolved = addrs.host().resolve().await;
        let addrs = resolved.map_err(ConnectError::Resolve)?;
        connect_first(addrs, Self::from_connected)
    }

    /// Takes a socket that is connected already. Needs the runtime that it will wait with.
    pub(crate) fn from_connected(udp: net::UdpSocket) -> io::Result<Self> {
        udp.set_nonblocking(true)?;
        let (local, peer) = (udp.local_addr()?, udp.peer_addr()?);
        Ok(Self {
            udp: UdpSocket::from_std(udp)?,
            local,
            peer,
            earlier: Mutex::default(),
            told: Notify::new(),
        })
    }

    /// Sends one datagram. Dropping the future before it is ready sends nothing.
    pub(crate) async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        coop::consume_budget().await; // the system may take many without a pause
        let mut failed = None;
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let Err(error) = self.udp.try_send(datagram) else {
                // A refusal is kept already, and a full device was this packet's own.
                let earlier = failed.filter(|error| !is_refusal(error) && !is_full(error));
                earlier.into_iter().for_each(|error| self.keep(error));
                return Ok(());
            };
            match error.kind() {
                ErrorKind::WouldBlock => {
                    self.room().await?;
                    continue;
                }
                ErrorKind::Interrupted => continue,
                // The system does not tell when a device has room.
                _ if is_full(&error) && attempts + 1 < ATTEMPTS => {
                    pause(FIRST_PAUSE << attempts).await;
                }
                _ => self.drop_errors(),
            }
            attempts += 1;
            if is_refusal(&error) {
                self.keep(error); // never its own
                failed = Some(ErrorKind::ConnectionRefused.into());
            } else {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Waits until there may be room to send.
    async fn room(&self) -> io::Result<()> {
        let ready = self.udp.ready(Interest::WRITABLE).await?;
        // After any error on a socket the runtime tells of room for ever: it takes the error for
        // the end. Another registration knows nothing of it.
        #[cfg(unix)]
        if ready.is_write_closed() {
            use std::os::fd::AsFd;
            self.drop_errors(); // or there would be an error again
            let again = self.udp.as_fd().try_clone_to_owned()?;
            UdpSocket::from_std(again.into())?.writable().await?;
        }
        let _ = ready;
        Ok(())
    }

    /// Receives a datagram if one is there. Fails with what became of an earlier one if none is, or
    /// with *would block*.
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            match self.read(buffer) {
                Ok(len) => {
                    if let Some(error) = failed {
                        self.keep(error);
                    } else if self.lock().is_some() {
                        self.told.notify_one(); // another that waits, and finds nothing
                    }
                    return Ok(len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.drop_errors();
                    failed = Some(error);
                }
            }
        }
        let earlier = failed.or_else(|| self.lock().take());
        Err(earlier.unwrap_or_else(|| ErrorKind::WouldBlock.into()))
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
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

    /// Waits until there may be something to receive.
    pub(crate) async fn arrival(&self) -> io::Result<()> {
        let mut told = pin!(self.told.notified());
        let mut ready = pin!(self.udp.ready(Interest::READABLE | Interest::ERROR));
        poll_fn(|cx| match told.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => ready.as_mut().poll(cx).map(|ready| match ready? {
                // The runtime tells for ever of a socket that its user has shut down.
                Ready::READ_CLOSED => Err(ErrorKind::NotConnected.into()),
                _ => Ok(()),
            }),
        })
        .await
    }

    /// Keeps what became of an earlier datagram for a receive, in place of what was kept before.
    fn keep(&self, error: io::Error) {
        *self.lock() = Some(error);
        self.told.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Option<io::Error>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_errors(&self) {
        drop_errors(&SockRef::from(&self.udp));
    }
}

/// Empties the queue of ICMP errors, which a socket that the user made may have. They count against
/// its receive buffer: left alone they would make it deaf.
pub(crate) fn drop_errors(socket: &SockRef<'_>) {
    #[cfg(target_os = "linux")]
    for _ in 0..MAX_DROPPED {
        if socket.recv_with_flags(&mut [], libc::MSG_ERRQUEUE).is_err() {
            break;
        }
    }
    let _ = socket;
}

/// More errors than fit into the default receive buffer.
#[cfg(target_os = "linux")]
const MAX_DROPPED: usize = 1024;

/// Whether an earlier datagram came to a port where nobody listens. Windows calls it a reset.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
    )
}

/// Whether what was sent before takes up the device's queue.
pub(crate) fn is_full(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        error.raw_os_error() == Some(libc::ENOBUFS)
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// Waits so many milliseconds, also in a runtime without a clock.
async fn pause(millis: u64) {
    let _ = spawn_blocking(move || thread::sleep(Duration::from_millis(millis))).await;
}

fn bind_for(peer: SocketAddr) -> io::Result<net::UdpSocket> {
    let any = match peer {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    net::UdpSocket::bind((any, 0))
}

/// Connects to the first address that works. `make` takes the socket.
pub(crate) fn connect_first<S>(
    addrs: impl IntoIterator<Item = SocketAddr>,
    make: fn(net::UdpSocket) -> io::Result<S>,
) -> Result<S, ConnectError> {
    let mut result = Err(ConnectError::NoAddress);
    for addr in addrs {
        let connected = bind_for(addr).and_then(|udp| connect(udp, addr));
        let made = connected.and_then(make);
        result = made.map_err(|source| ConnectError::Connect { addr, source });
        if result.is_ok() {
            break;
        }
    }
    result
}

fn connect(udp: net::UdpSocket, peer: SocketAddr) -> io::Result<net::UdpSocket> {
    udp.connect(peer)?;
    udp.set_nonblocking(true)?;
    // What others sent to the port before it was connected. The peer does not know the port yet.
    while udp.recv(&mut []).is_ok() {}
    Ok(udp)
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

        let socket = Socket::from_connected(connect(udp, peer).unwrap()).unwrap();

        let nothing = socket.try_recv(&mut [0; 16]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        server.send_to(b"hello", socket.local).unwrap();
        socket.arrival().await.unwrap();
        assert_eq!(socket.try_recv(&mut [0; 16]).unwrap(), 5);
    }
}
