//! The batched transport of Linux: `recvmmsg` and `sendmmsg` under tokio's readiness.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::mtu::MtuSwitch;
use super::runs::Runs;
use super::sys::{self, Receiver, SendError, Sender, Wanted};
use super::{Capabilities, LocalAddr, Meta, Outgoing, RecvBatch, SEND_BATCH, Sent, Transport};

/// The buffer that a coalesced receive needs: the kernel joins datagrams up to this many bytes,
/// and cuts what does not fit.
const COALESCED_LEN: usize = 65_535;

/// Batches in a row that may turn out to hold nothing for this socket before others get a turn.
const EMPTY_ROUNDS: usize = 16;

/// Batches in a row of some size after which the socket is no longer watched, until it is read
/// empty. A watched socket costs about 5 % at full load: the kernel tells epoll of each datagram
/// that has left. Watching it again costs as much as one datagram.
const BUSY_ROUNDS: u32 = 16;

/// A batch with this part of its slots filled counts: `1 / BUSY_PART`.
const BUSY_PART: usize = 4;

/// Errors taken from a socket's queue in one go, and kept until they are asked for. More than fit
/// into the default receive buffer.
const MAX_COLLECTED: usize = 1024;

/// How often a send is tried again that an ICMP error may have failed. Each attempt meets one; more
/// only come if they arrive in between.
const MAX_TRIES: usize = 8;

/// A UDP socket with batched system calls.
#[derive(Debug)]
pub(crate) struct UdpTransport {
    socket: Arc<Socket>,
    /// The socket as the runtime watches it; `None` under full load, or after that failed.
    watched: Option<AsyncFd<Arc<Socket>>>,
    /// Whether the runtime also watches for room to send.
    watches_send: bool,
    wanted: Wanted,
    unicast_only: bool,
    offloads: bool,
    icmp_errors: bool,
    /// What ICMP said, until the receive loop asks.
    refused: Vec<(SocketAddr, io::Error)>,
    receiver: Receiver,
    sender: Sender,
    /// The next receive does not ask the runtime first: nobody would tell of what is there, or more
    /// is likely to come.
    ///
    /// So after several datagrams, whose senders are at work: one client with a window of 32 gets
    /// 5 to 10 % more answers, one in bursts 10 to 20 %. After a single one the look would mostly be
    /// in vain.
    more_expected: bool,
    /// How many batches in a row were of some size, since it is watched.
    busy_rounds: u32,
    /// A send waits for room, which the runtime tells of.
    send_waits: bool,
    /// The largest segments that may be sent as runs; 0: none.
    segment_limit: usize,
    runs: Runs,
    mtu: MtuSwitch,
}

