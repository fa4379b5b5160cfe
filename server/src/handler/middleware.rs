//! What is put around a handler.

use std::fmt;

use postbox_protocol::BoxError;

use super::{Client, Handler, Requests};
use crate::service::ServiceScope;

/// What is done around each run of a handler: timing, counting, a context variable, a check.
///
/// It says what happens around `handle`, and that is all that it can say: what else a handler is, its
/// `service_init` and its `concurrency`, [`Wrapped`] passes on. It sees runs, not requests; for
/// handlers that answer one request tower's layers (feature `tower`) see each.
///
/// Here, around any handler, the longest run so far:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Instant;
///
/// use postbox_protocol::{DatagramProtocol, RawSerializer};
/// use postbox_server::{
///     BoxError, Client, Handler, MemoryNetwork, Middleware, Requests, Server, Wrapped, answer_fn,
/// };
///
/// #[derive(Clone, Default)]
/// struct Longest {
///     micros: Arc<AtomicU64>,
/// }
///
/// impl<H: Handler> Middleware<H> for Longest {
///     async fn handle(
///         &self,
///         next: &H,
///         client: Client<H::Response>,
///         requests: Requests<H::Request>,
///     ) -> Result<(), BoxError> {
///         let begun = Instant::now();
///         let result = next.handle(client, requests).await;
///         let took = begun.elapsed().as_micros() as u64;
///         self.micros.fetch_max(took, Ordering::Relaxed);
///         result
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let longest = Longest::default();
/// let slowly = answer_fn(async |request| {
///     tokio::time::sleep(std::time::Duration::from_millis(2)).await;
///     request
/// });
/// let handler = Wrapped::new(slowly, longest.clone());
/// let builder = Server::builder(DatagramProtocol::new(RawSerializer), handler);
///
/// let network = MemoryNetwork::new();
/// let server = builder.bind_memory(&network, "127.0.0.1:7".parse()?)?;
/// let client = network.socket("127.0.0.1:0".parse()?)?;
/// let ask = async {
///     client.send_to(b"?", "127.0.0.1:7".parse()?)?;
///     client.recv_from().await?;
///     Ok::<(), BoxError>(())
/// };
/// let mut asked = Ok(());
/// server.serve_until(async { asked = ask.await }).await?;
/// assert!(longest.micros.load(Ordering::Relaxed) >= 2_000);
/// # asked
/// # }
/// ```
pub trait Middleware<H: Handler>: Send + Sync + 'static {
    /// Handles one client, mostly by `next`, which may also be left out: see [`Handler::handle`].
    fn handle(
        &self,
        next: &H,
        client: Client<H::Response>,
        requests: Requests<H::Request>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// A handler with a [`Middleware`] around it.
#[derive(Clone)]
pub struct Wrapped<H, M> {
    handler: H,
    middleware: M,
}

impl<H: Handler, M: Middleware<H>> Wrapped<H, M> {
    /// Puts a middleware around a handler. Of several, the one that is put around last begins first.
    pub fn new(handler: H, middleware: M) -> Self {
        Self {
            handler,
            middleware,
        }
    }
}

impl<H, M> fmt::Debug for Wrapped<H, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped").finish_non_exhaustive()
    }
}

impl<H: Handler, M: Middleware<H>> Handler for Wrapped<H, M> {
    type Request = H::Request;
    type Response = H::Response;

    fn handle(
        &self,
        client: Client<H::Response>,
        requests: Requests<H::Request>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.middleware.handle(&self.handler, client, requests)
    }

    fn concurrency(&self) -> Option<usize> {
        self.handler.concurrency()
    }

    fn service_init(
        &self,
        service: &mut ServiceScope,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.handler.service_init(service)
    }
}
