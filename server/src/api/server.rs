//! The server object.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_protocol::{BoxError, Protocol};

use super::ServerBuilder;
use crate::error::ServeError;
use crate::handler::{
    AnswerFn, Client, Handler, HandlerFn, IntoAnswer, Question, QuestionFn, Requests, answer_fn,
    handler_fn, question_fn,
};
use crate::service::{DrainKind, DrainRequest, Phase, ServerHandle, Shared, Status};
use crate::serving::{Application, serve};
use crate::support::log::tell;

/// A UDP server: bound sockets, a protocol, a handler.
///
/// Made by [`Server::builder`]. It serves while [`serve_forever`](Self::serve_forever) or
/// [`serve_until`](Self::serve_until) runs, and can serve again afterwards. Dropping it closes it,
/// which the log tells (as a warning) if that ends a serving.
///
/// ```no_run
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::{BoxError, DatagramProtocol};
/// use postbox_server::Server;
///
/// #[tokio::main]
/// async fn main() -> Result<(), BoxError> {
///     // The server sends a number and receives a text.
///     let protocol = DatagramProtocol::new(JsonSerializer::<usize, String>::new());
///     let builder = Server::builder_fn(protocol, |client, mut requests| async move {
///         client.send(requests.recv().await?.len()).await?;
///         Ok(())
///     });
///     let server = builder.bind("localhost:9000").await?;
///     server.serve_until(tokio::signal::ctrl_c()).await?;
///     Ok(())
/// }
/// ```
pub struct Server {
    shared: Arc<Shared>,
    app: Arc<dyn Application>,
    /// Its sockets are those of whoever started the process, and go on after it.
    #[cfg(all(feature = "systemd", target_os = "linux"))]
    pub(super) inherited: bool,
}

impl Server {
    /// Begins to configure a server.
    ///
    /// The protocol is the server's side: it sends what the handler answers, and receives what it
    /// is asked. A type mismatch of `Request` and `Response` here means that it is the client's:
    /// `.flip()` it.
    pub fn builder<P, H>(protocol: P, handler: H) -> ServerBuilder
    where
        H: Handler,
        P: Protocol<Sent = H::Response, Received = H::Request>,
    {
        ServerBuilder::new(protocol, handler)
    }

