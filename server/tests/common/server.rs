//! Servers under test.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use postbox_server::{
    BoxError, Client, Requests, ServeError, Server, ServerBuilder, ServerHandle, Stats,
};
use tokio::task::JoinHandle;

use super::HANG;

/// A server that is being served by a task.
pub struct TestServer {
    pub server: Server,
    pub handle: ServerHandle,
    pub addr: SocketAddr,
    pub serving: JoinHandle<Result<(), ServeError>>,
}

impl TestServer {
    pub async fn start(server: Server) -> Self {
        let handle = server.handle();
        let serving = tokio::spawn(server.serve_forever());
        handle.started().await.unwrap();
        let addr = handle.addresses()[0];
        Self {
            server,
            handle,
            addr,
            serving,
        }
    }

    /// Waits until the counters say so. For what leaves no other trace, such as a datagram in a
    /// postbox.
    pub async fn stats_where(&self, what: impl Fn(&Stats) -> bool) -> Stats {
        let begin = Instant::now();
        loop {
            let stats = self.handle.stats();
            if what(&stats) {
                return stats;
            }
            assert!(begin.elapsed() < HANG, "it never comes to that: {stats:#?}");
            tokio::task::yield_now().await;
        }
    }

    /// Waits until so many datagrams have been received and accounted for.
    pub async fn settled(&self, received: u64) -> Stats {
        let done = |stats: &Stats| stats.received == received && stats.accounted() == received;
        self.stats_where(done).await
    }

    /// The same with a paused clock, which goes on while this waits.
    pub async fn stats_where_time_passes(&self, what: impl Fn(&Stats) -> bool) {
        while !what(&self.handle.stats()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until so many datagrams are queued.
    pub async fn queued(&self, count: u64) {
        self.stats_where(|stats| stats.queued == count).await;
    }

    /// Shuts down and returns what serving returned. The counters must add up then.
    pub async fn stop(self) -> Result<(), ServeError> {
        self.handle.shutdown().await;
        let result = self.serving.await.unwrap();
        let stats = self.handle.stats();
        assert_eq!(
            stats.received,
            stats.accounted(),
            "the counters add up: {stats:#?}"
        );
        assert_eq!(
            (stats.queued, stats.queued_bytes, stats.waiting_clients),
            (0, 0, 0)
        );
        result
    }
}

/// The raw protocol: packets are the datagrams' bytes.
pub fn raw() -> DatagramProtocol<RawSerializer> {
    DatagramProtocol::new(RawSerializer)
}

/// The handlers of most tests, in one type: else the server is compiled for each of hundreds.
/// Nothing is wrapped around the future, which is polled and dropped as it would be by itself.
pub type Boxed = Box<dyn Fn(Client<Bytes>, Requests<Bytes>) -> BoxedRun + Send + Sync>;

pub type BoxedRun = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

pub fn boxed<F, Fut>(handle: F) -> Boxed
where
    F: Fn(Client<Bytes>, Requests<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Box::new(move |client, requests| Box::pin(handle(client, requests)))
}

/// A server of raw datagrams whose handler is a closure.
pub fn raw_server<F, Fut>(handle: F) -> ServerBuilder
where
    F: Fn(Client<Bytes>, Requests<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Server::builder_fn(raw(), boxed(handle))
}

/// The same as users make it, for what a handler costs.
pub fn unboxed_server<F, Fut>(handle: F) -> ServerBuilder
where
    F: Fn(Client<Bytes>, Requests<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Server::builder_fn(raw(), handle)
}

/// A server that answers each datagram with itself.
pub fn echo() -> ServerBuilder {
    raw_server(|client, mut requests| async move {
        client.send(requests.recv().await?).await?;
        Ok(())
    })
}
