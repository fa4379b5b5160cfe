//! The batched transport of Linux.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::Socket;

use super::{Capabilities, Outgoing, RecvBatch, Sent, Transport};

/// A UDP socket with batched system calls.
#[derive(Debug)]
pub(crate) struct UdpTransport {
    socket: Arc<Socket>,
}

impl UdpTransport {
    /// Serves `socket`; needs a tokio runtime.
    pub(crate) fn new(socket: Arc<Socket>, offloads: bool) -> io::Result<Self> {
        let _ = offloads;
        Ok(Self { socket })
    }
}

impl Transport for UdpTransport {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            local_addr: true,
            truncation: true,
            icmp_errors: true,
            offloads: true,
        }
    }

    fn poll_recv(&mut self, _: &mut Context<'_>, _: &mut RecvBatch) -> Poll<io::Result<()>> {
        let _ = &self.socket;
        unimplemented!()
    }

    fn poll_send(&mut self, _: &mut Context<'_>, _: &[u8], _: &[Outgoing]) -> Poll<Sent> {
        unimplemented!()
    }
}
