use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::core::Core;
use super::{AskError, AskStats, AskTimes, Matching};
use crate::shared::Shared;
use crate::{UdpClient, UdpRecvError, UdpSendError};

/// A client that asks, and is answered: made by [`UdpClient::asking`].
///
/// **A question is asked at least once.** [`ask`](Self::ask) sends it again when no answer comes in
/// time, and the network can double it, so the server may get it several times: a question must do
/// no harm when it is asked again, or the server has to know it again by its number. And when no
/// answer comes at all, the server may still have done what it was asked.
///
/// It can be cloned, and any number of questions can be open at once, from any number of clones and
/// tasks: each gets its own answer, however late, twice or out of order others come. What answers
/// no open question goes to [`recv`](Self::recv): what the server sends unasked, and an answer that
/// comes when its question is over. A second answer to a question is dropped. The numbers of the
/// last 4,096 questions that are over are remembered for that.
///
/// There is no task behind it. Those who wait, for an answer or a packet, receive for one another:
/// while nobody does, what arrives stays in the system's buffer for the socket. What was received
/// and waits for a [`recv`](Self::recv) is bounded by 256 packets and errors; over that the newest
/// is dropped and [counted](AskStats::dropped).
///
/// Clones of the [`UdpClient`] that it was made of share its socket, and take answers from it:
/// asking takes that client for itself, so keep none.
///
/// # Examples
///
/// The envelope, for protocols that have no number of their own. The server is the other side of
/// the same protocol, and copies the number: `answer_fn(...).numbered()` does, and in a
/// conversation `client.send(request.answer(packet))`.
///
/// ```no_run
/// use postbox_client::{NumberedMatching, UdpClient};
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::{BoxError, DatagramProtocol, NumberedSerializer};
///
/// #[tokio::main]
/// async fn main() -> Result<(), BoxError> {
///     let json = JsonSerializer::<String, usize>::new();
///     let protocol = DatagramProtocol::new(NumberedSerializer::new(json));
///     let client = UdpClient::connect("localhost:9000", protocol).await?;
///     let client = client.asking(NumberedMatching);
///
///     let (one, two) = tokio::join!(client.ask("one".to_owned()), client.ask("two".to_owned()));
///     println!("{} {}", one?.packet, two?.packet);
///     Ok(())
/// }
/// ```
pub struct AskingClient<Sent: 'static, Received: Send + 'static = Sent> {
    core: Arc<Core<Shared<Sent, Received>>>,
    send_limit: usize,
    times: AskTimes,
}

impl<Sent: 'static, Received: Send + 'static> UdpClient<Sent, Received> {
    /// Makes a client that finds the answer to each of its questions, and sends them again until
    /// there is one. `matching` says by what an answer is known: [`NumberedMatching`] for packets
    /// of a [`NumberedSerializer`](postbox_protocol::NumberedSerializer), or
    /// [`matching`](crate::matching()) for protocols with a number of their own.
    ///
    /// [`NumberedMatching`]: crate::NumberedMatching
    pub fn asking(self, matching: impl Matching<Sent, Received>) -> AskingClient<Sent, Received> {
        AskingClient {
            core: Arc::new(Core::new(Arc::clone(&self.shared), Box::new(matching))),
            send_limit: self.send_limit,
            times: AskTimes::default(),
        }
    }
}

impl<Sent: 'static, Received: Send + 'static> AskingClient<Sent, Received> {
    /// Sets when this client and its future clones send a question again, and give it up.
    #[must_use]
    pub fn with_times(mut self, times: AskTimes) -> Self {
        self.times = times;
        self
    }

    /// Asks, and waits for the answer: **at least once**, see [above](Self).
    ///
    /// The question is sent again when no answer has come after the timeout of RFC 6298, which
    /// follows the round trips of questions that were sent once, is up to half again as long at
    /// random, and doubles at each repetition; and given up at the deadline:
    /// [`AskTimes::deadline`], 30 seconds by default.
    ///
    /// # Errors
    ///
    /// [`AskError`] says why this question has no answer. Others go on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the question. It may have been sent.
    ///
    /// A future that is kept must be polled: others may wait for what it would receive, until their
    /// own next repetition.
    pub async fn ask(&self, request: impl Into<Sent>) -> Result<Received, AskError> {
        let request = request.into();
        self.core.ask(request, self.send_limit, &self.times).await
    }

    /// Asks with another deadline than that of this client: see [`ask`](Self::ask).
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the question. It may have been sent.
    pub async fn ask_within(
        &self,
        request: impl Into<Sent>,
        deadline: Duration,
    ) -> Result<Received, AskError> {
        let request = request.into();
        let times = AskTimes {
            deadline,
            ..self.times
        };
        self.core.ask(request, self.send_limit, &times).await
    }

    /// Sends a packet that is no question, once: see [`UdpClient::send`].
    ///
    /// # Errors
    ///
    /// [`UdpSendError`] speaks of this packet only.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready sends nothing.
    pub async fn send(&self, packet: impl Into<Sent>) -> Result<(), UdpSendError> {
        let packet = packet.into();
        self.core.link.send(packet, self.send_limit).await
    }

    /// Receives the next packet that answers no open question, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// As [`UdpClient::recv`]. A datagram that cannot be read is an error here, since nobody knows
    /// whose answer it was to be. A [refusal](UdpRecvError::Refused) is told to the open questions,
    /// and here if there are none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no datagram.
    pub async fn recv(&self) -> Result<Received, UdpRecvError> {
        self.core.recv().await
    }

    /// Receives the next packet that answers no open question, waiting for it at most `limit`.
    ///
    /// Zero answers [`UdpRecvError::TimedOut`] at once if nothing has arrived, and delivers if
    /// something has; [`Duration::MAX`] waits for ever. The answer never comes early.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`UdpRecvError::TimedOut`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled, unless `limit` is zero or [`Duration::MAX`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no datagram.
    pub async fn recv_timeout(&self, limit: Duration) -> Result<Received, UdpRecvError> {
        match limit {
            Duration::ZERO => self.try_recv().unwrap_or(Err(UdpRecvError::TimedOut)),
            Duration::MAX => self.recv().await,
            _ => match timeout(limit, self.recv()).await {
                Ok(result) => result,
                Err(_) => Err(UdpRecvError::TimedOut),
            },
        }
    }

    /// Receives a packet that answers no open question if it has arrived already, and answers
    /// `None` if not.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&self) -> Option<Result<Received, UdpRecvError>> {
        self.core.try_recv()
    }

    /// Returns what became of the questions of this client and its clones.
    pub fn stats(&self) -> AskStats {
        self.core.stats()
    }

    /// Returns the address that this client sends from.
    pub fn local_addr(&self) -> SocketAddr {
        self.core.link.socket.local_addr()
    }

    /// Returns the server's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.core.link.socket.peer_addr()
    }
}

impl<Sent: 'static, Received: Send + 'static> Clone for AskingClient<Sent, Received> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            ..*self
        }
    }
}

impl<Sent: 'static, Received: Send + 'static> fmt::Debug for AskingClient<Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskingClient")
            .field("local_addr", &self.local_addr())
            .field("peer_addr", &self.peer_addr())
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}
