//! What a user writes: one handler for the whole service.

use std::sync::Arc;

use postbox_protocol::BoxError;

use super::{Client, Requests};
use crate::service::ServiceScope;

/// Handles the clients of a server. There is one instance for the whole service, and one run of
/// [`handle`](Self::handle) at most for each client.
///
/// # What the server does around it
///
/// - `handle` is called when a datagram arrives from a client that has no handler running,
///   **before** the datagram is parsed: `requests.recv()` parses it.
/// - What the client sends while its handler runs waits, in order, in the client's bounded queue.
///   The handler may receive it (a conversation), or end: then a new run starts on the next
///   datagram at once.
/// - A handler that ends before it received discards the one datagram it was started for. That is
///   how a client is refused: it returns `Ok(())`, without an answer or a log.
/// - An error that it returns is logged (with `tracing`), with the client's address and the chain
///   of causes. The server goes on, and so does this client with its next datagram. A panic is
///   treated the same. What the client caused is a warning, also what the handler marks as a
///   [`ClientFault`](crate::ClientFault); that the server was closed is no error of the handler's,
///   and logged below one. [How often](crate#the-log) each kind is logged has a limit.
/// - When the server shuts down, every receive answers
///   [`RecvError::Closed`](crate::RecvError::Closed). Handlers that still run after the grace
///   period are dropped where they wait.
///
/// # Where it runs
///
/// A handler is polled where its datagram arrives, in the receive loop of its worker: most handlers
/// answer at once, without a task, a wake-up or a channel. The price: a handler that computes for
/// long or blocks its thread holds up all clients of its worker. Use
/// [`tokio::task::spawn_blocking`] for such work, or more [workers](crate::ServerBuilder::workers);
/// the log names a handler that does it.
///
/// # Bad datagrams
///
/// A receive that answers [`RecvError::Parse`](crate::RecvError::Parse) has a client's fault to
/// tell. Its `{error}` names no more than the step that failed; what was wrong is in the causes.
/// [`DatagramParseError`](postbox_protocol::DatagramParseError) shows how to print them, and why to
/// be careful with that text: any stranger can provoke it.
///
/// # What a waiting client costs
///
/// Some 150 bytes, and what the handler itself holds while it waits: compilers keep each variable
/// that lives across an `.await`, and what a `match` on an awaited result matches, while its arms
/// wait. Take a large request out with `let` first, and drop it before the next receive.
///
/// # Examples
///
/// ```
/// use postbox_server::{BoxError, Client, Handler, Requests};
///
/// struct Double;
///
/// impl Handler for Double {
///     type Request = u32;
///     type Response = u32;
///
///     async fn handle(
///         &self,
///         client: Client<u32>,
///         mut requests: Requests<u32>,
///     ) -> Result<(), BoxError> {
///         let number = requests.recv().await?;
///         client.send(2 * number).await?;
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "implement `Handler` for it, or make one of a closure with `handler_fn` or `Server::builder_fn`"
)]
pub trait Handler: Send + Sync + 'static {
    /// What clients send.
    type Request: Send + 'static;
    /// What clients are sent.
    type Response: Send + 'static;

    /// Handles one client, from its first datagram to the end of the conversation.
    ///
    /// Can be written as `async fn handle(..)`.
    fn handle(
        &self,
        client: Client<Self::Response>,
        requests: Requests<Self::Request>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// How many datagrams of one address are handled at once, each for itself in a run of its own:
    /// what [`ServerBuilder::concurrency`](crate::ServerBuilder::concurrency) says where it is not
    /// called. `None`, the default: one after the other, in one run that may receive them all.
    ///
    /// For handlers that answer one request, whatever server they are used in.
    fn concurrency(&self) -> Option<usize> {
        None
    }

    /// Sets the service up: runs once per serving, before the first datagram is handled. What it
    /// [sends](ServiceScope::clients) leaves meanwhile.
    ///
    /// An error, or a panic, fails serving; nothing is served then. Exit actions registered before
    /// it run all the same.
    fn service_init(
        &self,
        service: &mut ServiceScope,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = service;
        async { Ok(()) }
    }
}

impl<H: Handler> Handler for Arc<H> {
    type Request = H::Request;
    type Response = H::Response;

    fn handle(
        &self,
        client: Client<H::Response>,
        requests: Requests<H::Request>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        H::handle(self, client, requests)
    }

    fn concurrency(&self) -> Option<usize> {
        H::concurrency(self)
    }

    fn service_init(
        &self,
        service: &mut ServiceScope,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        H::service_init(self, service)
    }
}
