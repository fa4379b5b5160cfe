//! A handler made of a `tower::Service`.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;

use postbox_protocol::BoxError;
use tower_service::Service;

use super::{Client, Handler, IntoAnswer, Question, Requests};
use crate::config::Sessions;

/// Makes a handler of a `tower::Service` that answers one [`Question`] with one packet. tower's layers
/// bound how long an answer may take, how many are worked on at once, and so on.
///
/// As with [`answer_fn`](crate::answer_fn), many requests of one client are answered at once, up to
/// 256 of each address, unless [`concurrency`](crate::ServerBuilder::concurrency) says otherwise. For
/// each request the service is cloned, the clone is waited for until it is ready, and then called: so
/// limits that clones share hold for the whole server. A rate limit, which cannot be cloned, needs a
/// buffer around it.
///
/// An error of the service is logged as a handler's, with a limit, and not answered.
/// [`on_error`](AnswerService::on_error) says otherwise.
///
/// ```
/// use std::time::Duration;
///
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::{BoxError, DatagramProtocol};
/// use postbox_server::{Question, Server, answer_service};
/// use tower::load_shed::error::Overloaded;
/// use tower::{ServiceBuilder, service_fn};
///
/// let service = ServiceBuilder::new()
///     .load_shed()
///     .concurrency_limit(100)
///     .timeout(Duration::from_millis(200))
///     .service(service_fn(async |question: Question<String>| {
///         Ok::<_, BoxError>(format!("Hello, {}!", question.packet()))
///     }));
/// let handler = answer_service(service).on_error(|error: BoxError| {
///     if error.is::<Overloaded>() {
///         Ok(Some("busy".to_owned())) // tell them
///     } else {
///         Err(error) // log it
///     }
/// });
/// let protocol = DatagramProtocol::new(JsonSerializer::<String, String>::new());
/// let builder = Server::builder(protocol, handler);
/// # let _ = builder;
/// ```
pub fn answer_service<S, Request>(service: S) -> AnswerService<S, Request>
where
    S: Service<Question<Request>, Error: Into<BoxError>>,
{
    AnswerService {
        service,
        on_error: Logged,
        types: PhantomData,
    }
}

/// The handler of [`answer_service`].
pub struct AnswerService<S, Request, E = Logged> {
    service: S,
    on_error: E,
    types: PhantomData<fn(Request)>,
}

/// The errors of a service are logged: what [`AnswerService`] does by itself.
#[derive(Debug, Clone, Copy)]
pub struct Logged;

impl<S, Request> AnswerService<S, Request>
where
    S: Service<Question<Request>>,
{
    /// What is answered where the service fails, or is overloaded: [an answer, none, or an
    /// error](IntoAnswer), which is logged as a handler's.
    ///
    /// An answer to each request of a flood is a flood too: `None` is often better.
    pub fn on_error<F, A>(self, answer: F) -> AnswerService<S, Request, F>
    where
        F: Fn(S::Error) -> A + Send + Sync + 'static,
        A: IntoAnswer<S::Response>,
    {
        AnswerService {
            service: self.service,
            on_error: answer,
            types: PhantomData,
        }
    }
}

impl<S, Request, E> fmt::Debug for AnswerService<S, Request, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerService").finish_non_exhaustive()
    }
}

/// What becomes of a service's error.
trait OnError<Error, Response>: Send + Sync + 'static {
    fn answer(&self, error: Error) -> Result<Option<Response>, BoxError>;
}

impl<Error: Into<BoxError>, Response> OnError<Error, Response> for Logged {
    fn answer(&self, error: Error) -> Result<Option<Response>, BoxError> {
        Err(error.into())
    }
}

impl<F, A, Error, Response> OnError<Error, Response> for F
where
    F: Fn(Error) -> A + Send + Sync + 'static,
    A: IntoAnswer<Response>,
{
    fn answer(&self, error: Error) -> Result<Option<Response>, BoxError> {
        self(error).into_answer()
    }
}

impl<S, Request, E> Handler for AnswerService<S, Request, E>
where
    S: Service<Question<Request>, Response: Send + 'static, Error: Send, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    Request: Send + 'static,
    E: OnError<S::Error, S::Response>,
{
    type Request = Request;
    type Response = S::Response;

    async fn handle(
        &self,
        client: Client<S::Response>,
        requests: Requests<Request>,
    ) -> Result<(), BoxError> {
        let question = Question::receive(requests).await?;
        let mut service = self.service.clone();
        let answer = match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(question).await,
            Err(error) => Err(error),
        };
        let answer = match answer {
            Ok(response) => Some(response),
            Err(error) => self.on_error.answer(error)?,
        };
        if let Some(response) = answer {
            client.send(response).await?;
        }
        Ok(())
    }

    fn concurrency(&self) -> Option<usize> {
        Some(Sessions::CONCURRENCY)
    }
}
