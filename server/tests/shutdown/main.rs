//! V4: a shutdown.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

#[path = "../common/mod.rs"]
mod common;

mod awaited;
mod calls;
mod grace;
mod receives;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use postbox_server::{
    BoxError, Client, Handler, Limits, RecvError, Requests, Server, ServerBuilder, ServerHandle,
    Service,
};

const HOUR: Duration = Duration::from_secs(3600);

/// How a receive ended, as an answer.
fn told(result: Result<Bytes, RecvError>) -> Bytes {
    match result {
        Ok(request) => request,
        Err(RecvError::Closed) => "closed".into(),
        Err(other) => format!("{other:?}").into(),
    }
}

type Init = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// An echo server with a service initialization.
struct WithInit<I>(I);

impl<I: Fn(&mut Service) -> Init + Send + Sync + 'static> Handler for WithInit<I> {
    type Request = Bytes;
    type Response = Bytes;

    async fn handle(
        &self,
        client: Client<Bytes>,
        mut requests: Requests<Bytes>,
    ) -> Result<(), BoxError> {
        client.send(requests.recv().await?).await?;
        Ok(())
    }

    async fn service_init(&self, service: &mut Service) -> Result<(), BoxError> {
        (self.0)(service).await
    }
}

/// An echo server whose exit actions may take for ever.
fn with_init<I>(init: I) -> ServerBuilder
where
    I: Fn(&mut Service) -> Init + Send + Sync + 'static,
{
    let limits = Limits {
        exit: HOUR,
        ..Limits::default()
    };
    Server::builder(raw(), WithInit(init)).limits(limits)
}

/// A way for a handler to find the handle of its own server.
#[derive(Clone, Default)]
struct Own(Arc<Mutex<Option<ServerHandle>>>);

impl Own {
    fn set(&self, handle: &ServerHandle) {
        *self.0.lock().unwrap() = Some(handle.clone());
    }

    fn handle(&self) -> ServerHandle {
        self.0.lock().unwrap().clone().unwrap()
    }
}
