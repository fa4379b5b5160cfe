//! The client of a handler: who it is, and how to answer it.

use std::fmt;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use postbox_protocol::Protocol;
use tokio::sync::{AcquireError, SemaphorePermit, TryAcquireError};

use crate::client_key::ClientKey;
use crate::error::{FlushError, SendError};
use crate::inbox::Inbox;
use crate::outbox::{Flush, Flushing, OUTGOING_OVERHEAD};
use crate::panics;
use crate::peer::Peer;
use crate::turn;

/// One client of the server: a server socket, the local address that was asked, a remote address.
///
/// Cheap to clone, and usable from any task or thread, also after the handler that it was given to
/// has ended: keep it to push packets later, while this serving lasts. After a shutdown it answers
/// closed for good; where the server serves again, its next handlers are given new ones. Two are
/// equal, and hash the same, exactly when they are the same client.
pub struct Client<Response> {
    run: Arc<dyn Answer<Response>>,
}

impl<Response> Client<Response> {
    pub(crate) fn new<P>(run: Arc<Peer<P>>) -> Self
    where
        P: Protocol<Sent = Response>,
    {
        Self { run }
    }

    /// The address that the client sends from.
    pub fn remote_addr(&self) -> SocketAddr {
        self.run.identity().1.remote
    }

    /// The local address that the client sent to, from which it is answered. `None` on a wildcard
    /// bind where the transport cannot tell.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.run.local_addr()
    }

    /// Whether the serving that it came from is shutting down, or has ended: then receives answer
    /// closed, and sends will soon.
    pub fn is_closing(&self) -> bool {
        self.run.is_closing()
    }

    /// Encodes a packet and hands it to the worker, which sends it with its next batch. Ready at
    /// once, unless the outbox is full: then it waits its turn. A handler that sends and receives
    /// on and on is also made to pause now and then, so that others get theirs.
    ///
    /// A send that completed before another began leaves first, from whatever threads.
    ///
    /// # Errors
    ///
    /// [`SendError`] speaks of this packet only: it cannot be encoded, is too large for one
    /// datagram, or the server has ended. What the network says later is told by
    /// [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready sends nothing.
    pub fn send(&self, packet: Response) -> Sending<'_, Response> {
        Sending {
            client: self,
            step: Step::Offer(Packet::Typed(packet)),
        }
    }

    /// Like [`send`](Self::send), for a datagram that is already encoded: encode once, push to
    /// many.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`], or [`SendError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready sends nothing.
    pub fn send_datagram(&self, datagram: impl AsRef<[u8]>) -> Sending<'_, Response> {
        let packet = Packet::Encoded(datagram.as_ref().into());
        Sending {
            client: self,
            step: Step::Offer(packet),
        }
    }

    /// Sends without waiting.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`SendError::Full`] where that would wait. The packet is lost
    /// then.
    pub fn try_send(&self, packet: Response) -> Result<(), SendError> {
        let packet = &mut Packet::Typed(packet);
        match self.run.offer(packet, turn::take_scratch()) {
            Offer::Sent => Ok(()),
            Offer::Failed(error) => Err(error),
            Offer::Full(_) => Err(SendError::Full),
        }
    }

    /// Waits until everything that was sent before has left.
    ///
    /// # Errors
    ///
    /// [`FlushError::Io`] if the system refused a datagram to this client since its last flush;
    /// [`FlushError::Closed`] if the server ended first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: what was sent leaves all the same.
    pub async fn flush(&self) -> Result<(), FlushError> {
        let flush = Flushing(self.run.begin_flush());
        poll_fn(|cx| flush.0.poll(cx)).await
    }
}

impl<Response> Clone for Client<Response> {
    fn clone(&self) -> Self {
        Self {
            run: Arc::clone(&self.run),
        }
    }
}

impl<Response> PartialEq for Client<Response> {
    fn eq(&self, other: &Self) -> bool {
        self.run.identity() == other.run.identity()
    }
}

impl<Response> Eq for Client<Response> {}

