//! What a worker is bound to. It outlives servings: each opens a transport on it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::socket::{ServerSocket, is_broadcast};
use super::{Capabilities, Transport};

/// A bound address of a server, for one worker: a socket, or a place in a network in memory.
///
/// What arrives while nothing serves waits here, as far as there is room. Dropping an endpoint
/// frees its address, at the latest when the last transport opened on it is dropped too.
pub(crate) trait Endpoint: Send + Sync {
    /// The address it is bound to.
    fn local_addr(&self) -> SocketAddr;

    /// Opens a transport for one serving, in which it is the only one. Called within the runtime
    /// that polls it.
    ///
    /// # Errors
    ///
    /// What the system says; the endpoint stays usable.
    fn open(&self) -> io::Result<Box<dyn Transport>>;

    /// What a transport of this endpoint can tell and do, as far as it is known now: an offload
    /// that the kernel has refused is `false` from then on.
    fn capabilities(&self) -> Capabilities;

    /// How many datagrams were lost on arrival, mostly for want of room; `None` where nobody tells.
    fn drops(&self) -> Option<u64>;

    /// Whether it is an IPv6 socket that takes IPv4 too.
    fn takes_v4(&self) -> bool {
        let socket = self.socket();
        socket.is_some_and(|socket| socket.only_v6().is_ok_and(|only| !only))
    }

    /// Whether its address is a broadcast address; for sockets the system is asked.
    fn is_broadcast(&self) -> bool {
        let addr = self.local_addr();
        match self.socket() {
            Some(_) => is_broadcast(addr).unwrap_or(false),
            None => matches!(addr.ip(), IpAddr::V4(ip) if ip.is_broadcast()),
        }
    }

    /// Whether its transports tell of each datagram what a server asks for.
    fn informs(&self) -> bool {
        false
    }

    /// Its socket, if it has one.
    fn socket(&self) -> Option<&Arc<ServerSocket>> {
        None
    }
}
