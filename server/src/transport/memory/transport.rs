//! The transport of a server on the network in memory.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::flight::ArrivalTimer;
use super::network::{check_len, loopback};
use super::state::Clock;
use super::{Datagram, Marks, MemoryEndpoint, QUEUE_LEN};
use crate::transport::{
    InfoAsked, LocalAddr, Meta, Outgoing, PacketInfo, RecvBatch, SEND_BATCH, Sent, Transport,
};

/// Serves a [`MemoryEndpoint`].
#[derive(Debug)]
pub(in crate::transport) struct MemoryTransport {
    endpoint: Arc<MemoryEndpoint>,
    /// For what is on its way.
    timer: ArrivalTimer,
}

impl MemoryTransport {
    /// Serves `endpoint`, which may have been served before.
    pub(in crate::transport) fn new(endpoint: Arc<MemoryEndpoint>) -> Self {
        Self {
            endpoint,
            timer: ArrivalTimer::default(),
        }
    }

    /// Returns where an answer leaves from.
    fn source(&self, outgoing: &Outgoing) -> SocketAddr {
        let bound = self.endpoint.addr;
        let ip = if bound.ip().is_unspecified() {
            let asked = outgoing.local.and_then(|local| local.reply_from);
            asked.unwrap_or_else(|| loopback(bound.is_ipv4()))
        } else {
            bound.ip()
        };
        SocketAddr::new(ip, bound.port())
    }
}

impl Transport for MemoryTransport {
    fn poll_recv(&mut self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<()>> {
        let MemoryEndpoint {
            network,
            addr,
            member,
        } = &*self.endpoint;
        batch.clear();
        let mut infos = std::mem::take(batch.infos());
        infos.clear();
        let (buffers, metas) = batch.refill();
        let count = loop {
            let waker = cx.waker().clone();
            let mut state = network.lock();
            if state.faults.take_panic(*addr) {
                drop(state);
                panic!("receiving was told to panic");
            }
            if let Some(error) = state.faults.take_receive(*addr) {
                return Poll::Ready(Err(error));
            }
            let clock = state.clock;
            let Some(queue) = state.queue(*addr, *member) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let count = queue.datagrams.len().min(buffers.len());
            if count > 0 {
                let wildcard = addr.ip().is_unspecified();
                let slots = buffers.iter_mut().zip(metas);
                for (datagram, (buffer, meta)) in queue.datagrams.drain(..count).zip(slots) {
                    *meta = fill(&datagram, buffer, wildcard);
                    if queue.info.is_any() {
                        infos.push(told(&datagram, queue.info, clock));
                    }
                }
                break count;
            }
            // One task receives: only its latest waker counts.
            let old = std::mem::replace(&mut queue.wakers, vec![waker]);
            let due = queue.flight.next();
            drop(state);
            drop(old); // foreign code, like all of a waker: not under the lock
            ready!(self.timer.poll(due, cx));
        };
        batch.set_len(count);
        *batch.infos() = infos;
        Poll::Ready(Ok(()))
    }

    fn look(&mut self) -> usize {
        QUEUE_LEN
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        datagrams: &[Outgoing],
    ) -> Poll<Sent> {
        let MemoryEndpoint {
            network,
            addr,
            member,
        } = &*self.endpoint;
        let waker = cx.waker().clone();
        let mut left = 0;
        for datagram in datagrams.iter().take(SEND_BATCH) {
            let remote = datagram.remote;
            let mut state = network.lock();
            if state.faults.is_blocked(*addr) {
                if left == 0 {
                    let queue = state.queue(*addr, *member);
                    let old = queue.and_then(|queue| queue.blocked.replace(waker));
                    drop(state);
                    drop(old);
                    return Poll::Pending;
                }
                break;
            }
            let fault = state.faults.send_error(remote);
            drop(state);
            if let Some(error) = fault.or_else(|| check_len(datagram.len, remote).err()) {
                if left == 0 {
                    return Poll::Ready(Sent::Failed(error));
                }
                break;
            }
            let payload = &bytes[datagram.start..][..datagram.len];
            let (source, marks) = (self.source(datagram), Marks::default());
            network.deliver(source, payload, datagram.len, remote, marks);
            left += 1;
        }
        Poll::Ready(Sent::Left(left))
    }
}

/// Copies a datagram to a slot of a batch, as much of it as fits.
fn fill(datagram: &Datagram, buffer: &mut [u8], wildcard: bool) -> Meta {
    let len = datagram.payload.len().min(buffer.len());
    buffer[..len].copy_from_slice(&datagram.payload[..len]);
    Meta {
        remote: datagram.source,
        local: wildcard.then(|| local(datagram.destination.ip())),
        len,
        segment: len.min(datagram.segment as usize),
        truncated: datagram.cut || len < datagram.payload.len(),
    }
}

/// Tells what is asked for.
fn told(datagram: &Datagram, asked: InfoAsked, clock: Option<Clock>) -> PacketInfo {
    let arrived = datagram.arrived.filter(|_| asked.kernel_time);
    PacketInfo {
        kernel_time: arrived.zip(clock).map(|(moment, clock)| clock.at(moment)),
        hop_limit: asked.hop_limit.then_some(datagram.marks.hop_limit),
        ecn: asked.ecn.then_some(datagram.marks.ecn),
    }
}

/// Tells the address that was asked. Broadcast and multicast are answered from the address of
/// the only interface there is.
fn local(asked: IpAddr) -> LocalAddr {
    let broadcast = matches!(asked, IpAddr::V4(ip) if ip.is_broadcast());
    let own = if broadcast || asked.is_multicast() {
        loopback(asked.is_ipv4())
    } else {
        asked
    };
    LocalAddr {
        asked,
        reply_from: Some(own),
        interface: 0,
    }
}
