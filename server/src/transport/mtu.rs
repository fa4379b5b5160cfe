//! Path MTU discovery, of which small IPv4 datagrams need less than others.
//!
//! By default the kernel is ready to cut every IPv4 datagram into fragments, and for that draws an
//! identification, and looks up the path's MTU: 150 of some 2,800 ns that a send takes. Small ones
//! pass whole. They leave as they would by default, not to be fragmented by others, but their
//! identification is 0: they need none (RFC 6864 section 4.1).

use std::os::fd::AsFd;
use std::sync::Arc;

use socket2::Socket;

use super::sys::{self, MtuDiscovery};

/// The longest datagram that passes every path. The kernel learns of no path's MTU below 552 bytes
/// (`net.ipv4.route.min_pmtu`), and the narrowest links in use for which a route may be set up by
/// hand carry 256 (AX.25). Of these the headers of IPv4 take 60 at most, and that of UDP 8.
///
/// A path below 552 bytes of which only ICMP tells is another matter. By default the kernel then
/// lets routers cut what leaves, and all but the first datagram arrive. In the two other modes what
/// is too long for that path is lost, and nobody is told.
const SMALL: usize = 256 - 60 - 8;

/// The longest that passes whole wherever QUIC does (RFC 9000 section 14). The kernel still looks
/// whether the path is known to be narrower, and refuses it then.
const MEDIUM: usize = 1200;

/// Batches in a row that need less, after which the mode is changed: that costs as much as it saves
/// on one datagram. One that needs more has it changed at once.
const ROUNDS: u32 = 16;

/// Switches a socket's path MTU discovery, and leaves it as it was.
#[derive(Debug)]
pub(super) struct MtuSwitch {
    socket: Arc<Socket>,
    mode: MtuDiscovery,
    /// The longest that has not been refused; 0 where this is not to be touched.
    limit: usize,
    rounds: u32,
}

impl MtuSwitch {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        let mode = sys::mtu_discovery(socket.as_fd());
        // Somebody may have chosen another mode. With ICMP errors, what is refused and then sent in
        // fragments would be told to the client.
        let ours = mode.is_ok_and(|mode| mode == MtuDiscovery::Default)
            && !sys::tells_errors(socket.as_fd());
        Self {
            socket,
            mode: MtuDiscovery::Default,
            limit: if ours { MEDIUM } else { 0 },
            rounds: 0,
        }
    }

    /// Chooses the mode for a batch that is about to be sent.
    #[inline]
    pub(super) fn prepare(&mut self, longest: usize) {
        let enough = if longest > self.limit {
            MtuDiscovery::Default
        } else if longest > SMALL {
            MtuDiscovery::Whole
        } else if self.limit > 0 {
            MtuDiscovery::Off
        } else {
            MtuDiscovery::Default
        };
        if enough == self.mode {
            self.rounds = 0;
            return;
        }
        self.rounds += 1;
        if enough > self.mode || self.rounds > ROUNDS {
            self.set(enough);
        }
    }

    /// A datagram was refused for its length. Answers whether it is to be tried again, with
    /// fragments: from now on for good.
    pub(super) fn give_up(&mut self) -> bool {
        self.limit = match self.mode {
            MtuDiscovery::Off => 0,
            MtuDiscovery::Whole => SMALL,
            MtuDiscovery::Default => return false,
        };
        self.set(MtuDiscovery::Default);
        self.mode == MtuDiscovery::Default
    }

    fn set(&mut self, mode: MtuDiscovery) {
        self.rounds = 0;
        match sys::set_mtu_discovery(self.socket.as_fd(), mode) {
            Ok(()) => self.mode = mode,
            // It has worked before, or was never changed.
            Err(_) => self.limit = 0,
        }
    }
}

impl Drop for MtuSwitch {
    fn drop(&mut self) {
        if self.mode != MtuDiscovery::Default {
            self.set(MtuDiscovery::Default); // the socket may be served again
        }
    }
}
