//! What can be made to go wrong, for tests.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;

use crate::MemoryNetwork;

/// Makes an error; errors cannot be cloned.
type MakeError = fn() -> io::Error;

/// What is to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    opens: HashMap<SocketAddr, (usize, MakeError)>,
    receives: HashMap<SocketAddr, (usize, MakeError)>,
    panics: HashSet<SocketAddr>,
    sends: HashMap<SocketAddr, MakeError>,
    blocked: HashSet<SocketAddr>,
}

impl Faults {
    /// Takes one of the errors that opening a transport at `addr` is to end with.
    pub(crate) fn take_open(&mut self, addr: SocketAddr) -> Option<io::Error> {
        let (times, error) = self.opens.get_mut(&addr)?;
        *times = times.checked_sub(1)?;
        Some(error())
    }

    /// Takes one of the errors that receiving at `addr` is to end with.
    pub(crate) fn take_receive(&mut self, addr: SocketAddr) -> Option<io::Error> {
        let (times, error) = self.receives.get_mut(&addr)?;
        *times = times.checked_sub(1)?;
        Some(error())
    }

    /// Tells, once, that receiving at `addr` is to panic.
    pub(crate) fn take_panic(&mut self, addr: SocketAddr) -> bool {
        !self.panics.is_empty() && self.panics.remove(&addr)
    }

    /// Returns the error that sending to `remote` is to end with.
    pub(crate) fn send_error(&self, remote: SocketAddr) -> Option<io::Error> {
        self.sends.get(&remote).map(|error| error())
    }

    /// Tells whether nothing can leave from `addr` now.
    pub(crate) fn is_blocked(&self, addr: SocketAddr) -> bool {
        self.blocked.contains(&addr)
    }
}

/// What a network can be made to do to the server that is bound at `addr`: for tests of what a handler
/// and a server make of it.
impl MemoryNetwork {
    /// Makes the next servings at `addr` fail before they begin.
    pub fn fail_opens(&self, addr: SocketAddr, times: usize, error: fn() -> io::Error) {
        let mut state = self.lock();
        state.faults.opens.insert(addr, (times, error));
    }

    /// Makes the next receives at `addr` fail.
    pub fn fail_receives(&self, addr: SocketAddr, times: usize, error: fn() -> io::Error) {
        self.change(addr, |state| {
            state.faults.receives.insert(addr, (times, error));
        });
    }

    /// Makes the next receive at `addr` panic.
    pub fn panic_at_receive(&self, addr: SocketAddr) {
        self.change(addr, |state| {
            state.faults.panics.insert(addr);
        });
    }

    /// Makes every send to `remote` fail, or work again.
    pub fn fail_sends(&self, remote: SocketAddr, error: Option<fn() -> io::Error>) {
        let mut state = self.lock();
        match error {
            Some(error) => state.faults.sends.insert(remote, error),
            None => state.faults.sends.remove(&remote),
        };
    }

    /// Makes sending from `addr` wait, as if the socket's buffer were full, or go on.
    pub fn block_sends(&self, addr: SocketAddr, blocked: bool) {
        self.change(addr, |state| {
            if blocked {
                state.faults.blocked.insert(addr);
            } else {
                state.faults.blocked.remove(&addr);
            }
        });
    }
}
