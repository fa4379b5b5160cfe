//! Path MTU discovery, which small IPv4 datagrams do without.
//!
//! By default the kernel is ready to cut every IPv4 datagram into fragments, and for that draws an
//! identification, and looks up the path's MTU: 150 of some 2,800 ns that a send takes. Small ones
//! pass whole. They leave as they would by default, not to be fragmented by others, but their
//! identification is 0: they need none (RFC 6864 section 4.1).

use std::os::fd::AsFd;
use std::sync::Arc;

use socket2::Socket;

use super::sys::{self, MtuDiscovery};

/// The longest datagram that passes every path: the narrowest links in use carry 256 bytes (AX.25),
/// of which the headers of IPv4 take 60 at most, and that of UDP 8.
///
/// Longer ones are left to the kernel. Where ICMP tells of a path below 552 bytes, it lets routers
/// cut what leaves, but not with discovery off: then it would be lost, and nobody told.
const SMALL: usize = 256 - 60 - 8;

/// Batches of small datagrams in a row, after which discovery is switched off: that costs as much
/// as it saves on one datagram. A longer one has it switched on at once.
const ROUNDS: u32 = 16;

/// Switches a socket's path MTU discovery, and leaves it as it was.
#[derive(Debug)]
pub(super) struct MtuSwitch {
    socket: Arc<Socket>,
    /// Nobody has chosen another mode, and no device was too narrow.
    ours: bool,
    off: bool,
    rounds: u32,
}

impl MtuSwitch {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        let mode = sys::mtu_discovery(socket.as_fd());
        Self {
            // With ICMP errors, what is refused and then sent in fragments would be told to the
            // client.
            ours: mode.is_ok_and(|mode| mode == MtuDiscovery::Default)
                && !sys::tells_errors(socket.as_fd()),
            socket,
            off: false,
            rounds: 0,
        }
    }

    /// Switches for a batch that is about to be sent.
    #[inline]
    pub(super) fn prepare(&mut self, longest: usize) {
        let off = longest <= SMALL && self.ours;
        if off == self.off {
            self.rounds = 0;
            return;
        }
        self.rounds += 1;
        if !off || self.rounds > ROUNDS {
            self.switch(off);
        }
    }

    /// A datagram was refused for its length. Answers whether it is to be tried again, with
    /// fragments: from now on for good.
    pub(super) fn give_up(&mut self) -> bool {
        if !self.off {
            return false;
        }
        self.ours = false;
        self.switch(false);
        !self.off
    }

    fn switch(&mut self, off: bool) {
        self.rounds = 0;
        let mode = if off {
            MtuDiscovery::Off
        } else {
            MtuDiscovery::Default
        };
        match sys::set_mtu_discovery(self.socket.as_fd(), mode) {
            Ok(()) => self.off = off,
            Err(_) => self.ours = false,
        }
    }
}

impl Drop for MtuSwitch {
    fn drop(&mut self) {
        if self.off {
            self.switch(false); // the socket may be served again
        }
    }
}