impl<Response> Hash for Client<Response> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.run.identity().hash(state);
    }
}

impl<Response> fmt::Debug for Client<Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("remote_addr", &self.remote_addr())
            .field("local_addr", &self.local_addr())
            .finish()
    }
}

/// The future of [`Client::send`] and [`Client::send_datagram`].
#[must_use = "futures do nothing unless awaited"]
pub struct Sending<'a, Response> {
    client: &'a Client<Response>,
    step: Step<Response>,
}

enum Step<Response> {
    Offer(Packet<Response>),
    /// For room in the outbox. Boxed, since it is rare and a handler pays for its size.
    Wait(Box<Waiting>),
    Done,
}

struct Waiting {
    datagram: Box<[u8]>,
    room: Pin<Box<dyn Future<Output = Result<(), AcquireError>> + Send>>,
}

/// It stays in its place until it is encoded. Moved earlier it would be read as a whole right after
/// its parts were written one by one, for which the processor waits (3 ns).
enum Packet<Response> {
    Typed(Response),
    Encoded(Box<[u8]>),
    Taken,
}

// Nothing in it is ever pinned in place.
impl<Response> Unpin for Sending<'_, Response> {}

impl<Response> fmt::Debug for Sending<'_, Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("client", self.client)
            .finish_non_exhaustive()
    }
}

impl<Response> Future for Sending<'_, Response> {
    type Output = Result<(), SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let run = &this.client.run;
        if let Step::Offer(packet) = &mut this.step {
            let scratch = ready!(turn::poll_scratch(cx));
            let offer = run.offer(packet, scratch);
            this.step = Step::Done;
            match offer {
                Offer::Sent => return Poll::Ready(Ok(())),
                Offer::Failed(error) => return Poll::Ready(Err(error)),
                Offer::Full(datagram) => {
                    let room = Box::pin(wait_for_room(run.inbox(), cost(&datagram)));
                    this.step = Step::Wait(Box::new(Waiting { datagram, room }));
                }
            }
        }
        // Polled again after it was ready, which no executor does: then it stays pending.
        let Step::Wait(waiting) = &mut this.step else {
            return Poll::Pending;
        };
        let room = ready!(waiting.room.as_mut().poll(cx));
        let result = room
            .map_err(|_| SendError::Closed)
            .and_then(|()| run.push(&waiting.datagram));
        this.step = Step::Done;
        Poll::Ready(result)
    }
}

async fn wait_for_room(inbox: Arc<Inbox>, cost: u32) -> Result<(), AcquireError> {
    inbox
        .room
        .acquire_many(cost)
        .await
        .map(SemaphorePermit::forget)
}

/// What a datagram takes of the outbox's room. A datagram is far below 4 GiB.
fn cost(datagram: &[u8]) -> u32 {
    (datagram.len() + OUTGOING_OVERHEAD) as u32
}

/// What became of a packet.
enum Offer {
    Sent,
    Failed(SendError),
    /// The outbox is full. Here is the encoded datagram.
    Full(Box<[u8]>),
}

/// The half of a handler run that answers: encode only.
trait Answer<Response>: Send + Sync {
    /// Encodes, in this empty buffer of [`turn`]'s, and pushes if there is room.
    fn offer(&self, packet: &mut Packet<Response>, scratch: Box<BytesMut>) -> Offer;
    /// Pushes a datagram for which there is room.
    fn push(&self, datagram: &[u8]) -> Result<(), SendError>;
    fn begin_flush(&self) -> Arc<Flush>;
    /// The socket, and which of its clients.
    fn identity(&self) -> (u64, ClientKey);
    fn local_addr(&self) -> Option<SocketAddr>;
    fn is_closing(&self) -> bool;
    fn inbox(&self) -> Arc<Inbox>;
}

