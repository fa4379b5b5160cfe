//! When a socket can be read or written: what the runtime tells of it, and when that is not asked.
//!
//! A socket that the runtime watches costs some 5 % at full load: the kernel tells epoll of each
//! datagram that has left. So under full load it is not watched until it has been read empty. And
//! where more is likely to be there already, the next receive tries without asking.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::socket::ServerSocket;
use super::{Meta, RecvBatch};

/// Batches of some size in a row after which the socket is no longer watched. Watching it again
/// costs as much as one datagram.
const BUSY_ROUNDS: u32 = 16;

/// A batch counts if it holds `1 / BUSY_PART` of what a receive can bring.
const BUSY_PART: usize = 4;

/// A socket, as the runtime watches it.
#[derive(Debug)]
pub(super) struct Readiness {
    socket: Arc<ServerSocket>,
    /// `None` under full load, or after watching it failed.
    watched: Option<AsyncFd<Arc<ServerSocket>>>,
    /// The runtime also tells of errors in the socket's queue, as if a datagram had come. Of itself
    /// it wakes nobody for them.
    for_errors: bool,
    /// The user has shut the socket down: the runtime tells of that for ever.
    is_shut: bool,
    /// The runtime also watches for room to send. Only since that was needed: a socket watched for
    /// both wakes the runtime each time the kernel has finished with a datagram.
    for_room: bool,
    /// A send waits for room.
    send_waits: bool,
    /// The next receive does not ask the runtime first: nobody would tell of what is there, or more
    /// is likely to come, as after several datagrams, whose senders are at work.
    more_expected: bool,
    /// How many batches in a row were of some size.
    busy_rounds: u32,
}

impl Readiness {
    /// Watches a socket; needs a tokio runtime with IO enabled.
    pub(super) fn new(socket: Arc<ServerSocket>, for_errors: bool) -> io::Result<Self> {
        let mut readiness = Self {
            socket,
            watched: None,
            for_errors,
            is_shut: false,
            for_room: false,
            send_waits: false,
            more_expected: false,
            busy_rounds: 0,
        };
        readiness.watch()?;
        Ok(readiness)
    }

    /// Registers the socket with the runtime, which tells of what is already there.
    fn watch(&mut self) -> io::Result<&AsyncFd<Arc<ServerSocket>>> {
        self.watched = None; // a socket cannot be registered twice
        let mut interest = Interest::READABLE;
        if self.for_room {
            interest |= Interest::WRITABLE;
        }
        if self.for_errors {
            interest |= Interest::PRIORITY;
        }
        // Deprecated in tokio 1.54 for its `unsafe` successor, which earlier versions lack. What
        // that asks for holds: an Arc<ServerSocket> keeps its one descriptor open.
        #[allow(deprecated)]
        let watched = AsyncFd::with_interest(Arc::clone(&self.socket), interest)?;
        self.busy_rounds = 0;
        Ok(self.watched.insert(watched))
    }

    /// Waits until a receive may find something.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.more_expected {
            return Poll::Ready(Ok(()));
        }
        let watched = match &self.watched {
            Some(watched) => watched,
            None => self.watch()?,
        };
        // Cleared before the receive that may empty the socket: what comes later is a new event.
        // What this receive leaves is remembered in `more_expected`.
        let mut guard = ready!(watched.poll_read_ready(cx))?;
        let is_closed = guard.ready().is_read_closed();
        guard.clear_ready();
        self.is_shut = is_closed;
        Poll::Ready(Ok(()))
    }

    /// A receive brought this batch. Returns whether the socket had been read empty before.
    pub(super) fn received(&mut self, batch: &RecvBatch) -> bool {
        let waited = !self.more_expected;
        if batch.holds_a_part(BUSY_PART) {
            self.busy_rounds = self.busy_rounds.saturating_add(1);
        } else {
            self.busy_rounds = 0;
        }
        if self.busy_rounds >= BUSY_ROUNDS && !self.send_waits {
            (self.watched, self.for_room) = (None, false);
        }
        self.more_expected =
            batch.is_full() || self.watched.is_none() || are_several(batch.metas());
        waited
    }

    /// A receive found nothing, which is an error if the socket is shut: waiting would not end.
    pub(super) fn emptied(&mut self) -> io::Result<()> {
        self.more_expected = false;
        if self.is_shut {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(())
    }

    /// A receive failed: nothing tells whether there is more.
    pub(super) fn failed(&mut self) {
        self.more_expected = true;
    }

    /// Somebody wants to know whether anything is there now.
    pub(super) fn look(&mut self) {
        self.more_expected = true;
    }

    /// A send is tried, and does not wait any more.
    #[inline]
    pub(super) fn sends(&mut self) {
        self.send_waits = false;
    }

    /// Waits for room to send. Ready means: try again.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.watched.is_none() || !self.for_room {
            self.for_room = true;
            self.watch()?;
            // The waker of a pending receive went with the old registration.
            cx.waker().wake_by_ref();
        }
        let watched = self.watched.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let room = watched.poll_write_ready(cx);
        self.send_waits = room.is_pending();
        let mut guard = ready!(room)?;
        let is_closed = guard.ready().is_write_closed();
        guard.clear_ready();
        if is_closed {
            // The runtime takes an error on the socket for its end, and never takes that back: it
            // would tell of room for ever. A new registration knows nothing of it.
            drop(guard);
            self.watched = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the runtime tells of what arrives.
    #[cfg(test)]
    pub(super) fn is_watched(&self) -> bool {
        self.watched.is_some()
    }
}

/// Whether it is more than one datagram.
fn are_several(received: &[Meta]) -> bool {
    match received {
        [alone] => alone.is_coalesced(),
        _ => true,
    }
}
