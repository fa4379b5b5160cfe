//! The client of a handler: who it is, and how to answer it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio_util::sync::CancellationToken;

use super::{ClientKey, ClientSpawner};
use crate::error::{FlushError, SendError};
use crate::service::ShutdownToken;

/// One client of the server: a server socket, the local address that was asked, a remote address, and
/// the [session](crate::Session) of that address where there is a session key.
///
/// Cheap to clone, and usable from any task or thread, also after the handler that it was given to
/// has ended: keep it to push packets later, while this serving lasts. After a shutdown it answers
/// closed for good; where the server serves again, its next handlers are given new ones. Two are
/// equal, and hash the same, exactly when they are the same client.
///
/// A chat that keeps its clients, and pushes to all of them what one of them says:
///
/// ```
/// use std::collections::HashSet;
/// use std::sync::Mutex;
///
/// use postbox_server::{BoxError, Client, Handler, Requests};
///
/// #[derive(Default)]
/// struct Chat {
///     members: Mutex<HashSet<Client<String>>>,
/// }
///
/// impl Handler for Chat {
///     type Request = String;
///     type Response = String;
///
///     async fn handle(
///         &self,
///         client: Client<String>,
///         mut requests: Requests<String>,
///     ) -> Result<(), BoxError> {
///         let text = requests.recv().await?;
///         let members: Vec<_> = {
///             let mut members = self.members.lock().expect("nobody panics with it");
///             members.insert(client.clone());
///             members.iter().cloned().collect()
///         };
///         let text = format!("{}: {text}", client.remote_addr());
///         for member in members {
///             member.send(text.clone()).await?;
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// (Anybody can forge addresses: a real one bounds its members, and forgets the silent ones.)
pub struct Client<Response> {
    run: Arc<dyn Answer<Response>>,
}

impl<Response> Client<Response> {
    pub(crate) fn new(run: Arc<dyn Answer<Response>>) -> Self {
        Self { run }
    }

    /// Which client of its socket it is.
    pub(crate) fn key(&self) -> ClientKey {
        self.run.identity().1
    }

    /// The address that the client sends from.
    pub fn remote_addr(&self) -> SocketAddr {
        self.run.identity().1.remote
    }

    /// The address of this server that the client asked: the one that it wrote on its datagrams,
    /// also on a wildcard bind. It may be a broadcast or multicast address, and then answers leave
    /// from the interface's own. `None` on a wildcard bind where the transport cannot tell.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.run.local_addr()
    }

    /// Whether the serving that it came from is shutting down, or has ended: then receives answer
    /// closed, and sends will soon.
    pub fn is_closing(&self) -> bool {
        self.run.is_closing()
    }

    /// Whether the serving that it came from [drains](crate::ServerHandle::drain), or shuts down:
    /// no newcomer gets a handler any more, and this conversation should come to its end.
    pub fn is_draining(&self) -> bool {
        self.run.draining().is_cancelled()
    }

    /// Tells when the serving that it came from [drains](crate::ServerHandle::drain), or shuts down,
    /// for handlers that wait for something else than a request:
    ///
    /// ```
    /// use bytes::Bytes;
    /// use postbox_server::{BoxError, Client, Requests};
    ///
    /// async fn handle(client: Client<Bytes>, mut requests: Requests<Bytes>) -> Result<(), BoxError> {
    ///     let drain = client.drain_token();
    ///     loop {
    ///         tokio::select! {
    ///             request = requests.recv() => client.send(request?).await?,
    ///             () = drain.begun() => {
    ///                 client.send(Bytes::from_static(b"bye")).await?;
    ///                 return Ok(());
    ///             }
    ///         }
    ///     }
    /// }
    /// # let _ = handle;
    /// ```
    pub fn drain_token(&self) -> ShutdownToken {
        ShutdownToken(self.run.draining().clone())
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
            step: Step::Try(Some(Packet::Typed(packet))),
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
            step: Step::Try(Some(packet)),
        }
    }

    /// Sends without waiting.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`SendError::Full`] where that would wait. The packet is lost
    /// then.
    pub fn try_send(&self, packet: Response) -> Result<(), SendError> {
        match self.run.try_send(&mut Some(Packet::Typed(packet))) {
            SendAttempt::Sent => Ok(()),
            SendAttempt::Failed(error) => Err(error),
            SendAttempt::Full(_) => Err(SendError::Full),
        }
    }

    /// What starts tasks that outlive the handler, and are this client's: a shutdown waits for them
    /// for as long as for handlers.
    pub fn spawner(&self) -> ClientSpawner {
        self.run.spawner()
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
        Arc::clone(&self.run).flush().await
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

impl<Response> PartialOrd for Client<Response> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By remote address, then by the local one, then by session. It means nothing but that maps can keep them sorted.
impl<Response> Ord for Client<Response> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.run.identity().cmp(&other.run.identity())
    }
}

