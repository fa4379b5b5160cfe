//! Handlers that answer one request: plain questions.

use std::fmt;
use std::marker::PhantomData;

use postbox_protocol::{BoxError, Numbered};

use super::{Client, Handler, Requests};
use crate::config::Sessions;

/// Makes a handler of a closure that answers one request.
///
/// Many requests of one client are answered at once, up to 256 of each address, so the answers come in
/// the order in which they are ready: a client tells them apart by something in them. One address is
/// often not one user, and where it is one, it seldom waits for one answer before it asks again:
/// every identifier of a RADIUS client's port can be in use (RFC 2865 section 3).
/// [`ServerBuilder::concurrency`](crate::ServerBuilder::concurrency) sets another number; with 1 a
/// client is answered in the order of its requests.
///
/// The closure is not told who asks. Where the answer depends on that, as on a secret that each
/// client has of its own, or on when the request arrived, use [`question_fn`](crate::question_fn).
///
/// What the closure answers is [an answer, none, or an error](IntoAnswer). A request that cannot be parsed is
/// logged as the client's fault, and not answered.
///
/// ```
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::DatagramProtocol;
/// use postbox_server::{BoxError, Server, answer_fn};
///
/// async fn look_up(name: &str) -> Result<Option<u32>, BoxError> {
///     // ... in a database
/// #   Ok(Some(name.len() as u32))
/// }
///
/// let protocol = DatagramProtocol::new(JsonSerializer::<u32, String>::new());
/// let builder = Server::builder(protocol, answer_fn(async |name: String| look_up(&name).await));
/// # let _ = builder;
/// ```
///
/// [`Server::builder_answer_fn`](crate::Server::builder_answer_fn) knows the request's type from the
/// protocol.
pub fn answer_fn<F, Fut, Request, Response>(function: F) -> AnswerFn<F, Request, Response>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoAnswer<Response>> + Send,
    Request: Send + 'static,
    Response: Send + 'static,
{
    AnswerFn {
        function,
        types: PhantomData,
    }
}

/// The same with a state, which each call is given a clone of: an `Arc`, or what is as cheap to
/// clone.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Arc;
///
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::DatagramProtocol;
/// use postbox_server::{Server, answer_fn_with};
///
/// let ages: Arc<HashMap<String, u32>> = Arc::default();
/// let protocol = DatagramProtocol::new(JsonSerializer::<u32, String>::new());
/// let handler = answer_fn_with(ages, async |ages: Arc<HashMap<_, _>>, name: String| {
///     ages.get(&name).copied() // or no answer
/// });
/// let builder = Server::builder(protocol, handler);
/// # let _ = builder;
/// ```
pub fn answer_fn_with<S, F, Fut, Request, Response>(
    state: S,
    function: F,
) -> AnswerFn<impl Fn(Request) -> Fut + Send + Sync + 'static, Request, Response>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoAnswer<Response>> + Send,
    Request: Send + 'static,
    Response: Send + 'static,
{
    answer_fn(move |request| function(state.clone(), request))
}

/// What a request is answered with: a response, or `None` for no answer at all, or either in a
/// `Result` whose error is logged as a handler's.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no answer with `{Response}`",
    note = "a closure of `answer_fn` answers `{Response}`, `Option<{Response}>`, or a `Result` of one of them"
)]
pub trait IntoAnswer<Response> {
    /// The answer, if there is one.
    ///
    /// # Errors
    ///
    /// What the request failed with.
    fn into_answer(self) -> Result<Option<Response>, BoxError>;
}

impl<Response> IntoAnswer<Response> for Response {
    fn into_answer(self) -> Result<Option<Self>, BoxError> {
        Ok(Some(self))
    }
}

impl<Response> IntoAnswer<Response> for Option<Response> {
    fn into_answer(self) -> Result<Self, BoxError> {
        Ok(self)
    }
}

impl<Response, E: Into<BoxError>> IntoAnswer<Response> for Result<Response, E> {
    fn into_answer(self) -> Result<Option<Response>, BoxError> {
        self.map(Some).map_err(Into::into)
    }
}

impl<Response, E: Into<BoxError>> IntoAnswer<Response> for Result<Option<Response>, E> {
    fn into_answer(self) -> Result<Option<Response>, BoxError> {
        self.map_err(Into::into)
    }
}

/// The handler of [`answer_fn`].
pub struct AnswerFn<F, Request, Response> {
    function: F,
    types: PhantomData<fn(Request) -> Response>,
}

impl<F, Request, Response> AnswerFn<F, Request, Response> {
    /// Answers [`Numbered`] requests: the closure is given the packet alone, and the number is
    /// copied into its answer, by which a client that asks knows its own.
    ///
    /// ```
    /// use postbox_codec_json::JsonSerializer;
    /// use postbox_protocol::{DatagramProtocol, NumberedSerializer};
    /// use postbox_server::{Server, answer_fn};
    ///
    /// let json = JsonSerializer::<usize, String>::new();
    /// let protocol = DatagramProtocol::new(NumberedSerializer::new(json));
    /// let handler = answer_fn(async |text: String| text.len()).numbered();
    /// let builder = Server::builder(protocol, handler);
    /// # let _ = builder;
    /// ```
    pub fn numbered(self) -> NumberedAnswerFn<F, Request, Response> {
        NumberedAnswerFn { answering: self }
    }
}

/// The handler of [`AnswerFn::numbered`].
pub struct NumberedAnswerFn<F, Request, Response> {
    answering: AnswerFn<F, Request, Response>,
}

impl<F, Request, Response> fmt::Debug for NumberedAnswerFn<F, Request, Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NumberedAnswerFn").finish_non_exhaustive()
    }
}

impl<F, Request, Response> fmt::Debug for AnswerFn<F, Request, Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerFn").finish_non_exhaustive()
    }
}

impl<F, Fut, Request, Response> Handler for AnswerFn<F, Request, Response>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoAnswer<Response>> + Send,
    Request: Send + 'static,
    Response: Send + 'static,
{
    type Request = Request;
    type Response = Response;

    async fn handle(
        &self,
        client: Client<Response>,
        mut requests: Requests<Request>,
    ) -> Result<(), BoxError> {
        let request = requests.recv().await?;
        let answer = (self.function)(request).await.into_answer()?;
        if let Some(response) = answer {
            client.send(response).await?;
        }
        Ok(())
    }

    fn concurrency(&self) -> Option<usize> {
        Some(Sessions::CONCURRENCY)
    }
}

impl<F, Fut, Request, Response> Handler for NumberedAnswerFn<F, Request, Response>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoAnswer<Response>> + Send,
    Request: Send + 'static,
    Response: Send + 'static,
{
    type Request = Numbered<Request>;
    type Response = Numbered<Response>;

    async fn handle(
        &self,
        client: Client<Numbered<Response>>,
        mut requests: Requests<Numbered<Request>>,
    ) -> Result<(), BoxError> {
        let Numbered { number, packet } = requests.recv().await?;
        let answer = (self.answering.function)(packet).await.into_answer()?;
        if let Some(response) = answer {
            client.send(Numbered::new(number, response)).await?;
        }
        Ok(())
    }

    fn concurrency(&self) -> Option<usize> {
        self.answering.concurrency()
    }
}
