//! The batched transport of Linux: `recvmmsg` and `sendmmsg` under tokio's readiness.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use super::hearing::{Hearing, IcmpErrors};
use super::readiness::Readiness;
use super::segmentation::Segmentation;
use super::socket::{ServerSocket, capacity, kernel_drops};
use super::sys::{self, BatchSendError, Receiver, RecvFields, Sender};
use super::{
    Addressing, Capabilities, Endpoint, InfoAsked, Outgoing, PacketInfo, RecvBatch, SEND_BATCH,
    Sent, Transport,
};

/// The buffer that a coalesced receive needs: the kernel joins datagrams up to this many bytes,
/// and cuts what does not fit.
pub(crate) const COALESCED_LEN: usize = 65_535;

/// Receives in a row that may bring nothing for this socket, or fail, before others get a turn.
const EMPTY_ROUNDS: usize = 16;

/// Errors taken from a socket's queue in one go, and kept until they are asked for.
const MAX_COLLECTED: usize = 1024;

/// How often a send is tried again that an earlier datagram's error may have failed. Each attempt
/// meets one; more only come if they arrive in between.
const MAX_TRIES: usize = 8;

/// A bound UDP socket, served with batched system calls.
#[derive(Debug)]
pub(crate) struct UdpEndpoint {
    socket: Arc<ServerSocket>,
    local_addr: SocketAddr,
    /// Passes over what was sent to a broadcast or multicast address: see
    /// [`UdpTransport::unicast_only`].
    unicast_only: bool,
    /// Let the kernel coalesce and segment: asked for, and not refused so far.
    offloads: Arc<AtomicBool>,
    info: InfoAsked,
    icmp_errors: Arc<IcmpErrors>,
}

impl UdpEndpoint {
    /// Takes a bound socket, which tells `info` of each datagram. All but one of a group are
    /// `unicast_only`.
    pub(crate) fn new(
        socket: ServerSocket,
        local_addr: SocketAddr,
        unicast_only: bool,
        offloads: bool,
        info: InfoAsked,
    ) -> Self {
        let socket = Arc::new(socket);
        Self {
            icmp_errors: IcmpErrors::new(Arc::clone(&socket)),
            socket,
            local_addr,
            unicast_only,
            offloads: Arc::new(AtomicBool::new(offloads)),
            info,
        }
    }
}

impl Endpoint for UdpEndpoint {
    fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    fn open(&self) -> io::Result<Box<dyn Transport>> {
        let (socket, offloads) = (Arc::clone(&self.socket), Arc::clone(&self.offloads));
        let hearing = self.icmp_errors.hear()?;
        let mut transport = UdpTransport::new(socket, offloads)?;
        transport.hearing = Some(hearing);
        transport.unicast_only = self.unicast_only;
        transport.wanted.info = self.info;
        Ok(Box::new(transport))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            local_addr: true,
            truncation: true,
            icmp_errors: true,
            offloads: self.offloads.load(Ordering::Relaxed),
            kernel_time: true,
            hop_limit: true,
            ecn: true,
        }
    }

    fn informs(&self) -> bool {
        self.info.is_any()
    }

    fn drops(&self) -> Option<u64> {
        kernel_drops(&self.socket)
    }

    fn socket(&self) -> Option<&Arc<ServerSocket>> {
        Some(&self.socket)
    }
}

/// A UDP socket with batched system calls.
#[derive(Debug)]
pub(super) struct UdpTransport {
    socket: Arc<ServerSocket>,
    readiness: Readiness,
    pub(super) wanted: RecvFields,
    /// The kernel hands what was sent to a broadcast or multicast address to every socket of a
    /// group, so all but one of them have to look away, or the client gets an answer from each. It
    /// works on wildcard binds, where the address is told; one bound to a unicast address gets no
    /// such datagrams.
    pub(super) unicast_only: bool,
    offloads: Arc<AtomicBool>,
    /// The socket has a queue of errors, which count against its receive buffer: left alone they
    /// make it deaf.
    queues_errors: bool,
    hearing: Option<Hearing>,
    /// What ICMP said, until the receive loop asks.
    refused: Vec<(SocketAddr, io::Error)>,
    /// How much more it said than is kept.
    left_out: u64,
    /// Why a receive failed before another brought datagrams, which go first.
    failed: Option<io::Error>,
    receiver: Receiver,
    sender: Sender,
    /// The largest segments that may be sent as runs; 0: none.
    segment_limit: usize,
    segmentation: Segmentation,
}

