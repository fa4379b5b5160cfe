//! `sendmmsg`: many datagrams in one system call, runs of equal ones as one message.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::super::Outgoing;
use super::addr::RawAddr;
use super::check;
use super::cmsg::{Control, SEND_ROOM, Writer};
use crate::transport::MAX_PAYLOAD_V4;

/// The most datagrams that the kernel cuts one message into, on every kernel that can do it.
const MAX_SEGMENTS: usize = 64;

/// Why the first message did not leave.
#[derive(Debug)]
pub(crate) struct BatchSendError {
    /// What the kernel said.
    pub(crate) error: io::Error,
    /// The size of its segments if it was several datagrams in one message.
    pub(crate) segment: Option<usize>,
}

/// What the kernel needs beside the bytes, allocated once.
///
/// Headers point into the other arrays, as in `recv.rs`.
pub(crate) struct Sender {
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    names: Vec<RawAddr>,
    controls: Vec<Control<SEND_ROOM>>,
    /// How many datagrams each message holds.
    runs: Vec<usize>,
}

// SAFETY: as for `Receiver`.
unsafe impl Send for Sender {}

impl Sender {
    /// Makes room for `messages` at a time.
    pub(crate) fn new(messages: usize) -> Self {
        let mut names = vec![RawAddr::EMPTY; messages];
        let controls = vec![Control::EMPTY; messages];
        let empty = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        let mut iovecs = vec![empty; messages];
        let headers = (0..messages)
            .map(|i| {
                // SAFETY: a mmsghdr is integers and pointers, for which zero is a value.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                // SAFETY: i is below the length of both.
                unsafe {
                    header.msg_hdr.msg_name = names.as_mut_ptr().add(i).cast();
                    header.msg_hdr.msg_iov = iovecs.as_mut_ptr().add(i);
                }
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Self {
            headers,
            iovecs,
            names,
            controls,
            runs: vec![0; messages],
        }
    }

    /// Sends from the front, without waiting, and returns how many datagrams left: at least one.
    ///
    /// Runs of answers to one client, of one size up to `segment_limit` (0: none), leave as one
    /// message each, `longest_run` of them at most.
    pub(crate) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        datagrams: &[Outgoing],
        segment_limit: usize,
        longest_run: usize,
    ) -> Result<usize, BatchSendError> {
        let mut messages = 0;
        let mut rest = datagrams;
        while messages < self.headers.len() && !rest.is_empty() {
            let run = run_len(rest, segment_limit, longest_run);
            self.fill(messages, bytes, &rest[..run]);
            self.runs[messages] = run;
            messages += 1;
            rest = &rest[run..];
        }
        // SAFETY: the first `messages` headers describe memory of this struct and ranges of
        // `bytes`, all alive and initialised; the kernel only reads through them.
        let sent = check(unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                messages as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        });
        match sent {
            Ok(sent) => Ok(self.runs[..sent.min(messages)].iter().sum()),
            Err(error) => {
                let several = messages > 0 && self.runs[0] > 1;
                Err(BatchSendError {
                    error,
                    segment: several.then(|| datagrams[0].len),
                })
            }
        }
    }

    /// Describes a run of datagrams, at least one, as message `i`.
    fn fill(&mut self, i: usize, bytes: &[u8], run: &[Outgoing]) {
        let first = &run[0];
        let len = run.iter().map(|datagram| datagram.len).sum();
        let payload = &bytes[first.start..][..len];
        let iovec = libc::iovec {
            iov_base: payload.as_ptr().cast_mut().cast(),
            iov_len: len,
        };
        // SAFETY: i is below the length of all three. They are reached through raw pointers alone,
        // since headers point into them.
        let (name_len, control) = unsafe {
            self.iovecs.as_mut_ptr().add(i).write(iovec);
            let name_len = (*self.names.as_mut_ptr().add(i)).set(first.remote);
            (name_len, &mut *self.controls.as_mut_ptr().add(i))
        };
        let mut writer = Writer::new(control);
        if let Some(local) = &first.local {
            writer.source(local, &first.remote);
        }
        if run.len() > 1 {
            // The limit of `run_len` is below 65,536.
            writer.segment(first.len as u16);
        }
        let control_len = writer.len();
        let header = &mut self.headers[i].msg_hdr;
        header.msg_namelen = name_len;
        header.msg_controllen = control_len as _;
        header.msg_control = if control_len == 0 {
            ptr::null_mut()
        } else {
            control.0.as_mut_ptr().cast()
        };
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("messages", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// Returns how many datagrams, from the front, can leave as one message.
fn run_len(datagrams: &[Outgoing], segment_limit: usize, longest: usize) -> usize {
    let [first, rest @ ..] = datagrams else {
        return 0;
    };
    if first.len == 0 || first.len > segment_limit {
        return 1;
    }
    let mut end = first.start + first.len;
    let mut run = 1;
    for next in rest.iter().take(longest.min(MAX_SEGMENTS) - 1) {
        let fits = next.len > 0
            && next.len <= first.len
            && next.start == end
            && end - first.start + next.len <= MAX_PAYLOAD_V4
            && next.remote == first.remote
            && next.local == first.local;
        if !fits {
            break;
        }
        run += 1;
        end += next.len;
        if next.len < first.len {
            break; // only the last may be shorter
        }
    }
    run
}
