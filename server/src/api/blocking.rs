//! A server for programs without an async runtime.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{Server, ServerBuilder};
use crate::config::addresses::{self, BindAddrs};
use crate::error::{BindError, ServeError, StartError};
use crate::service::ServerHandle;

/// A server with a runtime of its own: it serves on the thread that calls it, and is controlled
/// from others.
///
/// It is for programs, or threads, without an async runtime. Within one it can neither serve nor be
/// dropped: both panic.
///
/// ```
/// use postbox_protocol::{DatagramProtocol, RawSerializer};
/// use postbox_server::{BlockingServer, BoxError, Server};
///
/// fn main() -> Result<(), BoxError> {
///     let protocol = DatagramProtocol::new(RawSerializer);
///     let builder = Server::builder_fn(protocol, |client, mut requests| async move {
///         client.send(requests.recv().await?).await?;
///         Ok(())
///     });
///     let server = BlockingServer::bind(builder, "127.0.0.1:0")?;
///     let handle = server.handle();
///     let serving = std::thread::spawn(move || server.serve_forever());
///     handle.blocking_started()?;
///     // ... a program that knows nothing of async ...
///     handle.blocking_shutdown();
///     serving.join().expect("it does not panic")?;
///     Ok(())
/// }
/// ```
pub struct BlockingServer {
    server: Server,
    runtime: Runtime,
}

impl BlockingServer {
    /// Binds a server and makes a current-thread runtime for it.
    ///
    /// # Errors
    ///
    /// [`BindError`], as [`ServerBuilder::bind`].
    ///
    /// # Panics
    ///
    /// Within an async runtime: use [`ServerBuilder::bind`] there.
    pub fn bind(builder: ServerBuilder, addrs: impl BindAddrs) -> Result<Self, BindError> {
        let runtime = make_runtime()?;
        let wanted = runtime.block_on(addresses::resolve(addrs.hosts()))?;
        let server = builder.bind_all(&wanted)?;
        Ok(Self { server, runtime })
    }

    /// Takes a server that was bound in another way, and makes a current-thread runtime for it.
    ///
    /// # Errors
    ///
    /// [`BindError::Runtime`] if the runtime cannot be made.
    ///
    /// # Panics
    ///
    /// Never itself. But what it returns panics where it is dropped within an async runtime: bind
    /// there, and hand the [`Server`] to the thread that makes this of it.
    pub fn new(server: Server) -> Result<Self, BindError> {
        let runtime = make_runtime()?;
        Ok(Self { server, runtime })
    }

    /// Serves on this thread until it is shut down from another, or by a handler.
    ///
    /// # Errors
    ///
    /// [`ServeError`], as [`Server::serve_forever`].
    ///
    /// # Panics
    ///
    /// Within an async runtime.
    pub fn serve_forever(&self) -> Result<(), ServeError> {
        self.runtime.block_on(self.server.serve_forever())
    }

    /// Serves on this thread until `signal` is ready, then shuts down with grace. The signal is
    /// polled on the server's own runtime: Ctrl-C is `server.serve_until(tokio::signal::ctrl_c())`,
    /// with tokio's feature `signal`. Without it Ctrl-C ends the process at once, as it does any
    /// other program.
    ///
    /// # Errors
    ///
    /// [`ServeError`], as [`Server::serve_forever`].
    ///
    /// # Panics
    ///
    /// Within an async runtime.
    pub fn serve_until<S: Future>(&self, signal: S) -> Result<(), ServeError> {
        self.runtime.block_on(self.server.serve_until(signal))
    }

    /// Serves on this thread until `signal` is ready, then [drains](ServerHandle::drain), `within`
    /// this time at the latest. The signal is polled as in [`serve_until`](Self::serve_until).
    ///
    /// # Errors
    ///
    /// [`ServeError`], as [`Server::serve_forever`].
    ///
    /// # Panics
    ///
    /// Within an async runtime.
    pub fn serve_until_drained<S: Future>(
        &self,
        signal: S,
        within: Duration,
    ) -> Result<(), ServeError> {
        let serving = self.server.serve_until_drained(signal, within);
        self.runtime.block_on(serving)
    }

    /// The server's handle.
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }
}

impl fmt::Debug for BlockingServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingServer")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// For threads that are not async. Do not block an async runtime's thread with these.
impl ServerHandle {
    /// [`shutdown`](Self::shutdown), blocking this thread.
    pub fn blocking_shutdown(&self) {
        block_on(self.shutdown());
    }

    /// [`drain`](Self::drain), blocking this thread.
    pub fn blocking_drain(&self, within: Duration) {
        block_on(self.drain(within));
    }

    /// [`hand_over`](Self::hand_over), blocking this thread.
    pub fn blocking_hand_over(&self, within: Duration) {
        block_on(self.hand_over(within));
    }

    /// [`close`](Self::close), blocking this thread.
    pub fn blocking_close(&self) {
        block_on(self.close());
    }

    /// [`started`](Self::started), blocking this thread.
    ///
    /// # Errors
    ///
    /// As [`started`](Self::started).
    pub fn blocking_started(&self) -> Result<(), StartError> {
        block_on(self.started())
    }
}

fn make_runtime() -> Result<Runtime, BindError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(BindError::Runtime)
}

/// Runs a future that needs no runtime on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}
