//! Batched system calls, for the load generator and for the barest of the peers.
//!
//! The server's own are private to it, on purpose: what it is compared with does not share its
//! code.

#![allow(
    unsafe_code,
    reason = "no safe crate has recvmmsg, and sendmmsg with a source address for each datagram"
)]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::ptr;

use socket2::Socket;

/// What comes along with each datagram of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Along {
    Nothing,
    /// The local address that it goes to, or comes from.
    Local,
    /// The length of the segments that it consists of.
    Segments,
    /// When the kernel received it.
    Time,
}

/// A control message with room for each.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    header: libc::cmsghdr,
    value: [u8; 16],
}

/// Room for a batch of datagrams over IPv4, used again for each batch.
pub(crate) struct Batch {
    // The headers point into the boxes below, which never move nor change their size.
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_in]>,
    controls: Box<[Control]>,
    data: Box<[u8]>,
    stride: usize,
    along: Along,
    /// Slots whose lengths the last call has changed.
    used: usize,
}

// SAFETY: the pointers in it lead into its own boxes, which go with it.
unsafe impl Send for Batch {}

impl Batch {
    /// Makes room for so many datagrams of at most `stride` bytes.
    pub(crate) fn new(slots: usize, stride: usize, along: Along) -> Self {
        // SAFETY: all of these are plain C structs of integers and pointers, for which zeros are
        // valid.
        let (header, iovec, name, control) = unsafe {
            (
                mem::zeroed::<libc::mmsghdr>(),
                mem::zeroed::<libc::iovec>(),
                mem::zeroed::<libc::sockaddr_in>(),
                mem::zeroed::<Control>(),
            )
        };
        let stride = stride.max(1);
        let mut batch = Self {
            headers: vec![header; slots].into(),
            iovecs: vec![iovec; slots].into(),
            names: vec![name; slots].into(),
            controls: vec![control; slots].into(),
            data: vec![0; slots * stride].into(),
            stride,
            along,
            used: slots,
        };
        let buffers = batch.data.chunks_mut(stride);
        for (iovec, buffer) in batch.iovecs.iter_mut().zip(buffers) {
            iovec.iov_base = buffer.as_mut_ptr().cast();
        }
        for (i, header) in batch.headers.iter_mut().enumerate() {
            let header = &mut header.msg_hdr;
            header.msg_iov = &raw mut batch.iovecs[i];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut batch.names[i]).cast();
            if along != Along::Nothing {
                header.msg_control = (&raw mut batch.controls[i]).cast();
            }
        }
        batch
    }

    /// Receives at least one datagram, and more if they are there. Without `wait` it may be an
    /// error that none is.
    pub(crate) fn receive(&mut self, socket: &Socket, wait: bool) -> io::Result<usize> {
        for i in 0..self.used {
            self.iovecs[i].iov_len = self.stride;
            let header = &mut self.headers[i].msg_hdr;
            header.msg_namelen = size_of::<libc::sockaddr_in>() as _;
            if self.along != Along::Nothing {
                header.msg_controllen = size_of::<Control>() as _;
            }
        }
        self.used = 0;
        let flags = if wait {
            libc::MSG_WAITFORONE
        } else {
            libc::MSG_DONTWAIT
        };
        // SAFETY: so many headers are there, and each points to boxes of at least the lengths it
        // states, of which nobody else holds a reference now.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as _,
                flags as _,
                ptr::null_mut(),
            )
        };
        self.used = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(self.used)
    }

    /// The payload of a received datagram.
    pub(crate) fn payload(&self, slot: usize) -> &[u8] {
        let len = (self.headers[slot].msg_len as usize).min(self.stride);
        &self.data[slot * self.stride..][..len]
    }

    /// Writes the payload of a datagram to send. What does not fit is cut.
    pub(crate) fn set_payload(&mut self, slot: usize, payload: &[u8]) {
        let len = payload.len().min(self.stride);
        self.data[slot * self.stride..][..len].copy_from_slice(&payload[..len]);
        self.iovecs[slot].iov_len = len;
    }

    /// Has a received datagram sent back as it is.
    pub(crate) fn keep_payload(&mut self, slot: usize) {
        self.iovecs[slot].iov_len = (self.headers[slot].msg_len as usize).min(self.stride);
    }

    /// The address that a received datagram was sent to, where that is told.
    pub(crate) fn local(&self, slot: usize) -> Option<Ipv4Addr> {
        // The interface, the address to answer from, and then the one that was asked.
        let value = self.control(slot, libc::IPPROTO_IP, libc::IP_PKTINFO, 12)?;
        let address: [u8; 4] = value[8..12].try_into().ok()?;
        Some(address.into())
    }

    /// The length of the segments that a received datagram consists of.
    pub(crate) fn segment(&self, slot: usize) -> Option<usize> {
        let value = self.control(slot, libc::SOL_UDP, libc::UDP_GRO, 4)?;
        let len = i32::from_ne_bytes(value[..4].try_into().ok()?);
        usize::try_from(len).ok()
    }

    /// When the kernel received a datagram, in nanoseconds since the Unix epoch.
    pub(crate) fn time(&self, slot: usize) -> Option<u64> {
        const LEN: usize = size_of::<libc::timespec>();
        let value = self.control(slot, libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, LEN)?;
        let (secs, nanos) = value[..LEN].split_at(LEN / 2);
        let number = |half: &[u8]| half.try_into().ok().map(u64::from_ne_bytes); // of 64 bits
        Some(number(secs)? * 1_000_000_000 + number(nanos)?)
    }

    /// Has a datagram sent with nothing along.
    pub(crate) fn set_nothing(&mut self, slot: usize) {
        self.headers[slot].msg_hdr.msg_controllen = 0;
    }

    fn control(&self, slot: usize, level: i32, kind: i32, len: usize) -> Option<&[u8]> {
        let (control, header) = (&self.controls[slot], &self.headers[slot].msg_hdr);
        let is_there = header.msg_controllen >= size_of::<libc::cmsghdr>() + len
            && (control.header.cmsg_level, control.header.cmsg_type) == (level, kind);
        is_there.then_some(&control.value[..])
    }

    /// Sets where a datagram goes.
    pub(crate) fn set_remote(&mut self, slot: usize, to: SocketAddrV4) {
        let name = &mut self.names[slot];
        name.sin_family = libc::AF_INET as _;
        name.sin_port = to.port().to_be();
        name.sin_addr.s_addr = u32::from(*to.ip()).to_be();
        self.headers[slot].msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as _;
    }

    /// Sets where a datagram comes from.
    pub(crate) fn set_local(&mut self, slot: usize, from: Ipv4Addr) {
        let mut value = [0; 12];
        value[4..8].copy_from_slice(&from.octets());
        self.set_control(slot, libc::IPPROTO_IP, libc::IP_PKTINFO, &value);
    }

    /// Has a datagram sent as segments of this length.
    pub(crate) fn set_segment(&mut self, slot: usize, len: Option<u16>) {
        match len {
            Some(len) => {
                let value = len.to_ne_bytes();
                self.set_control(slot, libc::SOL_UDP, libc::UDP_SEGMENT, &value);
            }
            None => self.headers[slot].msg_hdr.msg_controllen = 0,
        }
    }

    fn set_control(&mut self, slot: usize, level: i32, kind: i32, value: &[u8]) {
        let control = &mut self.controls[slot];
        control.header.cmsg_level = level;
        control.header.cmsg_type = kind;
        control.header.cmsg_len = (size_of::<libc::cmsghdr>() + value.len()) as _;
        control.value[..value.len()].copy_from_slice(value);
        let padded = value.len().next_multiple_of(align_of::<libc::cmsghdr>());
        self.headers[slot].msg_hdr.msg_controllen = (size_of::<libc::cmsghdr>() + padded) as _;
    }

    /// Sends the datagrams of these slots, and answers how many of them left. An error concerns the
    /// first.
    pub(crate) fn send(&mut self, socket: &Socket, from: usize, to: usize) -> io::Result<usize> {
        let slots = &mut self.headers[from..to];
        // SAFETY: so many headers are there, and each points to boxes of at least the lengths it
        // states.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), slots.as_mut_ptr(), slots.len() as _, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Has a socket tell the local address of each datagram.
pub(crate) fn tell_local(socket: &Socket) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
}

/// Has a socket tell when the kernel received each datagram.
pub(crate) fn tell_times(socket: &Socket) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Has a socket receive several datagrams as one.
///
/// # Errors
///
/// The system's own.
pub fn coalesce(socket: &impl AsRawFd) -> io::Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Has a socket send each message as datagrams of this length.
///
/// # Errors
///
/// The system's own.
pub fn segment(socket: &impl AsRawFd, len: u16) -> io::Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, len.into())
}

fn set_option(socket: &impl AsRawFd, level: i32, name: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the option is an integer, and its address and size are stated as they are.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as _,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
