//! The system calls of the batched transport: the one folder where `unsafe` is allowed.
//!
//! | file | what |
//! |---|---|
//! | `addr.rs` | socket addresses in the kernel's form |
//! | `cmsg.rs` | control messages: reading and writing |
//! | `info.rs` | what they tell of a datagram where that is asked for |
//! | `icmp.rs` | the queue of ICMP errors |
//! | `recv.rs` | `recvmmsg` |
//! | `send.rs` | `sendmmsg`, with segmentation offload |
//! | `options.rs` | socket options that socket2 lacks |
//!
//! Every function here is safe to call: pointers never leave the folder, lengths are checked
//! against the buffers they belong to, and what the kernel writes is checked before it is used.

#![allow(unsafe_code)] // system calls: no crate offers recvmmsg, sendmmsg and pktinfo together

mod addr;
mod cmsg;
mod icmp;
mod info;
mod options;
mod recv;
mod send;

use std::io;

pub(crate) use icmp::next_error;
pub(crate) use options::{
    SavedOptions, force_recv_buffer, force_send_buffer, kernel_drops, set_dont_fragment, set_gro,
    set_pktinfo, set_recv_errors, set_recv_info, tells_errors, unset_foreign, unset_gro,
    unset_recv_errors, uses_gro, wake_for_errors,
};
#[cfg(test)]
pub(crate) use options::{disable_checksums, raw};
pub(crate) use recv::{Receiver, RecvFields};
pub(crate) use send::{BatchSendError, Sender};

/// Turns the -1 of a system call into its error.
fn check(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