/// The remote address, the local one behind it where the socket has several, and where there is a
/// [session key](crate::ServerBuilder::session_key) its hash, which tells sessions apart and nothing
/// else: `192.0.2.7:5353`, or `192.0.2.7:5353 at 192.0.2.1:53`, or `192.0.2.7:5353 #9d2c5680a1b4e6f7`.
impl<Response> fmt::Display for Client<Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key().print(self.local_addr(), f)
    }
}

impl<Response> fmt::Debug for Client<Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("remote_addr", &self.remote_addr())
            .field("local_addr", &self.local_addr())
            .field("session", &self.run.identity().1.session.of_key())
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
    /// There until it is accepted, refused, or has to wait.
    Try(Option<Packet<Response>>),
    /// For room in the outbox. Boxed, since it is rare and a handler pays for its size.
    Wait(BoxFuture<Result<(), SendError>>),
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
        if let Step::Try(packet) = &mut this.step {
            match ready!(run.poll_try_send(cx, packet)) {
                SendAttempt::Sent => return Poll::Ready(Ok(())),
                SendAttempt::Failed(error) => return Poll::Ready(Err(error)),
                SendAttempt::Full(datagram) => {
                    this.step = Step::Wait(Arc::clone(run).send_when_room(datagram))
                }
            }
        }
        match &mut this.step {
            Step::Wait(waiting) => waiting.as_mut().poll(cx),
            Step::Try(_) => Poll::Pending,
        }
    }
}

/// What is to be sent.
pub(crate) enum Packet<Response> {
    Typed(Response),
    Encoded(Box<[u8]>),
}

/// What became of a packet.
pub(crate) enum SendAttempt {
    Sent,
    Failed(SendError),
    /// The outbox is full. Here is the encoded datagram.
    Full(Box<[u8]>),
}

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What sends from one socket of the server, also to who has not sent anything.
pub(crate) trait SendsFirst<Response>: Send + Sync {
    fn client(self: Arc<Self>, client: ClientKey) -> Arc<dyn Answer<Response>>;
}

/// The half of a handler run that answers: encode only.
pub(crate) trait Answer<Response>: Send + Sync {
    /// Takes and encodes a packet, and sends it if there is room.
    fn try_send(&self, packet: &mut Option<Packet<Response>>) -> SendAttempt;
    /// The same, unless the handler or task that is polled here has to make a pause first: then the
    /// packet stays where it is.
    fn poll_try_send(
        &self,
        cx: &mut Context<'_>,
        packet: &mut Option<Packet<Response>>,
    ) -> Poll<SendAttempt>;
    /// Waits for room, in the order of the calls, and then sends.
    fn send_when_room(self: Arc<Self>, datagram: Box<[u8]>) -> BoxFuture<Result<(), SendError>>;
    fn flush(self: Arc<Self>) -> BoxFuture<Result<(), FlushError>>;
    /// The socket, and which of its clients.
    fn identity(&self) -> (usize, ClientKey);
    fn local_addr(&self) -> Option<SocketAddr>;
    fn spawner(&self) -> ClientSpawner;
    fn is_closing(&self) -> bool;
    /// Cancelled when a drain begins, or a shutdown.
    fn draining(&self) -> &CancellationToken;
}
