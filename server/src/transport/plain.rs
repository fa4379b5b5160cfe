//! The transport of every system: tokio's own socket, one datagram per call.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
#[cfg(all(target_os = "linux", not(postbox_plain)))]
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::net::UdpSocket;

use super::socket::{ServerSocket, capacity, kernel_drops};
use super::{Capabilities, Endpoint, Meta, Outgoing, RecvBatch, SEND_BATCH, Sent, Transport};

/// A bound UDP socket, served one datagram at a time.
#[derive(Debug)]
pub(crate) struct PlainEndpoint {
    socket: Arc<ServerSocket>,
    local_addr: SocketAddr,
}

impl PlainEndpoint {
    /// Takes a bound socket.
    pub(crate) fn new(socket: ServerSocket, local_addr: SocketAddr) -> Self {
        Self {
            socket: Arc::new(socket),
            local_addr,
        }
    }
}

impl Endpoint for PlainEndpoint {
    fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    fn open(&self) -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(PlainTransport::new(&self.socket)?))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn drops(&self) -> Option<u64> {
        kernel_drops(&self.socket)
    }

    fn socket(&self) -> Option<&Arc<ServerSocket>> {
        Some(&self.socket)
    }
}

/// A tokio UDP socket.
#[derive(Debug)]
pub(super) struct PlainTransport {
    /// A duplicate of `shared`.
    socket: UdpSocket,
    shared: Arc<ServerSocket>,
    /// Why a receive failed: datagrams that another brought go first.
    failed: Option<io::Error>,
    /// The same socket, while receives do not ask the runtime whether anything is there.
    looks: Option<StdSocket>,
}

/// Receives in a row that may fail before others get a turn.
const FAILED_ROUNDS: usize = 16;

impl PlainTransport {
    /// Serves `shared`, which is bound; needs a tokio runtime with IO enabled.
    pub(super) fn new(shared: &Arc<ServerSocket>) -> io::Result<Self> {
        shared.set_nonblocking(true)?;
        // Nobody reads their queue here. It counts against the receive buffer, so it would make the
        // socket deaf.
        #[cfg(all(target_os = "linux", not(postbox_plain)))]
        super::sys::unset_recv_errors(shared.as_fd())?;
        Ok(Self {
            socket: watch(shared)?,
            shared: Arc::clone(shared),
            failed: None,
            looks: None,
        })
    }
}

/// Has the runtime watch a duplicate of the socket.
fn watch(socket: &ServerSocket) -> io::Result<UdpSocket> {
    UdpSocket::from_std(StdSocket::from(socket.try_clone()?))
}

impl Transport for PlainTransport {
    fn poll_recv(&mut self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<()>> {
        batch.clear();
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        for _ in 0..FAILED_ROUNDS {
            match self.socket.poll_recv_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending if self.looks.is_some() => {}
                Poll::Pending => match self.failed.take() {
                    Some(error) => return Poll::Ready(Err(error)),
                    None => return Poll::Pending,
                },
            }
            let (buffers, metas) = batch.refill();
            let mut received = 0;
            for (buffer, meta) in buffers.iter_mut().zip(metas) {
                let result = match &self.looks {
                    Some(socket) => socket.recv_from(buffer),
                    None => self.socket.try_recv_from(buffer),
                };
                match result {
                    Ok((len, remote)) => {
                        *meta = Meta {
                            remote,
                            local: None,
                            len,
                            segment: len,
                            truncated: false,
                        };
                        received += 1;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                    // Perhaps an earlier datagram's: then it is told once, in place of what is
                    // there.
                    Err(error) => {
                        self.failed = Some(error);
                        break;
                    }
                }
            }
            if received > 0 {
                batch.set_len(received);
                return Poll::Ready(Ok(()));
            }
            if self.failed.is_none() {
                self.looks = None; // it is empty
            }
        }
        // The runtime tells for ever of a socket that its user has shut down.
        let shut = || io::ErrorKind::NotConnected.into();
        Poll::Ready(Err(self.failed.take().unwrap_or_else(shut)))
    }

    fn look(&mut self) -> usize {
        self.looks = self.shared.try_clone().ok().map(StdSocket::from);
        capacity(&self.shared)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        datagrams: &[Outgoing],
    ) -> Poll<Sent> {
        let mut left = 0;
        let (mut tried_again, mut was_told_of_room) = (false, false);
        while let Some(datagram) = datagrams.get(left).filter(|_| left < SEND_BATCH) {
            let payload = &bytes[datagram.start..][..datagram.len];
            let Err(error) = self.socket.try_send_to(payload, datagram.remote) else {
                left += 1;
                continue;
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                _ if left > 0 => break, // the next call meets the error again, if it is its own
                io::ErrorKind::WouldBlock => {
                    // After an error on the socket the runtime tells of room for ever. A new
                    // registration knows nothing of it.
                    if std::mem::take(&mut was_told_of_room) {
                        match watch(&self.shared) {
                            Ok(socket) => self.socket = socket,
                            Err(error) => return Poll::Ready(Sent::Failed(error)),
                        }
                        cx.waker().wake_by_ref(); // a pending receive waits with the old one
                    }
                    if let Err(error) = ready!(self.socket.poll_send_ready(cx)) {
                        return Poll::Ready(Sent::Failed(error));
                    }
                    was_told_of_room = true;
                }
                // Perhaps an earlier datagram's, told once in place of a send. What fails again is
                // its own.
                _ if !std::mem::replace(&mut tried_again, true) => {}
                _ => return Poll::Ready(Sent::Failed(error)),
            }
        }
        Poll::Ready(Sent::Left(left))
    }
}