impl<P: Protocol> Answer<P::Sent> for Peer<P> {
    fn offer(&self, packet: &mut Packet<P::Sent>, mut scratch: Box<BytesMut>) -> Offer {
        let made = self.encode(packet, &mut scratch);
        let (offer, scratch) = match made.and_then(|()| self.check_len(scratch.len())) {
            Ok(()) => match self.push_here(scratch) {
                None => return Offer::Sent,
                Some(scratch) => (self.offer_elsewhere(&scratch), scratch),
            },
            Err(error) => (Offer::Failed(error), scratch),
        };
        turn::give_back_scratch(scratch);
        offer
    }

    fn push(&self, datagram: &[u8]) -> Result<(), SendError> {
        let inbox = &self.port().inbox;
        let pushed = turn::with(|turn| {
            if turn.port != self.port().address() {
                return false;
            }
            inbox.take_sends(&mut turn.outbox);
            turn.outbox.push(&self.client(), datagram);
            true
        });
        if pushed == Some(true) {
            return Ok(());
        }
        inbox
            .post(|mail| mail.outbox.push(&self.client(), datagram))
            .map_err(|_| SendError::Closed)
    }

    fn begin_flush(&self) -> Arc<Flush> {
        let flush = Arc::new(Flush::default());
        let posted = self
            .port()
            .inbox
            .post(|mail| mail.outbox.push_mark(self.client(), Arc::clone(&flush)));
        if posted.is_err() {
            flush.complete(Err(FlushError::Closed));
        }
        flush
    }

    fn identity(&self) -> (u64, ClientKey) {
        (self.port().socket, self.client())
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Self::local_addr(self)
    }

    fn is_closing(&self) -> bool {
        self.port().inbox.is_closing()
    }

    fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.port().inbox)
    }
}

impl<P: Protocol> Peer<P> {
    #[inline]
    fn encode(
        &self,
        packet: &mut Packet<P::Sent>,
        datagram: &mut BytesMut,
    ) -> Result<(), SendError> {
        let packet = match std::mem::replace(packet, Packet::Taken) {
            Packet::Typed(packet) => packet,
            Packet::Encoded(encoded) => {
                datagram.extend_from_slice(&encoded);
                return Ok(());
            }
            Packet::Taken => {
                debug_assert!(false, "a packet is offered once");
                return Err(SendError::Closed);
            }
        };
        match panics::catch(|| self.port().protocol.make_datagram(packet, datagram)) {
            Ok(made) => made.map_err(SendError::Make),
            Err(message) => Err(SendError::Crashed { message }),
        }
    }

    #[inline]
    fn check_len(&self, len: usize) -> Result<(), SendError> {
        let limit = self.send_limit();
        if len > limit {
            return Err(SendError::TooLarge { len, limit });
        }
        Ok(())
    }

    /// Pushes on the worker's own thread, into room that its turn has set aside. The turn keeps the
    /// buffer; if it is not that thread, or there is no room, it is handed back.
    #[inline]
    fn push_here(&self, scratch: Box<BytesMut>) -> Option<Box<BytesMut>> {
        let (inbox, cost) = (&self.port().inbox, cost(&scratch) as usize);
        let mut scratch = Some(scratch);
        turn::with(|turn| {
            if turn.port != self.port().address() {
                return;
            }
            if turn.room < cost {
                turn.room += inbox.set_room_aside(cost - turn.room);
            }
            if turn.room < cost || inbox.room.is_closed() {
                return;
            }
            if let Some(datagram) = scratch.take() {
                turn.room -= cost;
                inbox.take_sends(&mut turn.outbox);
                turn.outbox.push(&self.client(), &datagram);
                turn.scratch = turn::kept(datagram);
            }
        });
        scratch
    }

    /// Pushes from wherever this is, if there is room.
    fn offer_elsewhere(&self, datagram: &[u8]) -> Offer {
        match self.port().inbox.room.try_acquire_many(cost(datagram)) {
            Ok(room) => {
                room.forget();
                match self.push(datagram) {
                    Ok(()) => Offer::Sent,
                    Err(error) => Offer::Failed(error),
                }
            }
            Err(TryAcquireError::NoPermits) => Offer::Full(datagram.into()),
            Err(TryAcquireError::Closed) => Offer::Failed(SendError::Closed),
        }
    }
}
