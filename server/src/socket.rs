//! Opens UDP sockets, and the part of a socket that users may touch.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};

use socket2::Socket;

/// How sockets are opened.
#[derive(Clone, Debug)]
pub(crate) struct SocketConfig {
    pub(crate) reuse_port: bool,
    pub(crate) recv_buffer: Option<usize>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) tos: Option<u32>,
    pub(crate) ttl: Option<u32>,
    pub(crate) broadcast: bool,
    pub(crate) icmp_errors: bool,
    pub(crate) multicast: Vec<MulticastGroup>,
}

/// A multicast group to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MulticastGroup {
    V4 {
        group: Ipv4Addr,
        interface: Ipv4Addr,
    },
    V6 {
        group: Ipv6Addr,
        interface: u32,
    },
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            reuse_port: false,
            recv_buffer: Some(4 << 20),
            send_buffer: None,
            tos: None,
            ttl: None,
            broadcast: false,
            icmp_errors: false,
            multicast: Vec::new(),
        }
    }
}

/// Opens `sockets` sockets on one address.
pub(crate) fn open_group(
    _addr: SocketAddr,
    _sockets: usize,
    _config: &SocketConfig,
) -> io::Result<Vec<Socket>> {
    unimplemented!()
}

/// Returns how many datagrams the kernel dropped for this socket.
pub(crate) fn kernel_drops(_socket: &Socket) -> Option<u64> {
    None
}

/// The options of a server's socket.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    socket: Weak<Socket>,
}

impl SocketOptions {
    pub(crate) fn new(socket: &Arc<Socket>) -> Self {
        Self {
            socket: Arc::downgrade(socket),
        }
    }

    /// Returns the address that the socket is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let socket = self.socket.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}
