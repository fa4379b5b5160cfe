//! How a run answers its client: encode, and into the worker's outbox, from whatever thread.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use postbox_protocol::Protocol;
use tokio::sync::TryAcquireError;

use crate::engine::current;
use crate::engine::flush::{Flush, Flushing};
use crate::engine::outbox::OUTGOING_OVERHEAD;
use crate::engine::run::Run;
use crate::error::{FlushError, SendError};
use crate::handler::{Answer, BoxFuture, ClientKey, Offer, Packet};
use crate::support::panics;
use crate::transport::{MAX_PAYLOAD_V4, MAX_PAYLOAD_V6};

impl<P: Protocol> Answer<P::Sent> for Run<P> {
    fn offer(&self, packet: Packet<P::Sent>) -> Offer {
        self.offer_with(packet, current::take_scratch())
    }

    fn poll_offer(
        &self,
        cx: &mut Context<'_>,
        packet: &mut Option<Packet<P::Sent>>,
    ) -> Poll<Offer> {
        let scratch = ready!(current::poll_scratch(cx));
        match packet.take() {
            Some(packet) => Poll::Ready(self.offer_with(packet, scratch)),
            None => Poll::Pending, // polled again after it was ready, which no executor does
        }
    }

    fn send_when_room(self: Arc<Self>, datagram: Box<[u8]>) -> BoxFuture<Result<(), SendError>> {
        Box::pin(async move {
            let room = &self.worker().remote.room;
            match room.acquire_many(cost(&datagram)).await {
                Ok(permit) => permit.forget(),
                Err(_closed) => return Err(SendError::Closed),
            }
            self.push(&datagram)
        })
    }

    fn flush(self: Arc<Self>) -> BoxFuture<Result<(), FlushError>> {
        let flush = Arc::new(Flush::default());
        let mark = Arc::clone(&flush);
        let pushed = self
            .worker()
            .remote
            .push(|injected| injected.outbox.push_mark(self.client(), mark));
        if pushed.is_err() {
            flush.complete(Err(FlushError::Closed));
        }
        let flushing = Flushing(flush);
        Box::pin(async move { poll_fn(|cx| flushing.0.poll(cx)).await })
    }

    fn identity(&self) -> (usize, ClientKey) {
        (self.worker().socket(), self.client())
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.worker().local_addr(self.client().local)
    }

    fn is_closing(&self) -> bool {
        self.worker().remote.is_closing()
    }
}

/// What a datagram takes of the outbox's room. A datagram is far below 4 GiB.
fn cost(datagram: &[u8]) -> u32 {
    (datagram.len() + OUTGOING_OVERHEAD) as u32
}

impl<P: Protocol> Run<P> {
    /// Encodes a packet in this empty buffer, and sends it if there is room.
    #[inline]
    fn offer_with(&self, packet: Packet<P::Sent>, mut scratch: Box<BytesMut>) -> Offer {
        let encoded = self.encode(packet, &mut scratch);
        let offer = match encoded.and_then(|()| self.check_len(scratch.len())) {
            Ok(()) => self.send_if_room(&scratch),
            Err(error) => Offer::Failed(error),
        };
        current::give_back_scratch(scratch);
        offer
    }

    #[inline]
    fn encode(&self, packet: Packet<P::Sent>, datagram: &mut BytesMut) -> Result<(), SendError> {
        let packet = match packet {
            Packet::Typed(packet) => packet,
            Packet::Encoded(encoded) => {
                datagram.extend_from_slice(&encoded);
                return Ok(());
            }
        };
        match panics::catch(|| self.worker().protocol.make_datagram(packet, datagram)) {
            Ok(made) => made.map_err(SendError::Make),
            Err(message) => Err(SendError::Crashed { message }),
        }
    }

    #[inline]
    fn check_len(&self, len: usize) -> Result<(), SendError> {
        let v4 = match self.remote.ip() {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
        };
        let family = if v4 { MAX_PAYLOAD_V4 } else { MAX_PAYLOAD_V6 };
        let limit = self.worker().limits.max_send_datagram().min(family);
        if len > limit {
            return Err(SendError::TooLarge { len, limit });
        }
        Ok(())
    }

    #[inline]
    fn send_if_room(&self, datagram: &[u8]) -> Offer {
        match self.worker().remote.room.try_acquire_many(cost(datagram)) {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => return Offer::Full(datagram.into()),
            Err(TryAcquireError::Closed) => return Offer::Failed(SendError::Closed),
        }
        match self.push(datagram) {
            Ok(()) => Offer::Sent,
            Err(error) => Offer::Failed(error),
        }
    }

    /// Pushes a datagram for which there is room: on the worker's own thread right into its outbox,
    /// behind what other threads have sent so far.
    #[inline]
    fn push(&self, datagram: &[u8]) -> Result<(), SendError> {
        let remote = &self.worker().remote;
        let pushed = current::with(|lent| {
            let own = lent.worker == self.worker().address();
            if own {
                remote.take_sends(&mut lent.outbox);
                lent.outbox.push(&self.client(), datagram);
            }
            own
        });
        if pushed == Some(true) {
            return Ok(());
        }
        remote
            .push(|injected| injected.outbox.push(&self.client(), datagram))
            .map_err(|_| SendError::Closed)
    }
}
