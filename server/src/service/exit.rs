//! Exit actions: what a service undoes when serving stops.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_protocol::BoxError;
use tokio::runtime;
use tokio::time::{Instant, timeout_at};

use super::tasks::{BoxTask, Tasks, boxed};
use crate::error::ExitTimeout;
use crate::support::clock;
use crate::support::log::{Chain, tell};
use crate::support::{panics, with_value};

pub(crate) enum ExitAction {
    Sync(Box<dyn FnOnce() -> Result<(), BoxError> + Send>),
    Async(Box<dyn FnOnce() -> BoxTask + Send>),
    /// Stops the background tasks.
    Stop(Arc<Tasks>),
}

/// A stack of exit actions. None is forgotten: dropping the stack still runs those that need no
/// runtime.
pub(crate) struct ExitActions {
    stack: Mutex<Stack>,
    /// The server, so that an exit action which shuts it down does not wait for itself.
    server: usize,
}

#[derive(Default)]
struct Stack {
    waiting: Vec<ExitAction>,
    /// What was begun. It is here so that another [`ExitActions::run`] goes on with it where one is
    /// dropped.
    begun: Option<Begun>,
}

struct Begun {
    future: BoxTask,
    /// The user wrote it, and has to know if it does not come to its end.
    is_users: bool,
}

impl ExitActions {
    pub(crate) fn new(server: usize) -> Self {
        Self {
            stack: Mutex::default(),
            server,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stack> {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, action: ExitAction) {
        self.lock().waiting.push(action);
    }

    /// Runs all in reverse order, within `limit` altogether. A failing one is logged.
    pub(crate) async fn run(&self, limit: Duration) {
        let deadline = clock::deadline(Instant::now(), limit);
        // A serving can be polled on after its runtime has gone: then the drop does what it can.
        while runtime::Handle::try_current().is_ok() && self.begin_next() {
            let ended = timeout_at(deadline, poll_fn(|cx| self.poll_begun(cx))).await;
            let result = ended.unwrap_or_else(|_| {
                let late = self.lock().begun.take();
                log(panics::drop_caught(late).map_err(panics::error));
                Err(ExitTimeout(limit).into())
            });
            log(result);
        }
    }

    /// Runs synchronous actions up to one that waits for something, and returns whether there is
    /// one.
    fn begin_next(&self) -> bool {
        loop {
            let mut stack = self.lock();
            if stack.begun.is_some() {
                return true;
            }
            let action = stack.waiting.pop();
            drop(stack);
            let (future, is_users) = match action {
                None => return false,
                Some(ExitAction::Sync(action)) => {
                    log(self.call(action).and_then(|result| result));
                    continue;
                }
                Some(ExitAction::Async(action)) => match self.call(action) {
                    Ok(future) => (future, true),
                    Err(error) => {
                        log(Err(error));
                        continue;
                    }
                },
                Some(ExitAction::Stop(tasks)) => (boxed(async move { tasks.stop().await }), false),
            };
            self.lock().begun = Some(Begun { future, is_users });
        }
    }

    fn poll_begun(&self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let taken = self.lock().begun.take();
        let Some(mut begun) = taken else {
            return Poll::Ready(Ok(()));
        };
        let result = match self.call(|| begun.future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => {
                self.lock().begun = Some(begun);
                return Poll::Pending;
            }
            Ok(Poll::Ready(result)) => result,
            Err(error) => Err(error),
        };
        let dropped = panics::drop_caught(begun).map_err(panics::error);
        log(result);
        Poll::Ready(dropped)
    }

    /// Calls code of the user's.
    fn call<T>(&self, code: impl FnOnce() -> T) -> Result<T, BoxError> {
        panics::catch(|| with_value(&EXITING, self.server, code)).map_err(panics::error)
    }
}

impl Drop for ExitActions {
    fn drop(&mut self) {
        let Stack { waiting, begun } = std::mem::take(&mut *self.lock());
        if let Some(begun) = begun {
            if begun.is_users {
                tell(|| {
                    tracing::error!(
                        "an exit action was not run to its end: no runtime is left to run it"
                    );
                });
            }
            log(panics::drop_caught(begun).map_err(panics::error));
        }
        for action in waiting.into_iter().rev() {
            match action {
                ExitAction::Sync(action) => log(self.call(action).and_then(|result| result)),
                ExitAction::Async(action) => {
                    tell(|| {
                        tracing::error!("an exit action was not run: no runtime is left to run it");
                    });
                    log(panics::drop_caught(action).map_err(panics::error));
                }
                ExitAction::Stop(tasks) => tasks.begin_stop(),
            }
        }
    }
}

impl fmt::Debug for ExitActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExitActions")
            .field(&self.lock().waiting.len())
            .finish()
    }
}

fn log(result: Result<(), BoxError>) {
    if let Err(error) = result {
        tell(|| tracing::error!("an exit action failed: {}", Chain(&*error)));
    }
}

thread_local! {
    /// The server whose exit actions are being polled on this thread, or 0.
    static EXITING: Cell<usize> = const { Cell::new(0) };
}

/// Whether an exit action of `server` is being polled on this thread.
pub(super) fn is_exiting(server: usize) -> bool {
    EXITING.get() == server
}
