//! Background tasks: they end with the serving that started them.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use postbox_protocol::BoxError;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::log::{Chain, tell};
use crate::support::panics;

/// What a background task or an exit action may return: nothing, a result, or never anything.
pub trait TaskResult: sealed::Sealed {
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

impl TaskResult for Never {
    fn into_result(self) -> Result<(), BoxError> {
        self
    }
}

impl TaskResult for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> TaskResult for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// Starts background tasks of one serving, from anywhere. After serving has stopped it starts
/// nothing. Made by [`ServiceScope::spawner`](crate::ServiceScope::spawner).
///
/// ```
/// use std::sync::Mutex;
///
/// use postbox_server::{BoxError, Client, Handler, Requests, ServiceScope, Spawner};
///
/// /// Answers at once, and does the work behind it.
/// #[derive(Default)]
/// struct Orders {
///     spawner: Mutex<Option<Spawner>>, // another one for each serving
/// }
///
/// impl Handler for Orders {
///     type Request = String;
///     type Response = String;
///
///     async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
///         // A task that fails is logged, and does not end the serving.
///         let spawner = service.spawner().keep_serving();
///         *self.spawner.lock().expect("nobody panics with it") = Some(spawner);
///         Ok(())
///     }
///
///     async fn handle(
///         &self,
///         client: Client<String>,
///         mut orders: Requests<String>,
///     ) -> Result<(), BoxError> {
///         let order = orders.recv().await?;
///         client.send(format!("{order}: accepted")).await?;
///         let spawner = self.spawner.lock().expect("nobody panics with it").clone();
///         if let Some(spawner) = spawner {
///             spawner.spawn(async move {
///                 // ... what takes long ...
///                 client.send(format!("{order}: done")).await
///             });
///         }
///         Ok(())
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Spawner {
    tasks: Arc<Tasks>,
    keep_serving: bool,
}

impl Spawner {
    pub(super) fn new(tasks: Arc<Tasks>) -> Self {
        Self {
            tasks,
            keep_serving: false,
        }
    }

    /// Starts a background task. If it fails or panics, serving ends with its error, or goes on if
    /// this spawner is [`keep_serving`](Self::keep_serving).
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output: TaskResult> + Send + 'static,
    {
        self.tasks.spawn(boxed(task), self.keep_serving);
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

pub(super) type BoxTask = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// A background task or an exit action, whatever it returns.
///
/// It is dropped with the box: an `async` block would drop it while a panic of it unwinds, and a
/// second panic then aborts the process.
pub(super) fn boxed<F>(task: F) -> BoxTask
where
    F: Future<Output: TaskResult> + Send + 'static,
{
    let mut task = Box::pin(task);
    Box::pin(poll_fn(move |cx| {
        task.as_mut().poll(cx).map(TaskResult::into_result)
    }))
}

/// The background tasks of one serving.
#[derive(Debug)]
pub(crate) struct Tasks {
    running: TaskTracker,
    stopped: CancellationToken,
    runtime: runtime::Handle,
    failures: mpsc::UnboundedSender<BoxError>,
    /// For the user.
    pub(super) cancellation: CancellationToken,
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
            for error in [result, dropped].into_iter().filter_map(Result::err) {
                // What ends serving is told by its result, what comes later by the log.
                match keep_serving {
                    true => log_failed(&error),
                    false => failures.send(error).unwrap_or_else(|e| log_failed(&e.0)),
                }
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
    tell(|| tracing::error!("a background task failed: {}", Chain(&**error)));
}
