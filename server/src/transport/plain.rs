//! The transport of every system: tokio's own socket, one datagram per call.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
#[cfg(all(target_os = "linux", not(postbox_plain)))]
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::{SockRef, Socket};
use tokio::net::UdpSocket;

use super::socket::{capacity, kernel_drops};
use super::{Capabilities, Endpoint, Meta, Outgoing, RecvBatch, SEND_BATCH, Sent, Transport};

/// A bound UDP socket, served one datagram at a time.
#[derive(Debug)]
pub(crate) struct PlainEndpoint {
    socket: Arc<Socket>,
    local_addr: SocketAddr,
}

impl PlainEndpoint {
    /// Takes a bound socket.
    pub(crate) fn new(socket: Socket, local_addr: SocketAddr) -> Self {
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

    fn socket(&self) -> Option<&Arc<Socket>> {
        Some(&self.socket)
    }
}

/// A tokio UDP socket.
#[derive(Debug)]
pub(super) struct PlainTransport {
    socket: UdpSocket,
    /// An error that came after some datagrams: those go first.
    error: Option<io::Error>,
    /// The same socket, while receives do not ask the runtime whether anything is there.
    looks: Option<StdSocket>,
    capacity: usize,
}

impl PlainTransport {
    /// Serves a duplicate of `socket`, which is bound; needs a tokio runtime with IO enabled.
    pub(super) fn new(socket: &Socket) -> io::Result<Self> {
        let capacity = capacity(socket);
        let socket = StdSocket::from(socket.try_clone()?);
        socket.set_nonblocking(true)?;
        // Nobody reads their queue here. It counts against the receive buffer, so it would make the
        // socket deaf.
        #[cfg(all(target_os = "linux", not(postbox_plain)))]
        super::sys::unset_recv_errors(socket.as_fd())?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            error: None,
            looks: None,
            capacity,
        })
    }
}

impl Transport for PlainTransport {
    fn poll_recv(&mut self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<()>> {
        batch.clear();
        if let Some(error) = self.error.take() {
            return Poll::Ready(Err(error));
        }
        loop {
            if self.looks.is_none() {
                ready!(self.socket.poll_recv_ready(cx))?;
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
                    Err(error) if received == 0 => return Poll::Ready(Err(error)),
                    Err(error) => {
                        self.error = Some(error);
                        break;
                    }
                }
            }
            if received == 0 {
                self.looks = None;
            } else {
                batch.set_len(received);
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn look(&mut self) -> usize {
        self.looks = SockRef::from(&self.socket)
            .try_clone()
            .ok()
            .map(StdSocket::from);
        self.capacity
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        datagrams: &[Outgoing],
    ) -> Poll<Sent> {
        let mut left = 0;
        let mut tried_again = false;
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
                    if let Err(error) = ready!(self.socket.poll_send_ready(cx)) {
                        return Poll::Ready(Sent::Failed(error));
                    }
                }
                // Another client's *port unreachable*, told once, in place of a send.
                io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
                    if !tried_again =>
                {
                    tried_again = true;
                }
                _ => return Poll::Ready(Sent::Failed(error)),
            }
        }
        Poll::Ready(Sent::Left(left))
    }
}
