//! Path MTU discovery, which small IPv4 datagrams do without.
//!
//! By default the kernel is ready to cut every IPv4 datagram into fragments, and for that draws an
//! identification and looks up the path's MTU: 150 of some 2,800 ns that a send takes. A small
//! datagram passes every path whole. It leaves as it would by default, not to be fragmented, but
//! its identification is 0: it needs none (RFC 6864 section 4.1).

use std::os::fd::AsFd;
use std::sync::Arc;

use socket2::Socket;

use super::sys::{self, MtuDiscovery};

/// The longest small datagram: the kernel takes no path's MTU for less than 552 bytes, of which
/// the headers of IPv4 take 60 at most, and that of UDP 8.
pub(super) const SMALL: usize = 552 - 60 - 8;

/// Batches of small datagrams in a row after which discovery is switched off: the switch costs as
/// much as it saves on one datagram.
const SMALL_ROUNDS: u32 = 16;

/// Switches a socket's path MTU discovery, and leaves it as it was.
#[derive(Debug)]
pub(super) struct MtuSwitch {
    socket: Arc<Socket>,
    /// Nobody has chosen a mode for this socket, and no device is too narrow.
    ours: bool,
    off: bool,
    small_rounds: u32,
}

impl MtuSwitch {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        let mode = sys::mtu_discovery(socket.as_fd());
        Self {
            // With ICMP errors, a failed attempt would be told to the client.
            ours: mode.is_ok_and(|mode| mode == MtuDiscovery::Default)
                && !sys::tells_errors(socket.as_fd()),
            off: false,
            small_rounds: 0,
            socket,
        }
    }

    /// Chooses the mode for a batch that is about to be sent.
    pub(super) fn prepare(&mut self, longest: usize) {
        if !self.ours {
            return;
        }
        if longest > SMALL {
            self.switch_on();
        } else if !self.off {
            self.small_rounds += 1;
            if self.small_rounds > SMALL_ROUNDS {
                let set = sys::set_mtu_discovery(self.socket.as_fd(), MtuDiscovery::Off);
                self.off = set.is_ok();
                self.ours = self.off;
            }
        }
    }

    /// A datagram was too long for the device. Answers whether that is to be tried again, with
    /// fragments: from now on for good.
    pub(super) fn give_up(&mut self) -> bool {
        let was_off = self.off;
        self.switch_on();
        self.ours &= !was_off;
        was_off
    }

    fn switch_on(&mut self) {
        self.small_rounds = 0;
        if std::mem::take(&mut self.off) {
            // It worked in the other direction; without it, large datagrams fail and say so.
            let _ = sys::set_mtu_discovery(self.socket.as_fd(), MtuDiscovery::Default);
        }
    }
}

impl Drop for MtuSwitch {
    fn drop(&mut self) {
        self.switch_on(); // the socket may be served again
    }
}
