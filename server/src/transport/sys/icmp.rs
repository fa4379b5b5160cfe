//! The queue of ICMP errors, where a socket asks for them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::addr::RawAddr;
use super::check;
use super::cmsg::{Control, Messages, RECV_ROOM, read};

/// `sock_extended_err::ee_origin` of what another machine said, as against this system itself.
const FROM_ICMP: [u8; 2] = [libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6];

/// Takes the next error from the queue: whom the datagram was for, and what became of it. `None` if
/// the queue is empty; `Some(None)` for an error that the failing system call has told already.
pub(crate) fn next_error(socket: BorrowedFd<'_>) -> Option<Option<(SocketAddr, io::Error)>> {
    let mut name = RawAddr::EMPTY;
    let mut control = Control::<RECV_ROOM>::EMPTY;
    // SAFETY: a msghdr is integers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = RawAddr::ROOM;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = RECV_ROOM as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the header describes `name` and `control`, which live on, and their sizes; it states
    // no other memory for the kernel to write to. Both are initialised, and any bytes are a value
    // of theirs.
    check(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) } as libc::c_int)
        .ok()?;
    #[allow(clippy::unnecessary_cast)] // u32 with musl
    let written = (header.msg_controllen as usize).min(RECV_ROOM);
    let told = Messages(&control.0[..written]).find_map(|(level, kind, data)| {
        let extended = matches!(
            (level, kind),
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        );
        // A sock_extended_err begins with the error's number and where it comes from.
        let origin = data.get(4).filter(|_| extended)?;
        FROM_ICMP
            .contains(origin)
            .then(|| read::<libc::c_int>(data))?
    });
    Some(told.map(|code| (name.to_std(), io::Error::from_raw_os_error(code))))
}
