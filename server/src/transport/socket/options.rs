//! The part of a server's socket that its users may touch.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};

use socket2::Socket;

use super::ServerSocket;

/// The options of a server's socket.
///
/// It neither reads nor closes the socket, nor keeps it open. What can be set takes effect at
/// once, for all clients of the socket.
///
/// # Errors
///
/// Every method fails with [`NotConnected`](io::ErrorKind::NotConnected) once the socket is
/// closed, and else as the system does.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    socket: Weak<ServerSocket>,
}

impl SocketOptions {
    /// Gives access to the options of `socket` for as long as that lives.
    pub(crate) fn new(socket: &Arc<ServerSocket>) -> Self {
        Self {
            socket: Arc::downgrade(socket),
        }
    }

    /// Returns the address that the socket is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.with(|_, addr| Ok(addr))
    }

    /// Returns the bytes that may wait to be received, as granted.
    ///
    /// Linux counts its own bookkeeping as well, so it grants twice what was asked for. What was
    /// asked for counts up to `net.core.rmem_max`, unless the process had `CAP_NET_ADMIN` when it
    /// asked.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.with(|socket, _| socket.recv_buffer_size())
    }

    /// Asks for room for this many bytes to wait to be received: see
    /// [`ServerBuilder::recv_buffer`](crate::ServerBuilder::recv_buffer).
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.with(|socket, _| super::set_recv_buffer(socket, bytes))
    }

    /// Returns the bytes that may wait to be sent, as granted.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.with(|socket, _| socket.send_buffer_size())
    }

    /// Asks for room for this many bytes to wait to be sent.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.with(|socket, _| socket.set_send_buffer_size(bytes))
    }

    /// Returns the type of service (IPv4) or traffic class (IPv6) of what is sent.
    pub fn tos(&self) -> io::Result<u32> {
        self.with(|socket, addr| {
            if addr.is_ipv6() {
                tclass_v6(socket)
            } else {
                socket.tos_v4()
            }
        })
    }

    /// Sets the type of service (IPv4) or traffic class (IPv6) of what is sent, 0 to 255.
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        self.with(|socket, addr| set_tos(socket, addr.is_ipv6(), tos))
    }

    /// Returns how many hops what is sent may take.
    pub fn ttl(&self) -> io::Result<u32> {
        self.with(|socket, addr| {
            if addr.is_ipv6() {
                socket.unicast_hops_v6()
            } else {
                socket.ttl_v4()
            }
        })
    }

    /// Sets how many hops what is sent may take, 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.with(|socket, addr| set_ttl(socket, addr.is_ipv6(), ttl))
    }

    /// Tells whether sending to broadcast addresses is allowed.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.with(|socket, _| socket.broadcast())
    }

    /// Allows sending to broadcast addresses, or forbids it.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.with(|socket, _| socket.set_broadcast(broadcast))
    }

    /// Joins a group on the interface that has this address; the unspecified address lets the
    /// system choose.
    ///
    /// With several workers, join on the socket of one of them only: each socket that joined gets
    /// every datagram.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.with(|socket, _| socket.join_multicast_v4(&group, &interface))
    }

    /// Leaves a group.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.with(|socket, _| socket.leave_multicast_v4(&group, &interface))
    }

    /// Joins a group on the interface with this index; 0 lets the system choose.
    ///
    /// With several workers, join on the socket of one of them only: each socket that joined gets
    /// every datagram.
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        self.with(|socket, _| socket.join_multicast_v6(&group, interface))
    }

    /// Leaves a group.
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        self.with(|socket, _| socket.leave_multicast_v6(&group, interface))
    }

    /// Tells whether this machine hears what it sends to a group.
    pub fn multicast_loop(&self) -> io::Result<bool> {
        self.with(|socket, addr| {
            if addr.is_ipv6() {
                socket.multicast_loop_v6()
            } else {
                socket.multicast_loop_v4()
            }
        })
    }

    /// Lets this machine hear what it sends to a group, or not.
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        self.with(|socket, addr| {
            if addr.is_ipv6() {
                socket.set_multicast_loop_v6(on)
            } else {
                socket.set_multicast_loop_v4(on)
            }
        })
    }

    /// Returns how many hops what is sent to a group may take.
    pub fn multicast_ttl(&self) -> io::Result<u32> {
        self.with(|socket, addr| {
            if addr.is_ipv6() {
                socket.multicast_hops_v6()
            } else {
                socket.multicast_ttl_v4()
            }
        })
    }

    /// Sets how many hops what is sent to a group may take.
    pub fn set_multicast_ttl(&self, ttl: u32) -> io::Result<()> {
        self.with(|socket, addr| {
            if addr.is_ipv6() {
                socket.set_multicast_hops_v6(ttl)
            } else {
                socket.set_multicast_ttl_v4(ttl)
            }
        })
    }

    /// Does something with the socket if it is still open.
    fn with<T>(&self, act: impl FnOnce(&Socket, SocketAddr) -> io::Result<T>) -> io::Result<T> {
        let socket = self.socket.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let addr = super::local_addr(&socket)?;
        act(&socket, addr)
    }
}

/// Refuses what does not fit into the header's byte: the system may take a part of it, or take -1
/// for its default.
fn check_range(value: u32, least: u32) -> io::Result<()> {
    if (least..=u8::MAX.into()).contains(&value) {
        Ok(())
    } else {
        let range = format!("{value} is not within {least} and 255");
        Err(io::Error::new(io::ErrorKind::InvalidInput, range))
    }
}

pub(super) fn set_ttl(socket: &Socket, v6: bool, ttl: u32) -> io::Result<()> {
    check_range(ttl, 1)?;
    if v6 {
        socket.set_unicast_hops_v6(ttl)
    } else {
        socket.set_ttl_v4(ttl)
    }
}

pub(super) fn set_tos(socket: &Socket, v6: bool, tos: u32) -> io::Result<()> {
    check_range(tos, 0)?;
    if v6 {
        set_tclass_v6(socket, tos)
    } else {
        socket.set_tos_v4(tos)
    }
}

#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
fn tclass_v6(socket: &Socket) -> io::Result<u32> {
    socket.tclass_v6()
}

#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
fn set_tclass_v6(socket: &Socket, class: u32) -> io::Result<()> {
    socket.set_tclass_v6(class)
}

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd")))]
fn tclass_v6(_socket: &Socket) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd")))]
fn set_tclass_v6(_socket: &Socket, _class: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
