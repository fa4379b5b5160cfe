//! ICMP errors are heard while a socket is served, and only then: what nobody takes from the
//! kernel's queue counts against the receive buffer, and anybody can forge them.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::socket::ServerSocket;
use super::sys;

/// Whether the transports of a socket hear ICMP errors.
#[derive(Debug)]
pub(super) struct IcmpErrors {
    socket: Arc<ServerSocket>,
    /// Those of IPv4 and of IPv6, as the socket asked when it came.
    asked: [bool; 2],
    /// How many transports are open. A dropped serving's may live on while the next begins.
    open: Mutex<usize>,
}

impl IcmpErrors {
    pub(super) fn new(socket: Arc<ServerSocket>) -> Arc<Self> {
        let asked = sys::tells_errors(socket.as_fd());
        let errors = Self {
            socket,
            asked,
            open: Mutex::new(0),
        };
        errors.ignore();
        Arc::new(errors)
    }

    /// Hears them, if the socket asked, until what this returns is dropped.
    pub(super) fn hear(self: &Arc<Self>) -> io::Result<Hearing> {
        let mut open = self.open();
        let [v4, v6] = self.asked;
        sys::set_recv_errors(self.socket.as_fd(), v4, v6)?;
        *open += 1;
        Ok(Hearing(Arc::clone(self)))
    }

    fn ignore(&self) {
        if !self.socket.is_handed_over() {
            let _ = sys::unset_recv_errors(self.socket.as_fd()); // what could be set can be unset
        }
    }

    fn open(&self) -> MutexGuard<'_, usize> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transport is open.
#[derive(Debug)]
pub(super) struct Hearing(Arc<IcmpErrors>);

impl Drop for Hearing {
    fn drop(&mut self) {
        let mut open = self.0.open();
        *open -= 1;
        if *open == 0 {
            self.0.ignore();
        }
    }
}
