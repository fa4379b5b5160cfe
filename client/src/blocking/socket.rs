use std::io::{self, ErrorKind};
use std::net::{self, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::socket::{ATTEMPTS, FIRST_PAUSE, connect_first, drop_errors, is_full, is_refusal};
use crate::{ConnectError, ServerAddrs};

/// A connected socket, for one thing at a time: the twin of the async one, with the same word on
/// errors. It does not block but while it waits.
#[derive(Debug)]
pub(super) struct Socket {
    udp: net::UdpSocket,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    /// What became of an earlier datagram, for a receive that finds nothing else.
    earlier: Option<io::Error>,
}

impl Socket {
    pub(super) fn connect(addrs: impl ServerAddrs) -> Result<Self, ConnectError> {
        let resolved = addrs.host().resolve_blocking();
        let addrs = resolved.map_err(ConnectError::Resolve)?;
        connect_first(addrs, Self::from_connected)
    }

    pub(super) fn from_connected(udp: net::UdpSocket) -> io::Result<Self> {
        udp.set_nonblocking(true)?;
        Ok(Self {
            local: udp.local_addr()?,
            peer: udp.peer_addr()?,
            udp,
            earlier: None,
        })
    }

    /// Sends one datagram, and waits for room until the deadline.
    pub(super) fn send(&mut self, datagram: &[u8], deadline: Option<Instant>) -> io::Result<()> {
        let mut failed = None;
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let Err(error) = self.udp.send(datagram) else {
                // A refusal is kept already, and a full device was this packet's own.
                let earlier = failed.filter(|error| !is_refusal(error) && !is_full(error));
                self.earlier = earlier.or_else(|| self.earlier.take());
                return Ok(());
            };
            match error.kind() {
                ErrorKind::WouldBlock => {
                    match self.blocking(deadline, |udp| udp.send(datagram)) {
                        Ok(_) => return Ok(()),
                        Err(error) if is_timeout(&error) => left(deadline).map(drop)?,
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => {
                            attempts += 1;
                            failed = Some(self.earlier_or_own(error));
                        }
                    }
                    continue;
                }
                ErrorKind::Interrupted => continue,
                _ if is_full(&error) && attempts + 1 < ATTEMPTS => {
                    let pause = Duration::from_millis(FIRST_PAUSE << attempts);
                    thread::sleep(left(deadline)?.map_or(pause, |left| left.min(pause)));
                }
                _ => drop_errors(&SockRef::from(&self.udp)),
            }
            attempts += 1;
            failed = Some(self.earlier_or_own(error));
        }
        failed.map_or(Ok(()), Err)
    }

    /// A refusal is an earlier datagram's, and kept.
    fn earlier_or_own(&mut self, error: io::Error) -> io::Error {
        if !is_refusal(&error) {
            return error;
        }
        self.earlier = Some(error);
        ErrorKind::ConnectionRefused.into()
    }

    /// Receives a datagram if one is there. Fails with what became of an earlier one if none is, or
    /// with *would block*.
    pub(super) fn try_recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            match self.udp.recv(buffer) {
                Ok(len) => {
                    self.earlier = failed.or_else(|| self.earlier.take());
                    return Ok(len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    drop_errors(&SockRef::from(&self.udp));
                    failed = Some(error);
                }
            }
        }
        let earlier = failed.or_else(|| self.earlier.take());
        Err(earlier.unwrap_or_else(|| ErrorKind::WouldBlock.into()))
    }

    /// Lets one call on the socket block until the deadline.
    fn blocking<T>(
        &self,
        deadline: Option<Instant>,
        call: impl FnOnce(&net::UdpSocket) -> io::Result<T>,
    ) -> io::Result<T> {
        let left = left(deadline)?;
        self.udp.set_read_timeout(left)?;
        self.udp.set_write_timeout(left)?;
        self.udp.set_nonblocking(false)?;
        let result = call(&self.udp);
        self.udp.set_nonblocking(true)?;
        result
    }

    /// Receives a datagram, waiting for it until the deadline: then it is *timed out*.
    pub(super) fn recv(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let mut empty = 0;
        loop {
            match self.try_recv(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            match self.blocking(deadline, |udp| udp.peek(&mut [0])) {
                Err(error) if is_timeout(&error) => left(deadline).map(drop)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_refusal(&error) => self.earlier = Some(error),
                Err(error) => {
                    drop_errors(&SockRef::from(&self.udp));
                    self.earlier = Some(error);
                }
                // The system tells for ever of a socket that its user has shut down.
                Ok(0) if empty == ATTEMPTS => return Err(ErrorKind::NotConnected.into()),
                Ok(0) => empty += 1,
                Ok(_) => empty = 0,
            }
        }
    }
}

/// What is left until a deadline: `None` without one, *timed out* when it has passed.
fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    let Some(deadline) = deadline else {
        return Ok(None);
    };
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(Some(left)),
    }
}

/// What systems call a read or write timeout that has passed.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
