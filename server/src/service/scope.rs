//! What `service_init` is given: background tasks and exit actions, for one serving.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::ServerHandle;
use super::exit::{ExitAction, ExitActions};
use super::tasks::{Spawner, TaskResult, Tasks, boxed};
use crate::config::Secret;

/// The scope of one serving: everything that is started here ends with it.
///
/// ```
/// use std::time::Duration;
///
/// use postbox_server::{BoxError, Client, Handler, Requests, ServiceScope};
///
/// struct Game;
///
/// impl Handler for Game {
///     type Request = String;
///     type Response = String;
///
///     async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
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
pub struct ServiceScope {
    handle: ServerHandle,
    tasks: Arc<Tasks>,
    exits: Arc<ExitActions>,
    draining: CancellationToken,
    stops_tasks: bool,
    /// What sends from the server's sockets: a `ClientSocket` of the handler's response type each.
    pub(crate) sockets: Vec<Arc<dyn Any + Send + Sync>>,
}

impl ServiceScope {
    pub(crate) fn new(
        handle: ServerHandle,
        tasks: Arc<Tasks>,
        exits: Arc<ExitActions>,
        draining: CancellationToken,
    ) -> Self {
        Self {
            handle,
            tasks,
            exits,
            draining,
            stops_tasks: false,
            sockets: Vec::new(),
        }
    }

    /// Starts a background task. If it fails or panics, serving ends with its error.
    ///
    /// All background tasks are stopped by an exit action, at the place of the first `spawn` or
    /// [`spawner`](Self::spawner): exit actions registered before run after the tasks have ended. A
    /// task is dropped where it waits; one that has something to finish waits for the
    /// [`shutdown_token`](Self::shutdown_token) beside.
    pub fn spawn<F>(&mut self, task: F)
    where
        F: Future<Output: TaskResult> + Send + 'static,
    {
        self.spawner().spawn(task);
    }

    /// What starts background tasks later: keep it for the handlers.
    pub fn spawner(&mut self) -> Spawner {
        if !self.stops_tasks {
            self.stops_tasks = true;
            let stop = ExitAction::Stop(Arc::clone(&self.tasks));
            self.exits.push(stop);
        }
        Spawner::new(Arc::clone(&self.tasks))
    }

    /// Tells tasks and handlers that want to end well when the server begins to shut down.
    pub fn shutdown_token(&self) -> ShutdownToken {
        ShutdownToken(self.tasks.cancellation.clone())
    }

    /// Tells tasks and handlers when a [drain](ServerHandle::drain) begins, or a shutdown without
    /// one.
    pub fn drain_token(&self) -> ShutdownToken {
        ShutdownToken(self.draining.clone())
    }

    /// Registers an exit action. Exit actions run when serving stops, after the last handler has
    /// ended, in reverse order. One that fails or panics is logged, and the others still run.
    pub fn on_exit<R: TaskResult>(&mut self, action: impl FnOnce() -> R + Send + 'static) {
        let action = ExitAction::Sync(Box::new(move || action().into_result()));
        self.exits.push(action);
    }

    /// Registers an exit action that waits for something. All exit actions together have
    /// [`Limits::exit`](crate::Limits::exit), 10 seconds by default.
    pub fn on_exit_async<F>(&mut self, action: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output: TaskResult> + Send + 'static,
    {
        let action = ExitAction::Async(Box::new(move || boxed(action())));
        self.exits.push(action);
    }

    pub(crate) fn add_socket(&mut self, socket: impl Any + Send + Sync) {
        self.sockets.push(Arc::new(socket));
    }

    /// What session keys are hashed with.
    pub(crate) fn secret(&self) -> Secret {
        self.handle.shared.sessions.secret.clone()
    }

    /// The server's handle.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }
}

impl fmt::Debug for ServiceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceScope")
            .field("exits", &self.exits)
            .finish_non_exhaustive()
    }
}

/// Tells when the shutdown of one serving begins, or its drain. Cheap to clone; made by
/// [`ServiceScope::shutdown_token`], [`ServiceScope::drain_token`] and
/// [`Client::drain_token`](crate::Client::drain_token).
#[derive(Debug, Clone)]
pub struct ShutdownToken(pub(crate) CancellationToken);

impl ShutdownToken {
    /// Waits until it begins.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }
}
