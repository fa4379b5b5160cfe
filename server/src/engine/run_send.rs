//! How a run answers its client: encode, and into the worker's outbox, from whatever thread.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use postbox_protocol::Protocol;
use tokio::sync::TryAcquireError;
use tokio_util::sync::CancellationToken;

use crate::engine::current;
use crate::engine::dispatch::SlotId;
use crate::engine::flush::{Flush, Flushing};
use crate::engine::outbox::{OUTGOING_OVERHEAD, Outbox};
use crate::engine::run::Run;
use crate::engine::worker_shared::{Local, WorkerShared};
use crate::error::{FlushError, SendError};
use crate::handler::{
    Answer, BoxFuture, ClientKey, ClientSpawner, Packet, SendAttempt, SendsFirst,
};
use crate::support::panics;
use crate::transport::{MAX_PAYLOAD_V4, MAX_PAYLOAD_V6};

impl<P: Protocol> Answer<P::Sent> for Run<P> {
    #[inline]
    fn try_send(&self, packet: &mut Option<Packet<P::Sent>>) -> SendAttempt {
        let mut scratch = current::take_scratch();
        let encoded = self.encode(packet, &mut scratch);
        if let Err(error) = encoded.and_then(|()| self.check_len(scratch.len())) {
            current::give_back_scratch(scratch);
            return SendAttempt::Failed(error);
        }
        match self.worker().inject.room.try_acquire_many(cost(&scratch)) {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => {
                let datagram = scratch[..].into();
                current::give_back_scratch(scratch);
                return SendAttempt::Full(datagram);
            }
            Err(TryAcquireError::Closed) => return SendAttempt::Failed(SendError::Closed),
        }
        match self.push(scratch) {
            Ok(()) => SendAttempt::Sent,
            Err(error) => SendAttempt::Failed(error),
        }
    }

    fn poll_try_send(
        &self,
        cx: &mut Context<'_>,
        packet: &mut Option<Packet<P::Sent>>,
    ) -> Poll<SendAttempt> {
        ready!(current::poll_proceed(cx));
        Poll::Ready(self.try_send(packet))
    }

    fn send_when_room(self: Arc<Self>, datagram: Box<[u8]>) -> BoxFuture<Result<(), SendError>> {
        Box::pin(async move {
            let room = &self.worker().inject.room;
            match room.acquire_many(cost(&datagram)).await {
                Ok(permit) => permit.forget(),
                Err(_closed) => return Err(SendError::Closed),
            }
            self.push(Box::new(BytesMut::from(&datagram[..])))
        })
    }

    fn flush(self: Arc<Self>) -> BoxFuture<Result<(), FlushError>> {
        let flush = Arc::new(Flush::default());
        let mark = Arc::clone(&flush);
        let pushed = self
            .worker()
            .inject
            .push(|injected| injected.outbox.push_mark(self.addressee(), mark));
        if pushed.is_err() {
            flush.complete(Err(FlushError::Closed));
        }
        let flushing = Flushing(flush);
        Box::pin(async move { poll_fn(|cx| flushing.0.poll(cx)).await })
    }

    fn identity(&self) -> (usize, ClientKey) {
        (self.worker().socket(), self.addressee())
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.client().local_addr(*self.worker().bound)
    }

    fn spawner(&self) -> ClientSpawner {
        ClientSpawner::new(self.remote, &self.worker().tasks)
    }

    fn is_closing(&self) -> bool {
        self.worker().inject.is_closing()
    }

    fn draining(&self) -> &CancellationToken {
        &self.worker().draining
    }
}

/// A run of no handler: nothing is received by it, so it has no slot.
impl<P: Protocol> SendsFirst<P::Sent> for WorkerShared<P> {
    fn client(self: Arc<Self>, client: ClientKey) -> Arc<dyn Answer<P::Sent>> {
        let local = Arc::new(Local {
            addr: client.local,
            worker: self,
        });
        Arc::new(Run::new(&local, &client, SlotId::MAX))
    }
}

/// What a datagram takes of the outbox's room. A datagram is far below 4 GiB.
pub(super) fn cost(datagram: &[u8]) -> u32 {
    (datagram.len() + OUTGOING_OVERHEAD) as u32
}

impl<P: Protocol> Run<P> {
    #[inline]
    fn encode(
        &self,
        packet: &mut Option<Packet<P::Sent>>,
        datagram: &mut BytesMut,
    ) -> Result<(), SendError> {
        let packet = match packet.take() {
            Some(Packet::Typed(packet)) => packet,
            Some(Packet::Encoded(encoded)) => {
                datagram.extend_from_slice(&encoded);
                return Ok(());
            }
            None => return Err(SendError::Closed), // polled after it was ready, as nobody does
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

    /// Pushes a datagram for which there is room: on the worker's own thread right into its outbox,
    /// behind what other threads have sent so far.
    #[inline]
    fn push(&self, datagram: Box<BytesMut>) -> Result<(), SendError> {
        let (inject, to) = (&self.worker().inject, self.sends_to());
        let push = |outbox: &mut Outbox, datagram: &[u8]| {
            inject.take_sends(outbox);
            outbox.push(&to, datagram);
        };
        match current::send(self.worker().address(), datagram, push) {
            None => Ok(()),
            Some(datagram) => {
                let pushed = inject.push(|injected| injected.outbox.push(&to, &datagram));
                current::give_back_scratch(datagram);
                pushed.map_err(|_| SendError::Closed)
            }
        }
    }
}