    /// Begins to configure a server whose handler is a closure. Its types are those of the
    /// protocol.
    ///
    /// The protocol is the server's side, as in [`builder`](Self::builder). A closure takes
    /// whatever types it has, so one that is the client's shows only in the closure: requests that
    /// have the answer's type, and a `send` that wants the request's. `.flip()` it then.
    ///
    /// ```
    /// use postbox_protocol::{DatagramProtocol, RawSerializer};
    /// use postbox_server::Server;
    ///
    /// let echo = Server::builder_fn(
    ///     DatagramProtocol::new(RawSerializer),
    ///     |client, mut requests| async move {
    ///         client.send(requests.recv().await?).await?;
    ///         Ok(())
    ///     },
    /// );
    /// # let _ = echo;
    /// ```
    pub fn builder_fn<P, F, Fut>(protocol: P, function: F) -> ServerBuilder
    where
        P: Protocol<Sent: Send + 'static, Received: Send + 'static>,
        F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let handler: HandlerFn<F, P::Received, P::Sent> = handler_fn(function);
        ServerBuilder::new(protocol, handler)
    }

    /// Begins to configure a server that answers plain questions, by a closure: see [`answer_fn`]. Its
    /// types are those of the protocol.
    ///
    /// ```
    /// use postbox_protocol::{DatagramProtocol, RawSerializer};
    /// use postbox_server::Server;
    ///
    /// let protocol = DatagramProtocol::new(RawSerializer);
    /// let first_half = Server::builder_answer_fn(protocol, async |request| {
    ///     request.slice(..request.len() / 2)
    /// });
    /// # let _ = first_half;
    /// ```
    pub fn builder_answer_fn<P, F, Fut>(protocol: P, function: F) -> ServerBuilder
    where
        P: Protocol<Sent: Send + 'static, Received: Send + 'static>,
        F: Fn(P::Received) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoAnswer<P::Sent>> + Send + 'static,
    {
        let handler: AnswerFn<F, P::Received, P::Sent> = answer_fn(function);
        ServerBuilder::new(protocol, handler)
    }

    /// The same for a closure that wants to know who asks, and when: see [`question_fn`].
    ///
    /// ```
    /// use postbox_protocol::{DatagramProtocol, RawSerializer};
    /// use postbox_server::Server;
    ///
    /// let protocol = DatagramProtocol::new(RawSerializer);
    /// let address_of_asker = Server::builder_question_fn(protocol, async |question| {
    ///     bytes::Bytes::from(question.remote_addr().to_string())
    /// });
    /// # let _ = address_of_asker;
    /// ```
    pub fn builder_question_fn<P, F, Fut>(protocol: P, function: F) -> ServerBuilder
    where
        P: Protocol<Sent: Send + 'static, Received: Send + 'static>,
        F: Fn(Question<P::Received>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoAnswer<P::Sent>> + Send + 'static,
    {
        let handler: QuestionFn<F, P::Received, P::Sent> = question_fn(function);
        ServerBuilder::new(protocol, handler)
    }

    pub(super) fn new(shared: Shared, app: Arc<dyn Application>) -> Self {
        Self {
            shared: Arc::new(shared),
            app,
            #[cfg(all(feature = "systemd", target_os = "linux"))]
            inherited: false,
        }
    }

    /// A handle to this server, for other tasks and threads.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(Arc::clone(&self.shared))
    }

    /// Serves until [`ServerHandle::shutdown`]. Serving begins at the call: from then on a second
    /// call answers *already running*, and a shutdown ends this one.
    ///
    /// The future does not keep the server open: a function that spawns it and then returns drops
    /// its [`Server`], and so closes it at once (the log has a warning). Move the server into the
    /// task, and keep a handle:
    ///
    /// ```
    /// # use postbox_protocol::{DatagramProtocol, RawSerializer};
    /// # use postbox_server::{BoxError, Server, ServerHandle};
    /// # async fn example() -> Result<ServerHandle, BoxError> {
    /// # let builder = Server::builder_fn(
    /// #     DatagramProtocol::new(RawSerializer),
    /// #     |_, _| async { Ok(()) },
    /// # );
    /// let server = builder.bind("localhost:9000").await?;
    /// let handle = server.handle();
    /// tokio::spawn(async move { server.serve_forever().await });
    /// handle.started().await?;
    /// Ok(handle) // `handle.shutdown().await` ends the serving
    /// # }
    /// ```
    ///
    /// It must run within a tokio runtime with time and I/O enabled; workers are tasks of that
    /// runtime.
    ///
    /// # Errors
    ///
    /// [`ServeError`], if serving could not begin, or ended otherwise than by a shutdown.
    ///
    /// # Panics
    ///
    /// When it is polled outside of a tokio runtime, or in one without time or I/O.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is a shutdown without grace: handlers are dropped, background tasks
    /// stopped, exit actions run by a task of the runtime. Where no runtime is left the synchronous
    /// ones run at once, and the others are logged as not run. The server can serve again.
    #[doc(alias("serve", "run"))]
    pub fn serve_forever(&self) -> Serving {
        let (app, claim) = (Arc::clone(&self.app), self.shared.claim());
        Serving {
            future: Box::pin(async move { serve(app, claim?).await }),
        }
    }

    /// Serves until `signal` is ready (or until [`ServerHandle::shutdown`]), then shuts down with
    /// grace.
    ///
    /// ```no_run
    /// # use postbox_server::{ServeError, Server};
    /// # async fn example(server: Server) -> Result<(), ServeError> {
    /// server.serve_until(tokio::signal::ctrl_c()).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`serve_forever`](Self::serve_forever).
    ///
    /// # Panics
    ///
    /// As [`serve_forever`](Self::serve_forever).
    ///
    /// # Cancel safety
    ///
    /// As [`serve_forever`](Self::serve_forever).
    pub fn serve_until<S: Future>(
        &self,
        signal: S,
    ) -> impl Future<Output = Result<(), ServeError>> + use<S> {
        self.serve_and_then(signal, |shared| {
            let _ = shared.request_stop();
        })
    }

    /// Serves until `signal` is ready, then [drains](ServerHandle::drain): what has arrived is
    /// handled, and conversations go on, `within` this time at the latest. What most programs want
    /// at SIGTERM. A signal that is ready before the server has [started](ServerHandle::started) is a
    /// shutdown: nothing is handled.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use postbox_server::{ServeError, Server};
    /// # async fn example(server: Server) -> Result<(), ServeError> {
    /// let signal = tokio::signal::ctrl_c();
    /// server.serve_until_drained(signal, Duration::from_secs(30)).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`serve_forever`](Self::serve_forever).
    ///
    /// # Panics
    ///
    /// As [`serve_forever`](Self::serve_forever).
    ///
    /// # Cancel safety
    ///
    /// As [`serve_forever`](Self::serve_forever).
    pub fn serve_until_drained<S: Future>(
        &self,
        signal: S,
        within: Duration,
    ) -> impl Future<Output = Result<(), ServeError>> + use<S> {
        self.serve_until_drained_as(DrainKind::Finish, signal, within)
    }

    /// Serves until `signal` is ready, then [hands over](ServerHandle::hand_over): what waits in the
    /// sockets is left to a successor that has them too, `within` this time at the latest. Close the
    /// server, or end the process, when it returns.
    ///
    /// # Errors
    ///
    /// As [`serve_forever`](Self::serve_forever).
    ///
    /// # Panics
    ///
    /// As [`serve_forever`](Self::serve_forever).
    ///
    /// # Cancel safety
    ///
    /// As [`serve_forever`](Self::serve_forever).
    pub fn serve_until_handed_over<S: Future>(
        &self,
        signal: S,
        within: Duration,
    ) -> impl Future<Output = Result<(), ServeError>> + use<S> {
        self.serve_until_drained_as(DrainKind::HandOver, signal, within)
    }

    pub(super) fn serve_until_drained_as<S: Future>(
        &self,
        kind: DrainKind,
        signal: S,
        within: Duration,
    ) -> impl Future<Output = Result<(), ServeError>> + use<S> {
        self.serve_and_then(signal, move |shared| {
            let _ = shared.request_drain(DrainRequest::new(kind, within));
        })
    }

    fn serve_and_then<S: Future, E: FnOnce(&Shared)>(
        &self,
        signal: S,
        end: E,
    ) -> impl Future<Output = Result<(), ServeError>> + use<S, E> {
        let mut serving = self.serve_forever();
        let shared = Arc::clone(&self.shared);
        async move {
            let mut signal = pin!(signal);
            let ended = poll_fn(|cx| match Pin::new(&mut serving).poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => signal.as_mut().poll(cx).map(|_| None),
            });
            match ended.await {
                Some(result) => result,
                None => {
                    end(&shared);
                    serving.await
                }
            }
        }
    }

    /// Shuts down and closes the sockets, for good. See [`ServerHandle::close`].
    ///
    /// # Cancel safety
    ///
    /// Once begun, the close is completed also if the future is dropped.
    pub async fn close(&self) {
        self.handle().close().await;
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.shared.addresses())
            .finish()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (Status { phase, closed, .. }, _) = self.shared.begin_close();
        // Also where the task that is to serve has not run yet.
        if !closed && matches!(phase, Phase::Called | Phase::Starting | Phase::Serving) {
            tell(|| tracing::warn!("the server was dropped while it served, so it shuts down"));
        }
    }
}

/// The future of [`Server::serve_forever`].
#[must_use = "a server serves while this future runs; dropping it ends serving"]
pub struct Serving {
    future: Pin<Box<dyn Future<Output = Result<(), ServeError>> + Send>>,
}

impl Future for Serving {
    type Output = Result<(), ServeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}
