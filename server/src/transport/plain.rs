//! The transport of every other system.

use std::io;
use std::task::{Context, Poll};

use socket2::Socket;

use super::{Capabilities, Outgoing, RecvBatch, Sent, Transport};

/// A tokio UDP socket, one datagram per call.
#[derive(Debug)]
pub(crate) struct PlainTransport {}

impl PlainTransport {
    /// Serves a duplicate of `socket`; needs a tokio runtime.
    pub(crate) fn new(_socket: &Socket) -> io::Result<Self> {
        Ok(Self {})
    }
}

impl Transport for PlainTransport {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            local_addr: false,
            truncation: false,
            icmp_errors: false,
            offloads: false,
        }
    }

    fn poll_recv(&mut self, _: &mut Context<'_>, _: &mut RecvBatch) -> Poll<io::Result<()>> {
        unimplemented!()
    }

    fn poll_send(&mut self, _: &mut Context<'_>, _: &[u8], _: &[Outgoing]) -> Poll<Sent> {
        unimplemented!()
    }
}