impl UdpTransport {
    /// Serves a bound `socket`; needs a tokio runtime with IO enabled.
    ///
    /// With `offloads`, datagrams may arrive coalesced if the batch's buffers hold 65,535 bytes,
    /// and runs of answers leave as one message.
    pub(super) fn new(socket: Arc<ServerSocket>, offloads: Arc<AtomicBool>) -> io::Result<Self> {
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::Unsupported)?;
        let wildcard = local.ip().is_unspecified();
        if wildcard {
            let v4 = local.is_ipv4() || !socket.only_v6()?;
            sys::set_pktinfo(socket.as_fd(), v4, local.is_ipv6())?;
        }
        let segments = offloads.load(Ordering::Relaxed);
        let queues_errors = sys::tells_errors(socket.as_fd()).contains(&true);
        if queues_errors {
            sys::wake_for_errors(socket.as_fd())?;
        }
        Ok(Self {
            wanted: RecvFields {
                local: wildcard,
                // A socket that was served before may still hold coalesced datagrams.
                segment: sys::uses_gro(socket.as_fd()),
                info: InfoAsked::default(),
            },
            unicast_only: false,
            offloads,
            queues_errors,
            hearing: None,
            refused: Vec::new(),
            left_out: 0,
            failed: None,
            receiver: Receiver::new(0),
            sender: Sender::new(SEND_BATCH),
            segment_limit: if segments { usize::from(u16::MAX) } else { 0 },
            segmentation: Segmentation::default(),
            readiness: Readiness::new(Arc::clone(&socket), queues_errors)?,
            socket,
        })
    }

    /// Receives one batch without waiting.
    fn receive(&mut self, batch: &mut RecvBatch) -> io::Result<()> {
        loop {
            let (socket, slots) = (self.socket.as_fd(), batch.refill_all());
            let result = self.receiver.receive(socket, self.wanted, slots);
            match result {
                Ok(received) => {
                    batch.set_len(received);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Adjusts to the size of the batch, which is nearly always that of the last one.
    fn prepare(&mut self, batch: &mut RecvBatch) {
        if self.receiver.slots() != batch.slots() {
            self.receiver = Receiver::new(batch.slots());
            let infos = match self.wanted.info.is_any() {
                true => batch.slots(),
                false => 0,
            };
            *batch.infos() = vec![PacketInfo::default(); infos];
        }
        // One that the user made comes back as it was, also what it holds: there the user chooses.
        // And what came as one has one time for all.
        if !self.wanted.segment
            && !self.wanted.info.kernel_time
            && !self.socket.is_given()
            && self.offloads.load(Ordering::Relaxed)
            && batch.buffer_len() >= COALESCED_LEN
        {
            // Kernels before 5.0 lack it; then datagrams come one by one.
            self.wanted.segment = sys::set_gro(self.socket.as_fd()).is_ok();
            self.offloads.store(self.wanted.segment, Ordering::Relaxed);
        }
    }

    /// Whether the runtime tells of what arrives.
    #[cfg(test)]
    pub(super) fn is_watched(&self) -> bool {
        self.readiness.is_watched()
    }

    /// Returns the largest segments that are still sent as runs.
    #[cfg(test)]
    pub(super) fn segment_limit(&self) -> usize {
        self.segment_limit
    }

    /// Empties the queue of errors, and tells whether any of them was about an earlier datagram.
    /// While there are more, the kernel tells of them again.
    fn collect_errors(&mut self) -> bool {
        let mut any = false;
        for _ in 0..MAX_COLLECTED {
            let next = self
                .queues_errors
                .then(|| sys::next_error(self.socket.as_fd()));
            let Some(error) = next.flatten() else { break };
            any |= error.is_some();
            if self.refused.len() < MAX_COLLECTED {
                self.refused.extend(error);
            } else {
                self.left_out += u64::from(error.is_some());
            }
        }
        any
    }

    /// Nothing is there now. What failed before that is told first.
    fn nothing(&mut self) -> Poll<io::Result<()>> {
        match self.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }
}

impl Transport for UdpTransport {
    fn poll_recv(&mut self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<()>> {
        batch.clear();
        self.prepare(batch);
        if self.failed.is_some() {
            return self.nothing();
        }
        for _ in 0..EMPTY_ROUNDS {
            match self.readiness.poll_readable(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return self.nothing(),
            }
            if self.queues_errors {
                self.collect_errors(); // also those that fail no receive
            }
            match self.receive(batch) {
                Ok(()) => {
                    let waited = self.readiness.received(batch);
                    self.segmentation =
                        Segmentation::answering(batch.metas(), batch.holds_a_part(1), waited);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readiness.emptied()?;
                    continue;
                }
                Err(error) => {
                    // An earlier datagram's error is told once, in place of what is there: so
                    // that is received before anybody pauses for this. What ICMP says where it was
                    // asked for is no failure to receive.
                    self.readiness.failed();
                    if !self.collect_errors() {
                        self.failed = Some(error);
                    }
                    continue;
                }
            }
            if self.unicast_only {
                let is_unicast = |local| Addressing::of(&local) == Addressing::Unicast;
                batch.retain(|meta| meta.local.is_none_or(is_unicast));
            }
            if batch.len() > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        // There may be more: others get a turn first.
        match self.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }

    fn look(&mut self) -> usize {
        self.readiness.look();
        capacity(&self.socket)
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
        self.readiness.sends();
        let mut limit_before = None;
        let mut tries = 0;
        loop {
            let limit = self.segment_limit;
            let longest = self.segmentation.longest(datagrams.len());
            let result = self
                .sender
                .send(self.socket.as_fd(), bytes, datagrams, limit, longest);
            let BatchSendError { error, segment } = match result {
                Ok(left) => {
                    self.segmentation.left(left);
                    if limit_before.is_some() && limit == 0 {
                        self.offloads.store(false, Ordering::Relaxed);
                    }
                    return Poll::Ready(Sent::Left(left));
                }
                Err(failure) => failure,
            };
            match (error.raw_os_error(), segment) {
                (Some(libc::EINTR), _) => {}
                (Some(libc::EAGAIN), _) => {
                    if let Err(error) = ready!(self.readiness.poll_room(cx)) {
                        return Poll::Ready(Sent::Failed(error));
                    }
                }
                // The kernel tells an earlier datagram's error once, and has not sent this one. What
                // fails again is its own.
                _ if tries < MAX_TRIES && (self.collect_errors() || tries == 0) => tries += 1,
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
                _ => {
                    if let Some(limit) = limit_before {
                        self.segment_limit = limit; // sent singly it failed too
                    }
                    return Poll::Ready(Sent::Failed(error));
                }
            }
        }
    }

    fn hears_icmp(&self) -> bool {
        self.queues_errors
    }

    fn take_icmp_errors(&mut self, look: bool) -> Vec<(SocketAddr, io::Error)> {
        if look {
            self.collect_errors();
        }
        std::mem::take(&mut self.refused)
    }

    fn take_icmp_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}
