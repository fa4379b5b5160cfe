//! A handler made of a closure.

use std::fmt;
use std::marker::PhantomData;

use postbox_protocol::BoxError;

use super::{Client, Handler, Requests};

/// Makes a handler of a closure.
///
/// The closure's parameters need their types named;
/// [`Server::builder_fn`](crate::Server::builder_fn) infers them from the protocol.
///
/// ```
/// use postbox_server::{Client, Requests, handler_fn};
///
/// let double = handler_fn(|client: Client<u32>, mut requests: Requests<u32>| async move {
///     client.send(2 * requests.recv().await?).await?;
///     Ok(())
/// });
/// # let _ = double;
/// ```
pub fn handler_fn<F, Fut, Request, Response>(function: F) -> HandlerFn<F, Request, Response>
where
    F: Fn(Client<Response>, Requests<Request>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send,
    Request: Send + 'static,
    Response: Send + 'static,
{
    HandlerFn {
        function,
        types: PhantomData,
    }
}

/// The same with a state, which each run is given a clone of: an `Arc`, or what is as cheap to clone.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// use postbox_server::{Client, Requests, handler_fn_with};
///
/// let sum: Arc<AtomicU32> = Arc::default();
/// let add = handler_fn_with(
///     sum,
///     async |sum: Arc<AtomicU32>, client: Client<u32>, mut requests: Requests<u32>| {
///         let number = requests.recv().await?;
///         client.send(sum.fetch_add(number, Ordering::Relaxed)).await?;
///         Ok(())
///     },
/// );
/// # let _ = add;
/// ```
pub fn handler_fn_with<S, F, Fut, Request, Response>(
    state: S,
    function: F,
) -> HandlerFn<
    impl Fn(Client<Response>, Requests<Request>) -> Fut + Send + Sync + 'static,
    Request,
    Response,
>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, Client<Response>, Requests<Request>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send,
    Request: Send + 'static,
    Response: Send + 'static,
{
    handler_fn(move |client, requests| function(state.clone(), client, requests))
}

/// The handler of [`handler_fn`].
pub struct HandlerFn<F, Request, Response> {
    function: F,
    types: PhantomData<fn(Request) -> Response>,
}

impl<F, Request, Response> fmt::Debug for HandlerFn<F, Request, Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFn").finish_non_exhaustive()
    }
}

impl<F, Fut, Request, Response> Handler for HandlerFn<F, Request, Response>
where
    F: Fn(Client<Response>, Requests<Request>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send,
    Request: Send + 'static,
    Response: Send + 'static,
{
    type Request = Request;
    type Response = Response;

    fn handle(
        &self,
        client: Client<Response>,
        requests: Requests<Request>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        (self.function)(client, requests)
    }
}
