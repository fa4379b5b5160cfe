//! Socket options that socket2 lacks.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::c_int;

use super::check;

/// Asks for counters of a socket: 55 on every architecture but one. Not in all versions of libc.
const SO_MEMINFO: c_int = if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
    57
} else {
    55
};

/// Asks for the address that each datagram was sent to.
///
/// An IPv6 socket that also takes IPv4 has to ask for both forms: only IPv4's own tells the
/// interface's address beside a broadcast destination.
pub(crate) fn set_pktinfo(socket: BorrowedFd<'_>, v4: bool, v6: bool) -> io::Result<()> {
    if v4 {
        set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
    if v6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    }
    Ok(())
}

/// Lets the kernel hand over several datagrams as one.
pub(crate) fn set_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Tells whether the kernel may hand over several datagrams as one.
pub(crate) fn uses_gro(socket: BorrowedFd<'_>) -> bool {
    int(socket, libc::SOL_UDP, libc::UDP_GRO).is_ok_and(|on| on != 0)
}

/// Asks for ICMP errors.
pub(crate) fn set_recv_errors(socket: BorrowedFd<'_>, v4: bool, v6: bool) -> io::Result<()> {
    if v4 {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
    }
    if v6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
    }
    Ok(())
}

/// Tells whether the socket asks for ICMP errors.
pub(crate) fn tells_errors(socket: BorrowedFd<'_>) -> bool {
    RECV_ERRORS
        .iter()
        .any(|(level, name)| int(socket, *level, *name).is_ok_and(|on| on != 0))
}

/// Asks for no ICMP errors, and drops those that wait to be told.
pub(crate) fn unset_recv_errors(socket: BorrowedFd<'_>) -> io::Result<()> {
    for (level, name) in RECV_ERRORS {
        if int(socket, level, name).is_ok_and(|on| on != 0) {
            set(socket, level, name, 0)?;
        }
    }
    Ok(())
}

/// What asks for ICMP errors, for each family.
const RECV_ERRORS: [(c_int, c_int); 2] = [
    (libc::IPPROTO_IP, libc::IP_RECVERR),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
];

/// Sets the receive buffer beyond the system's limit, which needs CAP_NET_ADMIN.
pub(crate) fn force_recv_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    // The kernel doubles the value.
    let bytes = c_int::try_from(bytes)
        .unwrap_or(c_int::MAX)
        .min(c_int::MAX / 2);
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
}

/// Sends without fragments: what is longer than the device takes is refused, and the kernel neither
/// looks up the path's MTU nor draws an identification for each datagram (RFC 6864 section 4.1).
pub(crate) fn set_dont_fragment(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        let mode = libc::IPV6_PMTUDISC_PROBE;
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, mode)
    } else {
        let mode = libc::IP_PMTUDISC_PROBE;
        set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, mode)
    }
}

/// Returns how many datagrams were dropped on arrival, mostly for want of buffer.
pub(crate) fn kernel_drops(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // Nine values today; a longer answer of a newer kernel is cut.
    let mut info = [0u32; 16];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, which are integers.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            ptr::from_mut(&mut info).cast(),
            &raw mut len,
        )
    })?;
    Ok(u64::from(info[libc::SK_MEMINFO_DROPS as usize]))
}

/// Sends without UDP checksums, with which the kernel refuses segmentation offload.
#[cfg(test)]
pub(crate) fn disable_checksums(socket: &impl std::os::fd::AsFd) -> io::Result<()> {
    set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)
}

fn set(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one c_int from `value`.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

fn int(socket: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most one c_int to `value`.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    })?;
    Ok(value)
}
