//! A socket that a server has, and how one that its user made comes back.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Deref;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::Socket;

use crate::transport::InfoAsked;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
use crate::transport::sys;

/// A socket of a server. Dropping it closes it.
///
/// Options and `O_NONBLOCK` belong to the open socket, of which the user may keep a duplicate. So
/// one that the user made is as it was given once this is dropped, however that comes; unless it was
/// handed over.
pub(crate) struct ServerSocket {
    socket: Socket,
    given: Option<Given>,
    /// Its next owner uses it already, so its options are left as they are.
    handed_over: AtomicBool,
}

impl ServerSocket {
    /// One that the server opened itself.
    pub(crate) fn opened(socket: Socket) -> Self {
        Self {
            socket,
            given: None,
            handed_over: AtomicBool::new(false),
        }
    }

    /// Takes one that the user made, and remembers how it is.
    pub(crate) fn given(socket: UdpSocket) -> Self {
        let socket = Socket::from(socket);
        let given = Some(Given::of(&socket));
        let handed_over = AtomicBool::new(false);
        Self {
            socket,
            given,
            handed_over,
        }
    }

    /// Makes a socket that the user made one that can be served, and returns its address. It has to
    /// be bound.
    ///
    /// Options with which datagrams would be lost, joined or kept back are switched off.
    /// `coalesces`: what the kernel coalesces can be taken apart.
    pub(crate) fn prepare(&self, coalesces: bool) -> io::Result<SocketAddr> {
        let addr = super::local_addr(self)?;
        if addr.port() == 0 {
            let text = "it is not bound";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.set_nonblocking(true)?;
        #[cfg(all(target_os = "linux", not(postbox_plain)))]
        {
            sys::unset_foreign(self.as_fd())?;
            if !coalesces {
                sys::unset_gro(self.as_fd())?;
            }
        }
        let _ = coalesces;
        Ok(addr)
    }

    /// Asks the system for what is to be told of each datagram.
    pub(crate) fn ask(&self, info: InfoAsked) -> io::Result<()> {
        #[cfg(all(target_os = "linux", not(postbox_plain)))]
        {
            let is_v4 = super::local_addr(self)?.is_ipv4();
            let v4 = is_v4 || !self.only_v6()?;
            sys::set_recv_info(self.as_fd(), info, v4, !is_v4)?;
        }
        let _ = info;
        Ok(())
    }

    /// From now on it is another's too, and nothing of it is changed any more.
    pub(crate) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// Whether the user made it.
    #[cfg(all(target_os = "linux", not(postbox_plain)))]
    pub(crate) fn is_given(&self) -> bool {
        self.given.is_some()
    }
}

impl Deref for ServerSocket {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.socket
    }
}

#[cfg(unix)]
impl AsFd for ServerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for ServerSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for ServerSocket {
    fn drop(&mut self) {
        if let Some(given) = self.given.as_ref().filter(|_| !self.is_handed_over()) {
            given.restore(&self.socket);
        }
    }
}

impl fmt::Debug for ServerSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

/// How a socket was when the user gave it.
struct Given {
    #[cfg(unix)]
    nonblocking: Option<bool>,
    #[cfg(all(target_os = "linux", not(postbox_plain)))]
    options: sys::SavedOptions,
}

impl Given {
    fn of(socket: &Socket) -> Self {
        let _ = socket;
        Self {
            #[cfg(unix)]
            nonblocking: socket.nonblocking().ok(),
            #[cfg(all(target_os = "linux", not(postbox_plain)))]
            options: sys::SavedOptions::of(socket.as_fd()),
        }
    }

    /// As far as the system lets it: nobody is left who could be told.
    fn restore(&self, socket: &Socket) {
        let _ = socket;
        #[cfg(all(target_os = "linux", not(postbox_plain)))]
        self.options.restore(socket.as_fd());
        #[cfg(unix)]
        if let Some(nonblocking) = self.nonblocking {
            let _ = socket.set_nonblocking(nonblocking);
        }
    }
}
