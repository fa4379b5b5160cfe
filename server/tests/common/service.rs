//! Handlers with a service initialization, and a journal of what happened in which order.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use postbox_server::{
    BoxError, Client, Handler, Requests, ServeError, Server, ServerBuilder, ServiceScope,
};
use tokio::sync::Notify;

use super::{Boxed, HANG, boxed, raw};

pub type InitFuture<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

type Init = Box<dyn for<'a> Fn(&'a mut ServiceScope) -> InitFuture<'a> + Send + Sync>;

struct WithInit {
    init: Init,
    handle: Boxed,
}

impl Handler for WithInit {
    type Request = Bytes;
    type Response = Bytes;

    fn handle(
        &self,
        client: Client<Bytes>,
        requests: Requests<Bytes>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        (self.handle)(client, requests)
    }

    fn service_init(
        &self,
        service: &mut ServiceScope,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        (self.init)(service)
    }
}

/// A server of raw datagrams: `|service| Box::pin(async move { .. })`, and the handler.
pub fn server_with_init<I, F, Fut>(init: I, handle: F) -> ServerBuilder
where
    I: for<'a> Fn(&'a mut ServiceScope) -> InitFuture<'a> + Send + Sync + 'static,
    F: Fn(Client<Bytes>, Requests<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let init = Box::new(init);
    let handle = boxed(handle);
    Server::builder(raw(), WithInit { init, handle })
}

/// A server that answers each datagram with itself.
pub fn echo_with_init<I>(init: I) -> ServerBuilder
where
    I: for<'a> Fn(&'a mut ServiceScope) -> InitFuture<'a> + Send + Sync + 'static,
{
    server_with_init(init, |client, mut requests| async move {
        client.send(requests.recv().await?).await?;
        Ok(())
    })
}

/// What the source of an error says.
pub fn source(error: &ServeError) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

/// What happened, in order. Clones are the same journal.
#[derive(Clone, Default)]
pub struct Journal {
    entries: Arc<Mutex<Vec<String>>>,
    added: Arc<Notify>,
}

impl Journal {
    pub fn add(&self, entry: impl Into<String>) {
        self.entries.lock().unwrap().push(entry.into());
        self.added.notify_waiters();
    }

    /// Adds an entry when the returned value is dropped.
    pub fn on_drop(&self, entry: impl Into<String>) -> OnDrop {
        OnDrop(self.clone(), entry.into())
    }

    pub fn entries(&self) -> Vec<String> {
        self.entries.lock().unwrap().clone()
    }

    /// Waits for an entry.
    pub async fn wait_for(&self, entry: &str) {
        self.wait_until(entry, |entries| entries.iter().any(|one| one == entry))
            .await;
    }

    /// Waits until there are so many entries.
    pub async fn wait_for_count(&self, count: usize) {
        let what = format!("{count} entries");
        self.wait_until(&what, |entries| entries.len() >= count)
            .await;
    }

    async fn wait_until(&self, what: &str, done: impl Fn(&[String]) -> bool) {
        let wait = async {
            loop {
                let mut added = std::pin::pin!(self.added.notified());
                added.as_mut().enable();
                if done(&self.entries()) {
                    return;
                }
                added.await;
            }
        };
        let waited = tokio::time::timeout(HANG, wait).await;
        assert!(waited.is_ok(), "{what} expected: {:?}", self.entries());
    }
}

pub struct OnDrop(Journal, String);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add(std::mem::take(&mut self.1));
    }
}
