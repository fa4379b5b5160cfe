//! What `service_init` is given: background tasks and exit actions, for one serving.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use postbox_protocol::BoxError;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exit::ExitAction;
use crate::handle::ServerHandle;
use crate::panics;
use crate::report::Chain;
use crate::serve::Ending;

/// The scope of one serving: everything that is started here ends with it.
///
/// ```
/// # use postbox_server::{BoxError, Client, Handler, Requests, Service};
/// # use std::time::Duration;
/// struct Game;
///
/// impl Handler for Game {
///     type Request = String;
///     type Response = String;
///
///     async fn service_init(&self, service: &mut Service) -> Result<(), BoxError> {
///         service.on_exit(|| println!("service stopped"));
///         service.spawn(async {
///             loop {
///                 tokio::time::sleep(Duration::from_secs(1)).await;
///                 // ... something each second
///             }
///         });
///         Ok(())
///     }
/// #   async fn handle(
/// #       &self,
/// #       _: Client<String>,
/// #       _: Requests<String>,
/// #   ) -> Result<(), BoxError> { Ok(()) }
/// }
/// ```
pub struct Service {
    handle: ServerHandle,
    tasks: Arc<Tasks>,
    ending: Arc<Ending>,
    stops_tasks: bool,
}

impl Service {
    pub(crate) fn new(handle: ServerHandle, tasks: Arc<Tasks>, ending: Arc<Ending>) -> Self {
        Self {
            handle,
            tasks,
            ending,
            stops_tasks: false,
        }
    }

    /// Starts a background task. If it fails or panics, serving ends with its error.
    ///
    /// All background tasks are stopped by an exit action, at the place of the first `spawn` or
    /// [`spawner`](Self::spawner): exit actions registered before run after the tasks have ended.
    pub fn spawn<F>(&mut self, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.spawner().spawn(task);
    }

    /// What starts background tasks later: keep it for the handlers.
    pub fn spawner(&mut self) -> Spawner {
        if !self.stops_tasks {
            self.stops_tasks = true;
            let stop = ExitAction::Stop(Arc::clone(&self.tasks));
            self.ending.exits.push(stop);
        }
        Spawner {
            tasks: Arc::clone(&self.tasks),
            keep_serving: false,
        }
    }

    /// Cancelled when the server begins to shut down: for tasks and handlers that want to end well.
    pub fn cancellation(&self) -> CancellationToken {
        self.tasks.cancellation.clone()
    }

    /// Registers an exit action. Exit actions run when serving stops, after the last handler has
    /// ended, in reverse order. One that fails or panics is logged, and the others still run.
    pub fn on_exit<R: Outcome>(&mut self, action: impl FnOnce() -> R + Send + 'static) {
        let action = ExitAction::Sync(Box::new(move || action().into_result()));
        self.ending.exits.push(action);
    }

    /// Registers an exit action that waits for something. All exit actions together have
    /// [`Limits::exit`](crate::Limits::exit), 10 seconds by default.
    pub fn on_exit_async<F>(&mut self, action: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let action = ExitAction::Async(Box::new(move || {
            let action = action();
            Box::pin(async move { action.await.into_result() })
        }));
        self.ending.exits.push(action);
    }

    /// The server's handle.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("exits", &self.ending.exits)
            .finish_non_exhaustive()
    }
}

/// What a background task or an exit action may answer: nothing, a result, or never anything.
pub trait Outcome: sealed::Sealed {
    #[doc(hidden)]
    fn into_result(self) -> Result<(), BoxError>;
}

mod sealed {
    #[expect(unnameable_types, reason = "sealed")]
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
    impl Sealed for super::Never {}
}

/// What a task that never ends answers. The type `!` has no name of its own yet.
type Never = <fn() -> ! as Returns>::Output;

#[doc(hidden)]
#[expect(unnameable_types, reason = "only there to name a type")]
pub trait Returns {
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

impl Outcome for Never {
    fn into_result(self) -> Result<(), BoxError> {
        self
    }
}

impl Outcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// Starts background tasks of one serving, from anywhere. After serving has stopped it starts
/// nothing.
#[derive(Debug, Clone)]
pub struct Spawner {
    tasks: Arc<Tasks>,
    keep_serving: bool,
}

impl Spawner {
    /// Starts a background task. If it fails or panics, serving ends with its error, or goes on if
    /// this spawner is [`keep_serving`](Self::keep_serving).
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.tasks.spawn(
            Box::pin(async move { task.await.into_result() }),
            self.keep_serving,
        );
    }

    /// A spawner whose tasks may fail: that is logged, and serving goes on.
    #[must_use]
    pub fn keep_serving(&self) -> Self {
        Self {
            keep_serving: true,
            ..self.clone()
        }
    }
}

type BoxTask = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// The background tasks of one serving.
#[derive(Debug)]
pub(crate) struct Tasks {
    running: TaskTracker,
    stopped: CancellationToken,
    runtime: runtime::Handle,
    failures: mpsc::UnboundedSender<BoxError>,
    /// For the user.
    cancellation: CancellationToken,
}

impl Tasks {
    /// The tasks, and where their failures arrive.
    pub(crate) fn new(
        cancellation: CancellationToken,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<BoxError>) {
        let (failures, failed) = mpsc::unbounded_channel();
        let tasks = Self {
            running: TaskTracker::new(),
            stopped: CancellationToken::new(),
            runtime: runtime::Handle::current(),
            failures,
            cancellation,
        };
        (Arc::new(tasks), failed)
    }

    fn spawn(&self, mut task: BoxTask, keep_serving: bool) {
        let (stopped, failures) = (self.stopped.clone(), self.failures.clone());
        let task = async move {
            let mut stopped = pin!(stopped.cancelled());
            let result = poll_fn(|cx| {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                panics::catch(|| task.as_mut().poll(cx))
                    .unwrap_or_else(|message| Poll::Ready(Err(panics::error(message))))
            });
            let result = result.await;
            let dropped = panics::drop_caught(task).map_err(panics::error);
            match result.and(dropped) {
                Ok(()) => {}
                Err(error) if keep_serving => log_failed(&error),
                // What ends serving is told by its result, what comes later by the log.
                Err(error) => failures.send(error).unwrap_or_else(|e| log_failed(&e.0)),
            }
        };
        self.running.spawn_on(task, &self.runtime);
    }

    /// Asks all tasks to end where they wait. None starts any more.
    pub(crate) fn begin_stop(&self) {
        self.stopped.cancel();
        self.running.close();
    }

    /// Stops all tasks and waits until they are gone.
    pub(crate) async fn stop(&self) {
        self.begin_stop();
        self.running.wait().await;
    }
}

/// A background task failed, and that does not end serving.
pub(crate) fn log_failed(error: &BoxError) {
    tracing::error!("a background task failed: {}", Chain(&**error));
}
