//! What is put around a handler.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use postbox_server::{
    BoxError, BoxedHandler, Client, Handler, Middleware, Requests, Server, ServiceScope, Wrapped,
};

use crate::common::*;
use crate::contract;

type Lines = Arc<Mutex<Vec<&'static str>>>;

/// A handler that is all that a handler can be.
struct Whole(Lines);

impl Handler for Whole {
    type Request = Bytes;
    type Response = Bytes;

    async fn handle(
        &self,
        client: Client<Bytes>,
        mut requests: Requests<Bytes>,
    ) -> Result<(), BoxError> {
        let request = requests.recv().await?;
        self.0.lock().unwrap().push("handled");
        if request == "error" {
            return Err("no such thing".into());
        }
        client.send(request).await?;
        Ok(())
    }

    fn concurrency(&self) -> Option<usize> {
        Some(7)
    }

    async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
        let _ = service;
        self.0.lock().unwrap().push("initialized");
        Ok(())
    }
}

/// Notes what it is around, and handles some clients itself.
#[derive(Clone)]
struct Around(&'static str, Lines);

impl<H: Handler> Middleware<H> for Around {
    async fn handle(
        &self,
        next: &H,
        client: Client<H::Response>,
        requests: Requests<H::Request>,
    ) -> Result<(), BoxError> {
        self.1.lock().unwrap().push(self.0);
        let result = next.handle(client, requests).await;
        let outcome = if result.is_ok() { "returned" } else { "failed" };
        self.1.lock().unwrap().push(outcome);
        result
    }
}

contract! {
    async fn h1_middleware_is_around_each_run_and_passes_on_all_that_a_handler_is(world: World) {
        let lines = Lines::default();
        let around = |name| Around(name, Arc::clone(&lines));
        let inner = Wrapped::new(Whole(Arc::clone(&lines)), around("inner"));
        // However it is wrapped further.
        let handler = Wrapped::new(BoxedHandler::new(Arc::new(inner)), around("outer"));
        assert_eq!(handler.concurrency(), Some(7));
        let server = world.serve(Server::builder(raw(), handler)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        peer.send("error").await;
        let logged = world.logs.wait_for(1).await;
        assert!(logged[0].message.contains("no such thing"), "{logged:?}");
        server.stop().await.unwrap();
        let expected = [
            "initialized",
            "outer", "inner", "handled", "returned", "returned",
            "outer", "inner", "handled", "failed", "failed",
        ];
        assert_eq!(*lines.lock().unwrap(), expected);
    }
}
