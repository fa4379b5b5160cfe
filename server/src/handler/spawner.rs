//! What starts the tasks of a client.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::inherit_context;
use crate::error::SpawnError;
use crate::service::{ClientTasks, TaskResult};

/// Starts tasks that outlive their handler, for one client: made by
/// [`Client::spawner`](crate::Client::spawner).
///
/// A task sees the [context variables](crate::ContextVar) that are in force where it is spawned.
/// That it fails or panics is logged with its client's address, and serving goes on. A shutdown
/// waits for it as for a running handler, for the [grace period](crate::Limits::grace), and then
/// drops it where it waits.
///
/// ```
/// use postbox_server::{BoxError, Client, Requests};
///
/// /// Answers at once, and does the work behind it.
/// async fn order(client: Client<String>, mut orders: Requests<String>) -> Result<(), BoxError> {
///     let order = orders.recv().await?;
///     client.send(format!("{order}: accepted")).await?;
///     client.clone().spawner().spawn(async move {
///         // ... what takes long ...
///         client.send(format!("{order}: done")).await
///     })?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct ClientSpawner {
    client: SocketAddr,
    tasks: Arc<ClientTasks>,
}

impl ClientSpawner {
    pub(crate) fn new(client: SocketAddr, tasks: &Arc<ClientTasks>) -> Self {
        let tasks = Arc::clone(tasks);
        Self { client, tasks }
    }

    /// Starts a task on the runtime that serves.
    ///
    /// # Errors
    ///
    /// [`SpawnError::Full`] if [`Limits::client_tasks`](crate::Limits::client_tasks) run already;
    /// [`SpawnError::Closed`] if the serving has ended, or a shutdown's grace. The task is dropped
    /// then.
    pub fn spawn<F>(&self, task: F) -> Result<(), SpawnError>
    where
        F: Future<Output: TaskResult> + Send + 'static,
    {
        self.tasks.spawn(self.client, inherit_context(task))
    }
}

impl fmt::Debug for ClientSpawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSpawner")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
