//! What a worker serves: a protocol, and how a client is handled.

use std::marker::PhantomData;

use postbox_protocol::{BoxError, Protocol};

use crate::handler::{Client, Requests};

/// A protocol and a handler. The future of the handler, which has no name, is a type of it.
pub(super) trait Served {
    type Protocol: Protocol;
    type Future: Future<Output = Result<(), BoxError>>;

    fn handle(
        &self,
        client: Client<<Self::Protocol as Protocol>::Sent>,
        requests: Requests<<Self::Protocol as Protocol>::Received>,
    ) -> Self::Future;
}

/// [`Served`] by a closure.
pub(super) struct ServedBy<P, F> {
    handle: F,
    protocol: PhantomData<fn() -> P>,
}

impl<P, F> ServedBy<P, F> {
    pub(super) fn new(handle: F) -> Self {
        Self {
            handle,
            protocol: PhantomData,
        }
    }
}

impl<P, F, Fut> Served for ServedBy<P, F>
where
    P: Protocol,
    F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    type Protocol = P;
    type Future = Fut;

    fn handle(&self, client: Client<P::Sent>, requests: Requests<P::Received>) -> Fut {
        (self.handle)(client, requests)
    }
}
