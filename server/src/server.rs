//! The server object, and the state that it shares with its handles.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use postbox_protocol::{BoxError, Protocol};
use socket2::Socket;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::builder::ServerBuilder;
use crate::client::Client;
use crate::dispatch::Totals;
use crate::error::ServeError;
use crate::handle::ServerHandle;
use crate::handler::{Handler, HandlerFn, handler_fn};
use crate::limits::Limits;
use crate::requests::Requests;
use crate::serve::{self, Application};
use crate::socket::{SocketOptions, kernel_drops};
use crate::stats::{Counters, Stats};
use crate::transport::{Capabilities, MemoryEndpoint, MemoryTransport, PlainTransport, Transport};
use crate::worker::Admit;

/// A UDP server: bound sockets, a protocol, a handler.
///
/// Made by [`Server::builder`]. It serves while [`serve_forever`](Self::serve_forever) or
/// [`serve_until`](Self::serve_until) runs, and can serve again afterwards. Dropping it closes it.
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// Begins to configure a server.
    pub fn builder<P, H>(protocol: P, handler: H) -> ServerBuilder
    where
        H: Handler,
        P: Protocol<Sent = H::Response, Received = H::Request>,
    {
        ServerBuilder::new(protocol, handler)
    }

    /// Begins to configure a server whose handler is a closure. Its types are those of the protocol.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use postbox_protocol::{DatagramProtocol, RawSerializer};
    /// # use postbox_server::Server;
    /// let echo = Server::builder_fn(
    ///     DatagramProtocol::new(RawSerializer),
    ///     |client, mut requests| async move {
    ///         client.send(requests.recv().await?).await?;
    ///         Ok(())
    ///     },
    /// );
    /// # let _ = echo;
    /// ```
    pub fn builder_fn<P, F, Fut>(protocol: P, function: F) -> ServerBuilder
    where
        P: Protocol<Sent: Send + 'static, Received: Send + 'static>,
        F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let handler: HandlerFn<F, P::Received, P::Sent> = handler_fn(function);
        ServerBuilder::new(protocol, handler)
    }

    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A handle to this server, for other tasks and threads.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(Arc::clone(&self.shared))
    }

    /// Serves until [`ServerHandle::shutdown`]. Serving begins at the call: from then on a second call
    /// answers *already running*, and a shutdown ends this one.
    ///
    /// The future may be spawned. It must run within a tokio runtime with time and I/O enabled; workers
    /// are tasks of that runtime.
    ///
    /// # Errors
    ///
    /// [`ServeError`], if serving could not begin, or ended otherwise than by a shutdown.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is a shutdown without grace: handlers are dropped, background tasks stopped,
    /// exit actions run by a task of the runtime. Where no runtime is left the synchronous ones run at
    /// once, and the others are logged as not run. The server can serve again.
    pub fn serve_forever(&self) -> Serving {
        let claim = serve::claim(&self.shared);
        Serving {
            future: Box::pin(async move { serve::serve(claim?).await }),
        }
    }

    /// Serves until `signal` is ready (or until [`ServerHandle::shutdown`]), then shuts down with grace.
    ///
    /// ```no_run
    /// # async fn example(server: postbox_server::Server) -> Result<(), postbox_server::ServeError> {
    /// server.serve_until(tokio::signal::ctrl_c()).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`serve_forever`](Self::serve_forever).
    ///
    /// # Cancel safety
    ///
    /// As [`serve_forever`](Self::serve_forever).
    pub fn serve_until<S: Future>(
        &self,
        signal: S,
    ) -> impl Future<Output = Result<(), ServeError>> + use<S> {
        let mut serving = self.serve_forever();
        let handle = self.handle();
        async move {
            let mut signal = pin!(signal);
            let ended = poll_fn(|cx| match Pin::new(&mut serving).poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => signal.as_mut().poll(cx).map(|_| None),
            });
            match ended.await {
                Some(result) => result,
                None => {
                    let _ = handle.shared.request_stop();
                    serving.await
                }
            }
        }
    }

    /// Shuts down and closes the sockets, for good. See [`ServerHandle::close`].
    pub async fn close(&self) {
        self.handle().close().await;
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.shared.addresses())
            .finish()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.shared.begin_close();
    }
}

