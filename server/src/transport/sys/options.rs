//! Socket options that socket2 lacks.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::c_int;

use super::check;
use crate::transport::InfoAsked;

/// Asks for counters of a socket: 55 on every architecture but one. Not in all versions of libc.
const SO_MEMINFO: c_int = if IS_SPARC { 57 } else { 55 };

/// `SO_TIMESTAMP` and `SO_TIMESTAMPNS` with eight bytes for the seconds, wherever. Not in all versions
/// of libc.
const SO_TIMESTAMP_NEW: c_int = if IS_SPARC { 0x46 } else { 63 };
const SO_TIMESTAMPNS_NEW: c_int = if IS_SPARC { 0x42 } else { 64 };

const IS_SPARC: bool = cfg!(any(target_arch = "sparc", target_arch = "sparc64"));

/// Keeps what is sent until it is switched off, and sends it as one datagram. Not in libc.
const UDP_CORK: c_int = 1;

/// What a socket that its user made is given back with: every option that a transport changes.
pub(crate) struct SavedOptions(Vec<(c_int, c_int, c_int)>);

impl SavedOptions {
    /// In this order: to set one of the time stamps unsets the others.
    const ALL: [(c_int, c_int); 17] = [
        (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
        (libc::SOL_SOCKET, SO_TIMESTAMP_NEW),
        (libc::SOL_SOCKET, SO_TIMESTAMPNS_NEW),
        (libc::IPPROTO_IP, libc::IP_RECVTTL),
        (libc::IPPROTO_IP, libc::IP_RECVTOS),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
        (libc::SOL_SOCKET, libc::SO_SELECT_ERR_QUEUE),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPING),
        (libc::IPPROTO_IP, libc::IP_PKTINFO),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        (libc::IPPROTO_IP, libc::IP_RECVERR),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        (libc::SOL_UDP, libc::UDP_GRO),
        (libc::SOL_UDP, libc::UDP_SEGMENT),
        (libc::SOL_UDP, UDP_CORK),
    ];

    /// Reads those that the socket has.
    pub(crate) fn of(socket: BorrowedFd<'_>) -> Self {
        let saved = |(level, name)| Some((level, name, int(socket, level, name).ok()?));
        Self(Self::ALL.into_iter().filter_map(saved).collect())
    }

    /// Sets those that are not as they were.
    pub(crate) fn restore(&self, socket: BorrowedFd<'_>) {
        for (level, name, value) in &self.0 {
            if int(socket, *level, *name).is_ok_and(|now| now != *value) {
                let _ = set(socket, *level, *name, *value);
            }
        }
    }
}

/// Switches off what would make one datagram of several, or several of one, and what fills the
/// queue of errors with anything but errors.
pub(crate) fn unset_foreign(socket: BorrowedFd<'_>) -> io::Result<()> {
    for (level, name) in [
        (libc::SOL_UDP, UDP_CORK),
        (libc::SOL_UDP, libc::UDP_SEGMENT),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPING),
    ] {
        unset(socket, level, name)?;
    }
    Ok(())
}

/// Lets the kernel hand over datagrams one by one.
pub(crate) fn unset_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    unset(socket, libc::SOL_UDP, libc::UDP_GRO)
}

/// Makes errors in the queue urgent data, which wakes who waits for datagrams.
pub(crate) fn wake_for_errors(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_SELECT_ERR_QUEUE, 1)
}

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

/// Asks for what is to be told of each datagram. What arrived before has the time at which it is
/// received for its own.
pub(crate) fn set_recv_info(
    socket: BorrowedFd<'_>,
    asked: InfoAsked,
    v4: bool,
    v6: bool,
) -> io::Result<()> {
    if asked.kernel_time {
        set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    }
    for (asked, of_v4, of_v6) in [
        (asked.hop_limit, libc::IP_RECVTTL, libc::IPV6_RECVHOPLIMIT),
        (asked.ecn, libc::IP_RECVTOS, libc::IPV6_RECVTCLASS),
    ] {
        if asked && v4 {
            set(socket, libc::IPPROTO_IP, of_v4, 1)?;
        }
        if asked && v6 {
            set(socket, libc::IPPROTO_IPV6, of_v6, 1)?;
        }
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

/// Tells whether the socket asks for ICMP errors, of IPv4 and of IPv6.
pub(crate) fn tells_errors(socket: BorrowedFd<'_>) -> [bool; 2] {
    RECV_ERRORS.map(|(level, name)| int(socket, level, name).is_ok_and(|on| on != 0))
}

/// Asks for no ICMP errors, and drops those that wait to be told.
pub(crate) fn unset_recv_errors(socket: BorrowedFd<'_>) -> io::Result<()> {
    for (level, name) in RECV_ERRORS {
        unset(socket, level, name)?;
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
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, half(bytes))
}

/// Sets the send buffer beyond the system's limit, which needs CAP_NET_ADMIN.
pub(crate) fn force_send_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, half(bytes))
}

/// What the kernel can double.
fn half(bytes: usize) -> c_int {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    bytes.min(c_int::MAX / 2)
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

/// Switches an option off, if the socket has it and it is on.
fn unset(socket: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<()> {
    if int(socket, level, name).is_ok_and(|on| on != 0) {
        set(socket, level, name, 0)?;
    }
    Ok(())
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

/// For tests of options: sets one, or reads it.
#[cfg(test)]
pub(crate) mod raw {
    use super::*;

    pub(crate) fn set(socket: &impl std::os::fd::AsFd, option: (c_int, c_int), value: c_int) {
        super::set(socket.as_fd(), option.0, option.1, value).unwrap();
    }

    /// Reads one, if the socket has it.
    pub(crate) fn get(socket: &impl std::os::fd::AsFd, option: (c_int, c_int)) -> Option<c_int> {
        int(socket.as_fd(), option.0, option.1).ok()
    }

    /// All options that a transport may change, as they are now.
    pub(crate) fn all(socket: &impl std::os::fd::AsFd) -> Vec<(c_int, c_int, c_int)> {
        SavedOptions::of(socket.as_fd()).0
    }

    /// When the next datagram arrived, as the control message says, in seconds and nanoseconds. Waits
    /// for it, and leaves it there.
    pub(crate) fn peek_time(socket: &impl std::os::fd::AsFd) -> (u64, u32) {
        let (mut byte, mut control) = (0_u8, [0_u64; 64]);
        let mut iovec = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        // SAFETY: a msghdr is integers and pointers, for which zero is a value.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut iovec;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: the header describes memory that is alive and of the lengths stated.
        while check(unsafe { libc::recvmsg(fd, &raw mut header, libc::MSG_PEEK) } as c_int).is_err()
        {
            std::thread::yield_now();
        }
        // SAFETY: the kernel has written whole control messages, and the time is one of them.
        unsafe {
            let mut next = libc::CMSG_FIRSTHDR(&raw const header);
            while (*next).cmsg_type != libc::SCM_TIMESTAMPNS {
                next = libc::CMSG_NXTHDR(&raw const header, next);
            }
            let time: libc::timespec = libc::CMSG_DATA(next)
                .cast::<libc::timespec>()
                .read_unaligned();
            (time.tv_sec as u64, time.tv_nsec as u32)
        }
    }

    pub(crate) const CORK: (c_int, c_int) = (libc::SOL_UDP, UDP_CORK);
}
