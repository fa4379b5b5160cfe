//! Exit actions: what a service undoes when serving stops.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use postbox_protocol::BoxError;
use tokio::time::{Instant, timeout_at};

use crate::error::{ExitTimeout, Panicked};
use crate::panics;
use crate::report::Chain;
use crate::turn;

pub(crate) type ExitFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

pub(crate) enum ExitAction {
    Sync(Box<dyn FnOnce() -> Result<(), BoxError> + Send>),
    Async(Box<dyn FnOnce() -> ExitFuture + Send>),
}

/// A stack of exit actions. None is forgotten: dropping the stack still runs those that need no runtime.
#[derive(Default)]
pub(crate) struct ExitActions {
    actions: Vec<ExitAction>,
    /// The server, so that an exit action which shuts it down does not wait for itself.
    pub(crate) server: usize,
}

impl ExitActions {
    pub(crate) fn push(&mut self, action: ExitAction) {
        self.actions.push(action);
    }

    /// Runs all in reverse order, within `limit` altogether. A failing one is logged.
    pub(crate) async fn run(&mut self, limit: Duration) {
        let now = Instant::now();
        let deadline = now
            .checked_add(limit)
            .unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()));
        let server = self.server;
        while let Some(action) = self.actions.pop() {
            let result = match action {
                ExitAction::Sync(action) => run_sync(action, server),
                ExitAction::Async(action) => match begin(action, server) {
                    Err(error) => Err(error),
                    Ok(mut future) => {
                        let polled = poll_fn(|cx| {
                            let poll = || turn::exiting(server, || future.as_mut().poll(cx));
                            panics::catch(poll).unwrap_or_else(|message| {
                                std::task::Poll::Ready(Err(Panicked(message).into()))
                            })
                        });
                        let result = timeout_at(deadline, polled).await;
                        let dropped = panics::drop_caught(future);
                        let result = result.unwrap_or_else(|_| Err(ExitTimeout(limit).into()));
                        let dropped = dropped.map_err(|message| Panicked(message).into());
                        result.and(dropped)
                    }
                },
            };
            log(result);
        }
    }
}

impl Drop for ExitActions {
    fn drop(&mut self) {
        while let Some(action) = self.actions.pop() {
            match action {
                ExitAction::Sync(action) => log(run_sync(action, self.server)),
                ExitAction::Async(action) => {
                    tracing::error!("an exit action was not run: no runtime is left to run it");
                    log(panics::drop_caught(action).map_err(|message| Panicked(message).into()));
                }
            }
        }
    }
}

impl fmt::Debug for ExitActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExitActions")
            .field(&self.actions.len())
            .finish()
    }
}

fn run_sync(
    action: Box<dyn FnOnce() -> Result<(), BoxError> + Send>,
    server: usize,
) -> Result<(), BoxError> {
    panics::catch(|| turn::exiting(server, action))
        .unwrap_or_else(|message| Err(Panicked(message).into()))
}

fn begin(
    action: Box<dyn FnOnce() -> ExitFuture + Send>,
    server: usize,
) -> Result<ExitFuture, BoxError> {
    panics::catch(|| turn::exiting(server, action)).map_err(|message| Panicked(message).into())
}

fn log(result: Result<(), BoxError>) {
    if let Err(error) = result {
        tracing::error!("an exit action failed: {}", Chain(&*error));
    }
}