impl UdpTransport {
    /// Serves a bound `socket`; needs a tokio runtime with IO enabled.
    ///
    /// With `offloads`, datagrams may arrive coalesced if the batch's buffers hold 65,535 bytes,
    /// and runs of answers leave as one message.
    pub(crate) fn new(socket: Arc<Socket>, offloads: bool) -> io::Result<Self> {
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::Unsupported)?;
        let wildcard = local.ip().is_unspecified();
        if wildcard {
            let v4 = local.is_ipv4() || !socket.only_v6()?;
            sys::set_pktinfo(socket.as_fd(), v4, local.is_ipv6())?;
        }
        let mut transport = Self {
            wanted: Wanted {
                local: wildcard,
                // A socket that was served before may still hold coalesced datagrams.
                segment: sys::uses_gro(socket.as_fd()),
            },
            unicast_only: false,
            offloads,
            icmp_errors: sys::tells_errors(socket.as_fd()),
            refused: Vec::new(),
            receiver: Receiver::new(0),
            sender: Sender::new(SEND_BATCH),
            more_expected: false,
            busy_rounds: 0,
            send_waits: false,
            segment_limit: if offloads { usize::from(u16::MAX) } else { 0 },
            runs: Runs::default(),
            mtu: MtuSwitch::new(Arc::clone(&socket)),
            watched: None,
            watches_send: false,
            socket,
        };
        transport.watch()?;
        Ok(transport)
    }

    /// Passes over what was sent to a broadcast or multicast address.
    ///
    /// The kernel hands such a datagram to every socket of a group, so all but one of them have
    /// to look away, or the client gets an answer from each. It works on wildcard binds, where
    /// the address is told; one bound to a unicast address gets no such datagrams.
    pub(crate) fn unicast_only(mut self) -> Self {
        self.unicast_only = true;
        self
    }

    /// Registers the socket with the runtime.
    ///
    /// At first only for receiving: a socket that is also watched for room to send wakes the
    /// runtime each time the kernel has finished with a datagram.
    fn watch(&mut self) -> io::Result<()> {
        self.watched = None; // a socket cannot be registered twice
        let interest = if self.watches_send {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        // Deprecated in tokio 1.54 for its `unsafe` successor, which earlier versions lack. What
        // that asks for holds: an Arc<Socket> keeps its one descriptor open.
        #[allow(deprecated)]
        let watched = AsyncFd::with_interest(self.socket.clone(), interest)?;
        (self.watched, self.busy_rounds) = (Some(watched), 0);
        Ok(())
    }

    /// Receives one batch without waiting.
    fn receive(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        loop {
            let (buffers, metas) = batch.refill();
            let result = self
                .receiver
                .receive(self.socket.as_fd(), self.wanted, buffers, metas);
            match result {
                Ok(received) => {
                    batch.set_len(received);
                    return Ok(received);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Adjusts to the size of the batch, which is nearly always that of the last one.
    fn prepare(&mut self, batch: &RecvBatch) {
        if self.receiver.slots() != batch.slots() {
            self.receiver = Receiver::new(batch.slots());
        }
        if self.offloads && !self.wanted.segment && batch.buffer_len() >= COALESCED_LEN {
            // Kernels before 5.0 lack it; then datagrams come one by one.
            self.wanted.segment = sys::set_gro(self.socket.as_fd()).is_ok();
            self.offloads = self.wanted.segment;
        }
    }

    /// Whether the runtime tells of what arrives.
    #[cfg(test)]
    pub(super) fn is_watched(&self) -> bool {
        self.watched.is_some()
    }

    /// What the kernel does about the paths' MTU.
    #[cfg(test)]
    pub(super) fn mtu_discovery(&self) -> sys::MtuDiscovery {
        sys::mtu_discovery(self.socket.as_fd()).unwrap()
    }

    /// Returns the largest segments that are still sent as runs.
    #[cfg(test)]
    pub(super) fn segment_limit(&self) -> usize {
        self.segment_limit
    }

    /// Empties the queue of ICMP errors, and answers whether there were any.
    ///
    /// They count against the receive buffer: left alone they would make the socket deaf.
    fn collect_errors(&mut self) -> bool {
        let mut any = false;
        for _ in 0..MAX_COLLECTED {
            let next = self
                .icmp_errors
                .then(|| sys::next_error(self.socket.as_fd()));
            let Some(error) = next.flatten() else { break };
            any = true;
            if self.refused.len() < MAX_COLLECTED {
                self.refused.extend(error);
            }
        }
        any
    }

    /// Waits for room to send. Ready means: try again.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.watches_send || self.watched.is_none() {
            self.watches_send = true;
            self.watch()?;
            // The waker of a pending receive went with the old registration.
            cx.waker().wake_by_ref();
        }
        let Some(watched) = &self.watched else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let room = watched.poll_write_ready(cx);
        self.send_waits = room.is_pending();
        ready!(room)?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

impl Transport for UdpTransport {
    const CAPABILITIES: Capabilities = Capabilities {
        local_addr: true,
        truncation: true,
        icmp_errors: true,
        offloads: true,
    };

    fn poll_recv(&mut self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<()>> {
        batch.clear();
        self.prepare(batch);
        for _ in 0..EMPTY_ROUNDS {
            if !self.more_expected {
                if self.watched.is_none() {
                    self.watch()?; // it tells of what is already there
                }
                let Some(watched) = &self.watched else {
                    return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
                };
                // Cleared before the receive that may empty the socket: what comes later is a
                // new event. What this receive leaves is remembered in `more_expected`.
                ready!(watched.poll_read_ready(cx))?.clear_ready();
            }
            match self.receive(batch) {
                Ok(received) => {
                    let slots = batch.slots();
                    let busy = received >= slots / BUSY_PART;
                    self.busy_rounds = if busy {
                        self.busy_rounds.saturating_add(1)
                    } else {
                        0
                    };
                    if self.busy_rounds >= BUSY_ROUNDS && !self.send_waits {
                        (self.watched, self.watches_send) = (None, false);
                    }
                    let waited = !self.more_expected;
                    self.more_expected =
                        batch.is_full() || self.watched.is_none() || are_several(batch.metas());
                    self.runs = Runs::answering(batch.metas(), slots, waited);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.more_expected = false;
                    continue;
                }
                Err(error) => {
                    self.more_expected = true;
                    // What ICMP says is about answers, and no failure to receive.
                    if self.collect_errors() {
                        continue;
                    }
                    return Poll::Ready(Err(error));
                }
            }
            if self.unicast_only {
                batch.retain(|meta| !meta.local.is_some_and(|local| is_for_many(&local)));
            }
            if batch.len() > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        datagrams: &[Outgoing],
    ) -> Poll<Sent> {
        if datagrams.is_empty() {
            return Poll::Ready(Sent::Left(0));
        }
        self.send_waits = false;
        let mut limit_before = None;
        let mut tries = 0;
        loop {
            let limit = self.segment_limit;
            let runs = self.runs.longest(datagrams.len());
            let (socket, mtu) = (self.socket.as_fd(), &mut self.mtu);
            let result = self
                .sender
                .send(socket, bytes, datagrams, limit, runs, |longest| {
                    mtu.prepare(longest);
                });
            let SendError { error, segment } = match result {
                Ok(left) => {
                    self.runs.left(left);
                    return Poll::Ready(Sent::Left(left));
                }
                Err(failure) => failure,
            };
            match (error.raw_os_error(), segment) {
                (Some(libc::EINTR), _) => {}
                (Some(libc::EAGAIN), _) => {
                    if let Err(error) = ready!(self.poll_room(cx)) {
                        return Poll::Ready(Sent::Failed(error));
                    }
                }
                // The device cannot do it: never again.
                (Some(libc::EIO), Some(_)) => {
                    limit_before.get_or_insert(limit);
                    self.segment_limit = 0;
                }
                // Segments have to fit into one packet, other datagrams do not: the kernel would
                // send them in fragments. (Which of the two errors depends on its version.)
                (Some(libc::EINVAL | libc::EMSGSIZE), Some(segment)) => {
                    limit_before.get_or_insert(limit);
                    self.segment_limit = segment - 1;
                }
                (Some(libc::EMSGSIZE), None) if self.mtu.give_up() => {}
                (Some(code), _)
                    if may_be_of_another(code)
                        && tries < MAX_TRIES
                        && (self.collect_errors() || tries == 0) =>
                {
                    tries += 1;
                }
                _ => {
                    if let Some(limit) = limit_before {
                        self.segment_limit = limit; // sent singly it failed too
                    }
                    return Poll::Ready(Sent::Failed(error));
                }
            }
        }
    }

    fn take_refused(&mut self, look: bool) -> Vec<(SocketAddr, io::Error)> {
        if look {
            self.collect_errors();
        }
        std::mem::take(&mut self.refused)
    }
}

/// Tells whether it is more than one datagram.
fn are_several(received: &[Meta]) -> bool {
    match received {
        [alone] => alone.is_coalesced(),
        _ => true,
    }
}

/// Tells whether a datagram to this address reaches every socket of a group.
///
/// An IPv4 address that an answer cannot leave from is a broadcast address: which addresses are,
/// only the kernel's table of interfaces knows.
fn is_for_many(local: &LocalAddr) -> bool {
    let asked = local.asked.to_canonical();
    asked.is_multicast() || (asked.is_ipv4() && local.reply_from != Some(local.asked))
}

/// Tells whether a send may have failed for an ICMP error that an earlier datagram caused, to
/// whomever. The kernel reports it once, and has not sent this one.
fn may_be_of_another(code: i32) -> bool {
    matches!(
        code,
        libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EMSGSIZE
            | libc::EPROTO
            | libc::EACCES
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
    )
}
