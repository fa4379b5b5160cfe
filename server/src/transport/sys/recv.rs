//! `recvmmsg`: many datagrams in one system call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::super::{InfoAsked, Meta, PacketInfo, Slots};
use super::addr::RawAddr;
use super::check;
use super::cmsg::{Control, Messages, Notes, RECV_ROOM};

/// Which control messages a receive has to bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecvFields {
    /// The address that was asked.
    pub(crate) local: bool,
    /// The size of coalesced segments.
    pub(crate) segment: bool,
    /// What is told besides.
    pub(crate) info: InfoAsked,
}

/// What the kernel needs beside the buffers, allocated once.
///
/// Headers point into the other arrays, which never move or grow. Those are reached through
/// raw pointers alone once the headers exist, never through a slice, so that no reference claims
/// what the kernel writes to.
pub(crate) struct Receiver {
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    names: Vec<RawAddr>,
    controls: Vec<Control<RECV_ROOM>>,
}

// SAFETY: the raw pointers in `headers` lead to memory that the same struct owns, and in `iovecs`
// to buffers that are only used inside `receive`, which sets them first.
unsafe impl Send for Receiver {}

impl Receiver {
    /// Makes room for `slots` datagrams.
    pub(crate) fn new(slots: usize) -> Self {
        let mut names = vec![RawAddr::EMPTY; slots];
        let mut controls = vec![Control::EMPTY; slots];
        let empty = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        let mut iovecs = vec![empty; slots];
        let headers = (0..slots)
            .map(|i| {
                // SAFETY: a mmsghdr is integers and pointers, for which zero is a value.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                let message = &mut header.msg_hdr;
                // SAFETY: i is below the length of all three.
                unsafe {
                    message.msg_name = names.as_mut_ptr().add(i).cast();
                    message.msg_iov = iovecs.as_mut_ptr().add(i);
                    message.msg_control = controls.as_mut_ptr().add(i).cast();
                }
                message.msg_iovlen = 1;
                header
            })
            .collect();
        Self {
            headers,
            iovecs,
            names,
            controls,
        }
    }

    /// Returns how many datagrams fit.
    pub(crate) fn slots(&self) -> usize {
        self.headers.len()
    }

    /// Receives what is there, without waiting, and returns how many datagrams came.
    ///
    /// Datagram `i` is then the first `metas[i].len` bytes of `buffers[i]`. Fewer than there is
    /// room for means that the socket was empty.
    pub(crate) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        wanted: RecvFields,
        into: Slots<'_>,
    ) -> io::Result<usize> {
        let Slots {
            buffers,
            metas,
            infos,
        } = into;
        let slots = self.slots().min(buffers.len()).min(metas.len());
        let informs = wanted.info.is_any();
        let control = if wanted.local || wanted.segment || informs {
            RECV_ROOM
        } else {
            0
        };
        for (i, buffer) in buffers[..slots].iter_mut().enumerate() {
            let header = &mut self.headers[i].msg_hdr;
            header.msg_namelen = RawAddr::ROOM;
            header.msg_controllen = control as _;
            let iovec = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            // SAFETY: i is below the number of slots.
            unsafe { self.iovecs.as_mut_ptr().add(i).write(iovec) };
        }
        // SAFETY: the first `slots` headers describe memory of this struct, which is alive and
        // of the lengths stated, and the buffers, which are borrowed mutably throughout. All of
        // it is initialised, so any part the kernel leaves alone can be read too.
        let received = check(unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                slots as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        })?;
        let received = received.min(slots);
        for (i, meta) in metas[..received].iter_mut().enumerate() {
            self.describe(i, buffers[i].len(), wanted, meta);
        }
        if informs {
            self.inform(received, wanted.info, infos);
        }
        Ok(received)
    }

    /// Reads what the kernel wrote about datagram `i`.
    fn describe(&self, i: usize, room: usize, wanted: RecvFields, meta: &mut Meta) {
        let header = &self.headers[i];
        let flags = header.msg_hdr.msg_flags;
        // SAFETY: i is below the number of slots, and the kernel has finished writing.
        let remote = unsafe { self.names.as_ptr().add(i).read() }.to_std();
        let len = (header.msg_len as usize).min(room);
        *meta = Meta {
            remote,
            local: None,
            len,
            segment: len,
            truncated: flags & libc::MSG_TRUNC != 0,
        };
        let cut = flags & libc::MSG_CTRUNC != 0;
        if header.msg_hdr.msg_controllen == 0 && !cut {
            return; // most datagrams: neither coalesced nor received on a wildcard bind
        }
        let notes = Notes::read(self.messages(i), &meta.remote);
        if wanted.local {
            meta.local = notes.local;
        }
        if let Some(segment) = notes.segment {
            meta.segment = segment.min(len);
        }
        meta.truncated |= cut && lacks(wanted, &notes);
    }

    /// Reads what is told besides of each datagram.
    #[cold]
    fn inform(&self, received: usize, asked: InfoAsked, infos: &mut [PacketInfo]) {
        for (i, info) in infos.iter_mut().take(received).enumerate() {
            *info = PacketInfo::read(self.messages(i), asked);
        }
    }

    /// The control messages that the kernel wrote about datagram `i`.
    fn messages(&self, i: usize) -> Messages<'_> {
        #[allow(clippy::unnecessary_cast)] // u32 with musl
        let written = (self.headers[i].msg_hdr.msg_controllen as usize).min(RECV_ROOM);
        // SAFETY: i is below the number of slots; nothing writes there while the reference lives.
        let control = unsafe { &*self.controls.as_ptr().add(i) };
        Messages(&control.0[..written])
    }
}

/// Tells whether control messages that were cut off may be the very ones that say how to read
/// this datagram: without its local address it would belong to another client, without its
/// segment size several datagrams would be taken for one.
fn lacks(wanted: RecvFields, notes: &Notes) -> bool {
    (wanted.local && notes.local.is_none()) || (wanted.segment && notes.segment.is_none())
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("slots", &self.slots())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::LocalAddr;

    #[test]
    fn l4_control_messages_that_were_cut_off_count_as_truncation() {
        let ip = std::net::Ipv4Addr::LOCALHOST.into();
        let local = Some(LocalAddr {
            asked: ip,
            reply_from: Some(ip),
            interface: 0,
        });
        let notes = |local, segment| Notes { local, segment };
        let wanted = |local, segment| RecvFields {
            local,
            segment,
            ..RecvFields::default()
        };
        assert!(!lacks(wanted(false, false), &notes(None, None)));
        assert!(lacks(wanted(true, false), &notes(None, Some(3))));
        assert!(!lacks(wanted(true, false), &notes(local, None)));
        assert!(lacks(wanted(true, true), &notes(local, None)));
        assert!(!lacks(wanted(true, true), &notes(local, Some(3))));
    }
}