/// The future of [`Server::serve_forever`].
#[must_use = "a server serves while this future runs; dropping it ends serving"]
pub struct Serving {
    future: Pin<Box<dyn Future<Output = Result<(), ServeError>> + Send>>,
}

impl Future for Serving {
    type Output = Result<(), ServeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

/// What one worker receives from and sends to. It outlives servings.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) id: u64,
    pub(crate) addr: SocketAddr,
    pub(crate) kind: EndpointKind,
    pub(crate) counters: Arc<Counters>,
}

#[derive(Debug, Clone)]
pub(crate) enum EndpointKind {
    Socket {
        socket: Arc<Socket>,
        member: usize,
        options: SocketOptions,
    },
    Memory(Arc<MemoryEndpoint>),
}

impl Endpoint {
    pub(crate) fn new(addr: SocketAddr, kind: EndpointKind) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            addr,
            kind,
            counters: Arc::default(),
        }
    }
}

/// How sockets are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransportChoice {
    /// One datagram at a time through tokio, also where batches are possible.
    pub(crate) plain: bool,
    /// Let the kernel coalesce and segment.
    pub(crate) offloads: bool,
}

/// The state that a server shares with its handles and with its serving.
pub(crate) struct Shared {
    pub(crate) app: Arc<dyn Application>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) totals: Arc<Totals>,
    pub(crate) admit: Option<Arc<Admit>>,
    pub(crate) transport: TransportChoice,
    /// No user code runs under its lock.
    pub(crate) state: watch::Sender<State>,
    in_memory: bool,
    /// Of all sockets, also after they were closed.
    counters: Vec<Arc<Counters>>,
}

/// What changes over a server's life. Whoever waits for a change is told.
pub(crate) struct State {
    pub(crate) status: Status,
    endpoints: Vec<Endpoint>,
    drops_when_closed: Option<u64>,
    /// Of the present serving.
    stop: Stop,
}

/// Tells one serving to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    /// The same, for those who ask at each datagram.
    pub(crate) closing: Arc<AtomicBool>,
}

impl Stop {
    /// From now on every receive answers closed; the rest follows.
    pub(crate) fn request(&self) {
        self.closing.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it was requested.
    pub(crate) fn requested(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// What is cancelled when it is requested.
    pub(crate) fn child_token(&self) -> CancellationToken {
        self.token.child_token()
    }
}

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    /// How many servings have begun.
    pub(crate) begun: u64,
    /// How many of them have ended.
    pub(crate) ended: u64,
    /// The sockets are closed, or will be when the present serving ends.
    pub(crate) closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle,
    /// Serving was called; datagrams are not handled yet.
    Starting,
    Serving,
    /// The server shuts down.
    Ending,
    /// The serving future was dropped, and what it leaves is being cleaned up.
    Dropped,
}

impl Shared {
    pub(crate) fn new(
        app: Arc<dyn Application>,
        limits: Limits,
        admit: Option<Arc<Admit>>,
        transport: TransportChoice,
        endpoints: Vec<Endpoint>,
    ) -> Self {
        let counters = endpoints
            .iter()
            .map(|endpoint| Arc::clone(&endpoint.counters))
            .collect();
        let in_memory = endpoints
            .iter()
            .any(|e| matches!(e.kind, EndpointKind::Memory(_)));
        let status = Status {
            phase: Phase::Idle,
            begun: 0,
            ended: 0,
            closed: false,
        };
        Self {
            app,
            totals: Arc::new(Totals::new(limits.clients, limits.total_bytes)),
            limits: Arc::new(limits),
            admit,
            transport,
            state: watch::Sender::new(State {
                status,
                endpoints,
                drops_when_closed: None,
                stop: Stop::default(),
            }),
            in_memory,
            counters,
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.state.borrow().status
    }

    /// What tells this server from others while it lives.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.state.borrow().endpoints.clone()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let state = self.state.borrow();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        if state.status.closed {
            return addresses;
        }
        for endpoint in &state.endpoints {
            if !addresses.contains(&endpoint.addr) {
                addresses.push(endpoint.addr);
            }
        }
        addresses
    }

