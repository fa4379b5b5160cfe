//! One request by itself: the packet, who asks, and when and how it arrived.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;

use postbox_protocol::BoxError;

use super::{Arrival, Client, ClientKey, Handler, IntoAnswer, Requests};
use crate::config::Sessions;
use crate::error::RecvError;

/// One request by itself: the packet, who asks, and when and how it arrived.
///
/// What [`question_fn`] gives its closure, and a handler made of a `tower::Service` (feature
/// `tower`) its service. It can be kept, and asked after the server's end. It is printed as who asks,
/// as a [`Client`] is, and without the packet.
#[derive(Clone)]
pub struct Question<Packet> {
    packet: Packet,
    /// Receives no more, so that what it received last stays this.
    run: Arc<dyn Asked>,
}

/// The part of a handler run that a question needs.
pub(crate) trait Asked: Send + Sync {
    fn client(&self) -> ClientKey;
    /// When and how the datagram arrived that was received last.
    fn arrival(&self) -> Option<Arrival>;
}

impl<Packet> Question<Packet> {
    /// Receives the one that a run is for.
    #[inline]
    pub(super) async fn receive(mut requests: Requests<Packet>) -> Result<Self, RecvError> {
        let packet = requests.recv().await?;
        let run = requests.asked();
        Ok(Self { packet, run })
    }

    /// The packet.
    pub fn packet(&self) -> &Packet {
        &self.packet
    }

    /// The packet, without the rest.
    pub fn into_packet(self) -> Packet {
        self.packet
    }

    /// The same question with another packet, made of this one: for layers that check or translate.
    pub fn map<Other>(self, change: impl FnOnce(Packet) -> Other) -> Question<Other> {
        Question {
            packet: change(self.packet),
            run: self.run,
        }
    }

    /// The address that it was sent from. Anybody can forge it.
    pub fn remote_addr(&self) -> SocketAddr {
        self.run.client().remote
    }

    /// The address of this server that it was sent to, as [`Client::local_addr`]. `None` on a wildcard
    /// bind where the transport cannot tell.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.arrival().local_addr()
    }

    /// When and how it arrived.
    pub fn arrival(&self) -> Arrival {
        self.run.arrival().expect("its packet was received")
    }
}

impl<Packet> fmt::Display for Question<Packet> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.run.client().print(self.local_addr(), f)
    }
}

impl<Packet: fmt::Debug> fmt::Debug for Question<Packet> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("packet", &self.packet)
            .field("remote_addr", &self.remote_addr())
            .field("arrival", &self.arrival())
            .finish()
    }
}

/// Like [`answer_fn`](crate::answer_fn), for a closure that wants to know who asks, and when and how
/// the request arrived.
///
/// ```
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::DatagramProtocol;
/// use postbox_server::{ClientFault, Question, Server, question_fn};
///
/// let protocol = DatagramProtocol::new(JsonSerializer::<u32, String>::new());
/// let handler = question_fn(async |question: Question<String>| {
///     if !question.remote_addr().ip().is_loopback() {
///         return Err(ClientFault::new("only this host may ask"));
///     }
///     Ok(question.packet().len() as u32)
/// });
/// let builder = Server::builder(protocol, handler);
/// # let _ = builder;
/// ```
///
/// [`Server::builder_question_fn`](crate::Server::builder_question_fn) knows the request's type from
/// the protocol.
pub fn question_fn<F, Fut, Request, Response>(function: F) -> QuestionFn<F, Request, Response>
where
    F: Fn(Question<Request>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoAnswer<Response>> + Send,
    Request: Send + 'static,
    Response: Send + 'static,
{
    QuestionFn {
        function,
        types: PhantomData,
    }
}

/// The handler of [`question_fn`].
pub struct QuestionFn<F, Request, Response> {
    function: F,
    types: PhantomData<fn(Request) -> Response>,
}

impl<F, Request, Response> fmt::Debug for QuestionFn<F, Request, Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuestionFn").finish_non_exhaustive()
    }
}

impl<F, Fut, Request, Response> Handler for QuestionFn<F, Request, Response>
where
    F: Fn(Question<Request>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoAnswer<Response>> + Send,
    Request: Send + 'static,
    Response: Send + 'static,
{
    type Request = Request;
    type Response = Response;

    async fn handle(
        &self,
        client: Client<Response>,
        requests: Requests<Request>,
    ) -> Result<(), BoxError> {
        let question = Question::receive(requests).await?;
        if let Some(response) = (self.function)(question).await.into_answer()? {
            client.send(response).await?;
        }
        Ok(())
    }

    fn concurrency(&self) -> Option<usize> {
        Some(Sessions::CONCURRENCY)
    }
}
