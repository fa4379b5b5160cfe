//! Tasks of clients: work that outlives the handler which began it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Totals;
use super::tasks::{TaskResult, boxed};
use crate::error::SpawnError;
use crate::support::log::{Chain, tell};
use crate::support::{Throttle, panics};

/// Between two lines about failures.
const PAUSE: Duration = Duration::from_secs(1);

/// The tasks of the clients of one serving.
#[derive(Debug)]
pub(crate) struct ClientTasks {
    running: watch::Sender<Running>,
    /// Those that run are dropped where they wait.
    cut: CancellationToken,
    runtime: runtime::Handle,
    totals: Arc<Totals>,
    limit: usize,
    failures: Mutex<Throttle<SocketAddr>>,
}

#[derive(Debug, Default)]
struct Running {
    tasks: usize,
    /// No task starts any more.
    closed: bool,
}

impl ClientTasks {
    /// At most `limit` at a time, on this runtime.
    pub(crate) fn new(runtime: runtime::Handle, totals: Arc<Totals>, limit: usize) -> Arc<Self> {
        Arc::new(Self {
            running: watch::Sender::default(),
            cut: CancellationToken::new(),
            runtime,
            totals,
            limit,
            failures: Mutex::new(Throttle::NEW),
        })
    }

    /// Starts a task of the client at this address.
    pub(crate) fn spawn<F>(self: &Arc<Self>, client: SocketAddr, task: F) -> Result<(), SpawnError>
    where
        F: Future<Output: TaskResult> + Send + 'static,
    {
        let place = Place::take(self)?;
        let mut task = boxed(task);
        self.runtime.spawn(async move {
            let tasks = &place.0;
            let mut cut = pin!(tasks.cut.cancelled());
            let polled = poll_fn(|cx| {
                if cut.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                panics::catch(|| task.as_mut().poll(cx))
                    .unwrap_or_else(|message| Poll::Ready(Err(panics::error(message))))
            });
            let result = polled.await;
            let dropped = panics::drop_caught(task).map_err(panics::error);
            for error in [result, dropped].into_iter().filter_map(Result::err) {
                tasks.log_failed(client, &Chain(&*error));
            }
        });
        Ok(())
    }

    /// One datagram can start a task that fails: so there is one line a second.
    fn log_failed(&self, client: SocketAddr, error: &Chain<'_>) {
        let passed = self.failures().pass(Instant::now(), PAUSE, 1, client);
        if let Some(times) = passed {
            let suppressed = times - 1;
            tell(|| tracing::error!(%client, suppressed, "a client's task failed: {error}"));
        }
    }

    /// Tells what was left out.
    fn log_rest(&self) {
        let rest = self.failures().take_left_out(Instant::now(), PAUSE);
        if let Some((suppressed, client)) = rest {
            let line = || tracing::error!(%client, suppressed, "a client's task failed: {suppressed} more");
            tell(line);
        }
    }

    fn failures(&self) -> MutexGuard<'_, Throttle<SocketAddr>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether none runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.borrow().tasks == 0
    }

    /// Waits until none runs, or until one does.
    pub(crate) async fn becomes(&self, idle: bool) {
        let mut running = self.running.subscribe();
        let _ = running.wait_for(|now| (now.tasks == 0) == idle).await;
    }

    /// Waits until no task runs, until `deadline` at most, and then drops those that still do.
    /// Returns how many those were.
    pub(crate) async fn end(&self, deadline: Instant) -> usize {
        if !self.is_idle() {
            let _ = timeout_at(deadline, self.becomes(true)).await;
        }
        let mut left = 0;
        self.running.send_modify(|now| {
            now.closed = true;
            left = now.tasks;
        });
        self.cut.cancel();
        self.becomes(true).await;
        self.log_rest();
        left
    }
}

/// One of the tasks that may run at a time.
struct Place(Arc<ClientTasks>);

impl Place {
    fn take(tasks: &Arc<ClientTasks>) -> Result<Self, SpawnError> {
        let mut result = Err(SpawnError::Closed);
        tasks.running.send_if_modified(|now| {
            if now.closed {
                return false;
            }
            if now.tasks >= tasks.limit {
                let limit = tasks.limit;
                result = Err(SpawnError::Full { limit });
                return false;
            }
            now.tasks += 1;
            tasks.totals.add_task();
            result = Ok(Self(Arc::clone(tasks)));
            true
        });
        result
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.totals.remove_task();
        self.0.running.send_modify(|now| now.tasks -= 1);
    }
}