    /// Those of each socket, which they do not keep open.
    pub(crate) fn socket_options(&self) -> Vec<SocketOptions> {
        let state = self.state.borrow();
        let options = state.endpoints.iter().filter_map(|one| match &one.kind {
            EndpointKind::Socket { options, .. } => Some(options.clone()),
            EndpointKind::Memory(_) => None,
        });
        options.collect()
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.counters
            .iter()
            .for_each(|counters| counters.add_to(&mut stats));
        stats.queued = self.totals.datagrams() as u64;
        stats.queued_bytes = self.totals.bytes() as u64;
        stats.waiting_clients = self.totals.clients() as u64;
        let state = self.state.borrow();
        let drops = |endpoint: &Endpoint| match &endpoint.kind {
            EndpointKind::Socket { socket, .. } => kernel_drops(socket),
            EndpointKind::Memory(memory) => Some(memory.lost()),
        };
        let drops = state
            .endpoints
            .iter()
            .filter_map(drops)
            .reduce(|a, b| a + b);
        stats.kernel_drops = drops.or(state.drops_when_closed);
        stats
    }

    /// What the transport of this server can tell and do.
    pub(crate) fn capabilities(&self) -> Capabilities {
        if self.in_memory {
            return MemoryTransport::CAPABILITIES;
        }
        #[cfg(target_os = "linux")]
        if !self.transport.plain {
            let offloads = self.transport.offloads;
            return Capabilities {
                offloads,
                ..crate::transport::UdpTransport::CAPABILITIES
            };
        }
        PlainTransport::CAPABILITIES
    }

    /// Closes the sockets. The system calls of others that are under way on them end first, so that the
    /// ports are free then.
    fn close_endpoints(state: &mut State) {
        let mut sockets = Vec::new();
        for endpoint in state.endpoints.drain(..) {
            let drops = match &endpoint.kind {
                EndpointKind::Socket { socket, .. } => {
                    sockets.push(Arc::downgrade(socket));
                    kernel_drops(socket)
                }
                EndpointKind::Memory(memory) => Some(memory.lost()),
            };
            if let Some(drops) = drops {
                *state.drops_when_closed.get_or_insert(0) += drops;
            }
        }
        while sockets.iter().any(|socket| socket.strong_count() > 0) {
            std::thread::yield_now();
        }
    }

    /// A serving begins, if none runs: its number, from 1, and what will stop it.
    pub(crate) fn begin_serving(&self) -> Result<(u64, Stop), ServeError> {
        let mut result = Err(ServeError::AlreadyRunning);
        self.state.send_if_modified(|state| {
            let status = &mut state.status;
            if status.closed {
                result = Err(ServeError::Closed);
            } else if matches!(status.phase, Phase::Idle | Phase::Dropped) {
                status.phase = Phase::Starting;
                status.begun += 1;
                state.stop = Stop::default();
                result = Ok((status.begun, state.stop.clone()));
            }
            result.is_ok()
        });
        result
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.state.send_modify(|state| state.status.phase = phase);
    }

    /// A serving has ended, and everything it started. Closes the sockets if that was asked for.
    pub(crate) fn end_serving(&self, number: u64) {
        self.state.send_modify(|state| {
            let status = &mut state.status;
            status.ended += 1;
            if status.ended == status.begun {
                status.phase = Phase::Idle;
                if status.closed {
                    Self::close_endpoints(state);
                }
            } else if number == status.begun {
                status.phase = Phase::Dropped; // an earlier one is still being cleaned up
            }
        });
    }

    /// Asks the present serving to stop. Answers its number, if there is one.
    pub(crate) fn request_stop(&self) -> Option<u64> {
        let (status, stop) = {
            let state = self.state.borrow();
            (state.status, state.stop.clone())
        };
        if status.phase == Phase::Idle {
            return None;
        }
        stop.request();
        Some(status.begun)
    }

    /// From now on the server is closed: its sockets are closed now, or when its serving ends.
    pub(crate) fn begin_close(&self) -> Option<u64> {
        self.state.send_if_modified(|state| {
            if state.status.phase == Phase::Idle {
                Self::close_endpoints(state);
            }
            !std::mem::replace(&mut state.status.closed, true)
        });
        self.request_stop()
    }
}
