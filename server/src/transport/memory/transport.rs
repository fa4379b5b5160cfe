//! The transport of a server on the network in memory.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use postbox_memory_network::{ArrivalTimer, Member, Received, loopback};

use super::MemoryEndpoint;
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
        let bound = self.endpoint.member.local_addr();
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
        let MemoryEndpoint { member, info } = &*self.endpoint;
        batch.clear();
        let mut infos = std::mem::take(batch.infos());
        infos.clear();
        let wildcard = member.local_addr().ip().is_unspecified();
        let (buffers, metas) = batch.refill();
        let most = buffers.len();
        let mut slots = buffers.iter_mut().zip(metas);
        let take = |received: &Received<'_>| {
            let Some((buffer, meta)) = slots.next() else {
                return; // never: no more are asked for
            };
            *meta = fill(received, buffer, wildcard);
            if info.is_any() {
                infos.push(told(received, *info));
            }
        };
        let count = ready!(member.poll_recv(cx, &mut self.timer, most, take))?;
        batch.set_len(count);
        *batch.infos() = infos;
        Poll::Ready(Ok(()))
    }

    fn look(&mut self) -> usize {
        Member::QUEUE_LEN
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        datagrams: &[Outgoing],
    ) -> Poll<Sent> {
        let mut left = 0;
        for datagram in datagrams.iter().take(SEND_BATCH) {
            let payload = &bytes[datagram.start..][..datagram.len];
            let (source, member) = (self.source(datagram), &self.endpoint.member);
            match member.poll_send(cx, source, payload, datagram.remote) {
                Poll::Ready(Ok(())) => left += 1,
                // The next call meets it again.
                _ if left > 0 => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Sent::Failed(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Sent::Left(left))
    }
}

/// Copies a datagram to a slot of a batch, as much of it as fits.
fn fill(received: &Received<'_>, buffer: &mut [u8], wildcard: bool) -> Meta {
    let len = received.payload.len().min(buffer.len());
    buffer[..len].copy_from_slice(&received.payload[..len]);
    Meta {
        remote: received.source,
        local: wildcard.then(|| local(received.destination.ip())),
        len,
        segment: len.min(received.segment),
        truncated: received.cut || len < received.payload.len(),
    }
}

/// Tells what is asked for.
fn told(received: &Received<'_>, asked: InfoAsked) -> PacketInfo {
    PacketInfo {
        kernel_time: received.arrived,
        hop_limit: asked.hop_limit.then_some(received.hop_limit),
        ecn: asked.ecn.then_some(received.ecn),
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
