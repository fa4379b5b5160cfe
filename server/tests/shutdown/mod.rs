//! V4 and V11: a shutdown, and a drain before it.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod awaited;
mod calls;
mod drain;
mod grace;
mod hand_over;
mod named;
mod oddly;
mod receives;
mod several;
mod slowly;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::service::{InitFuture, echo_with_init};
use bytes::Bytes;
use postbox_server::{Limits, RecvError, ServerBuilder, ServerHandle, ServiceScope};

const HOUR: Duration = Duration::from_secs(3600);

/// How a receive ended, as an answer.
fn told(result: Result<Bytes, RecvError>) -> Bytes {
    match result {
        Ok(request) => request,
        Err(RecvError::Closed) => "closed".into(),
        Err(other) => format!("{other:?}").into(),
    }
}

/// An echo server whose exit actions may take for ever.
fn with_init<I>(init: I) -> ServerBuilder
where
    I: for<'a> Fn(&'a mut ServiceScope) -> InitFuture<'a> + Send + Sync + 'static,
{
    let limits = Limits::default().exit(HOUR);
    echo_with_init(init).limits(limits)
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
