//! A handler whose type is not known at compile time.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use postbox_protocol::BoxError;

use super::{Client, Handler, Requests};
use crate::service::ServiceScope;
use crate::support::panics;

type BoxFuture<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

/// Any handler of these packets, boxed: for a handler that is chosen at run time.
///
/// It costs one allocation for each run.
///
/// ```
/// use postbox_server::{BoxedHandler, Client, Requests, handler_fn};
///
/// fn choose(loud: bool) -> BoxedHandler<String, String> {
///     if loud {
///         let handle = |client: Client<String>, mut requests: Requests<String>| async move {
///             client.send(requests.recv().await?.to_uppercase()).await?;
///             Ok(())
///         };
///         BoxedHandler::new(handler_fn(handle))
///     } else {
///         BoxedHandler::new(handler_fn(|_: Client<String>, _: Requests<String>| async { Ok(()) }))
///     }
/// }
/// # let _ = (choose(true), choose(false));
/// ```
pub struct BoxedHandler<Request, Response> {
    handler: Box<dyn DynHandler<Request, Response>>,
}

impl<Request: Send + 'static, Response: Send + 'static> BoxedHandler<Request, Response> {
    /// Boxes a handler.
    pub fn new<H: Handler<Request = Request, Response = Response>>(handler: H) -> Self {
        Self {
            handler: Box::new(handler),
        }
    }
}

impl<Request, Response> fmt::Debug for BoxedHandler<Request, Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedHandler").finish_non_exhaustive()
    }
}

trait DynHandler<Request, Response>: Send + Sync {
    fn handle(&self, client: Client<Response>, requests: Requests<Request>) -> BoxFuture<'_>;
    fn concurrency(&self) -> Option<usize>;
    fn service_init<'a>(&'a self, service: &'a mut ServiceScope) -> BoxFuture<'a>;
}

impl<H: Handler> DynHandler<H::Request, H::Response> for H {
    fn handle(&self, client: Client<H::Response>, requests: Requests<H::Request>) -> BoxFuture<'_> {
        Box::pin(Handler::handle(self, client, requests))
    }

    fn concurrency(&self) -> Option<usize> {
        Handler::concurrency(self)
    }

    fn service_init<'a>(&'a self, service: &'a mut ServiceScope) -> BoxFuture<'a> {
        Box::pin(Handler::service_init(self, service))
    }
}

impl<Request: Send + 'static, Response: Send + 'static> Handler
    for BoxedHandler<Request, Response>
{
    type Request = Request;
    type Response = Response;

    // Neither awaits the user's future: that drops it while a panic of it unwinds, and a second
    // panic then aborts the process.

    fn handle(
        &self,
        client: Client<Response>,
        requests: Requests<Request>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.handler.handle(client, requests)
    }

    fn concurrency(&self) -> Option<usize> {
        self.handler.concurrency()
    }

    async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
        let mut init = self.handler.service_init(service);
        let result = poll_fn(|cx| {
            panics::catch(|| init.as_mut().poll(cx))
                .unwrap_or_else(|message| Poll::Ready(Err(panics::error(message))))
        });
        let result = result.await;
        let dropped = panics::drop_caught(init).map_err(panics::error);
        result.and(dropped)
    }
}
