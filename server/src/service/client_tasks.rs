//! Tasks of clients: work that outlives the handler which began it.

use std::error::Error;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use postbox_protocol::BoxError;
use tokio::runtime;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::handle::{awaits_shutdown, polling_handlers};
use super::tasks::{TaskResult, boxed};
use super::{Shared, Totals};
use crate::error::{FlushError, RecvError, SendError, SpawnError};
use crate::support::log::{Chain, causes, tell};
use crate::support::{Throttle, panics};

/// Between two lines about failures.
const PAUSE: Duration = Duration::from_secs(1);

/// The tasks of the clients of one serving.
#[derive(Debug)]
pub(crate) struct ClientTasks {
    running: watch::Sender<Running>,
    /// Those that run are dropped where they wait.
    cut: CancellationToken,
    /// The address of the server's shared state.
    server: usize,
    /// The server shuts down.
    closing: Arc<AtomicBool>,
    runtime: runtime::Handle,
    totals: Arc<Totals>,
    limit: usize,
    failures: Mutex<Throttle<SocketAddr>>,
}

#[derive(Debug, Default)]
struct Running {
    tasks: usize,
    /// Those of them that wait for their own server to end.
    awaiting: usize,
    /// No task starts any more.
    closed: bool,
}

impl Running {
    /// Whether none runs that is to be waited for.
    fn is_idle(&self) -> bool {
        self.tasks == self.awaiting
    }
}

impl ClientTasks {
    /// Those of one serving of this server, on this runtime, with its bounds.
    pub(crate) fn new(
        runtime: runtime::Handle,
        shared: &Shared,
        closing: Arc<AtomicBool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            running: watch::Sender::default(),
            cut: CancellationToken::new(),
            server: shared.address(),
            closing,
            runtime,
            totals: Arc::clone(&shared.totals),
            limit: shared.limits.max_client_tasks(),
            failures: Mutex::new(Throttle::NEW),
        })
    }

    /// Starts a task of the client at this address.
    pub(crate) fn spawn<F>(self: &Arc<Self>, client: SocketAddr, task: F) -> Result<(), SpawnError>
    where
        F: Future<Output: TaskResult> + Send + 'static,
    {
        let mut place = Place::take(self)?;
        let mut task = boxed(task);
        self.runtime.spawn(async move {
            let tasks = Arc::clone(&place.tasks);
            let mut cut = pin!(tasks.cut.cancelled());
            let polled = poll_fn(|cx| {
                if cut.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                let poll = || panics::catch(|| task.as_mut().poll(cx));
                let (polled, awaits) = polling_handlers(tasks.server, || awaits_shutdown(poll));
                place.set_awaits(awaits);
                polled.unwrap_or_else(|message| Poll::Ready(Err(panics::error(message))))
            });
            let result = polled.await;
            let dropped = panics::drop_caught(task).map_err(panics::error);
            for error in [result, dropped].into_iter().filter_map(Result::err) {
                tasks.log_failed(client, &error);
            }
        });
        Ok(())
    }

    /// One datagram can start a task that fails: so there is one line a second.
    fn log_failed(self: &Arc<Self>, client: SocketAddr, error: &BoxError) {
        let chain = Chain(&**error);
        if self.closing.load(Ordering::Acquire) && is_closed(&**error) {
            tell(|| tracing::debug!(%client, "a client's task ended by the shutdown: {chain}"));
            return;
        }
        let (passed, due) = {
            let mut failures = self.failures();
            let waited = failures.may_be_told().is_some();
            let passed = failures.pass(Instant::now(), PAUSE, 1, client);
            (passed, failures.may_be_told().filter(|_| !waited))
        };
        if let Some(times) = passed {
            let suppressed = times - 1;
            tell(|| tracing::error!(%client, suppressed, "a client's task failed: {chain}"));
        }
        if let Some(due) = due {
            // What is left out waits for the next line, but not for ever.
            let tasks = Arc::clone(self);
            self.runtime.spawn(async move {
                tokio::time::sleep_until(due + PAUSE).await;
                tasks.log_rest();
            });
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

    /// Whether none runs that does not itself wait for its server to end.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.borrow().is_idle()
    }

    /// Waits until that is so, or until it is not.
    pub(crate) async fn becomes(&self, idle: bool) {
        let mut running = self.running.subscribe();
        let _ = running.wait_for(|now| now.is_idle() == idle).await;
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
        let mut running = self.running.subscribe();
        let _ = running.wait_for(|now| now.tasks == 0).await;
        self.log_rest();
        left
    }
}

/// Whether an error is our *closed*, or has it in its chain, which is the user's code.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    let is_closed = |cause: &(dyn Error + 'static)| {
        matches!(cause.downcast_ref(), Some(RecvError::Closed))
            || matches!(cause.downcast_ref(), Some(SendError::Closed))
            || matches!(cause.downcast_ref(), Some(FlushError::Closed))
    };
    panics::catch(|| causes(error).any(is_closed)).unwrap_or(false)
}

/// One of the tasks that may run at a time.
struct Place {
    tasks: Arc<ClientTasks>,
    /// It waits for its own server to end.
    awaits: bool,
}

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
            result = Ok(Self {
                tasks: Arc::clone(tasks),
                awaits: false,
            });
            true
        });
        result
    }

    fn set_awaits(&mut self, awaits: bool) {
        if std::mem::replace(&mut self.awaits, awaits) != awaits {
            self.tasks.running.send_modify(|now| match awaits {
                true => now.awaiting += 1,
                false => now.awaiting -= 1,
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tasks.totals.remove_task();
        self.tasks.running.send_modify(|now| {
            now.tasks -= 1;
            now.awaiting -= usize::from(self.awaits);
        });
    }
}
