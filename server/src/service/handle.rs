//! A server's handle: what other tasks and threads can ask of it.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::exit::is_exiting;
use super::{DrainKind, DrainRequest, Phase, Shared, Stats, Status};
use crate::admission::Admission;
use crate::error::StartError;
use crate::support::with_value;
use crate::transport::{Capabilities, SocketOptions};

/// Controls a server from anywhere. Cheap to clone.
///
/// Its futures need no particular runtime.
///
/// ```
/// use postbox_protocol::{BoxError, DatagramProtocol, RawSerializer};
/// use postbox_server::Server;
///
/// #[tokio::main]
/// async fn main() -> Result<(), BoxError> {
///     let protocol = DatagramProtocol::new(RawSerializer);
///     let builder = Server::builder_fn(protocol, |client, mut requests| async move {
///         client.send(requests.recv().await?).await?;
///         Ok(())
///     });
///     let server = builder.bind("127.0.0.1:0").await?;
///     let handle = server.handle();
///     let serving = tokio::spawn(async move { server.serve_forever().await });
///     handle.started().await?;
///     println!("serving on {:?}", handle.addresses());
///
///     // ... the rest of the program ...
///
///     handle.shutdown().await; // with grace for running handlers
///     serving.await??;
///     println!("{} datagrams answered", handle.stats().sent);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct ServerHandle {
    pub(crate) shared: Arc<Shared>,
}

impl ServerHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Stops serving, and returns when it has ended; at once if the server is not serving. So a
    /// serving that a task is yet to begin goes on: wait for [`started`](Self::started) first.
    ///
    /// From its start every receive answers closed, and what is queued is dropped and counted.
    /// Running handlers get the grace period ([`Limits::grace`](crate::Limits::grace)), then they
    /// are dropped. What was sent leaves. Then the exit actions run. The sockets stay open: the
    /// server can serve again, and then first handles what the kernel kept.
    ///
    /// Safe to call from any task, any number of times at once, also from a handler (it does not
    /// hold up the end that it waits for, and is dropped there) and from an exit action (returns at
    /// once). The serving future has to be polled on or dropped meanwhile: one that is merely kept
    /// never ends, and is waited for, unless it was never polled at all.
    ///
    /// # Cancel safety
    ///
    /// Once begun, the shutdown goes on if the future is dropped.
    pub async fn shutdown(&self) {
        if is_exiting(self.shared.address()) {
            return;
        }
        if let Some(serving) = self.shared.request_stop() {
            self.ended(serving).await;
        }
    }

    /// Stops serving without losing what has begun, and returns when serving has ended: as soon as
    /// that is done, or at its deadline, `within` this time; at once if the server is not serving.
    ///
    /// What has arrived by now is received and handled. From then on a datagram of a client that has
    /// no handler is dropped, and counted ([`Stats::dropped_shutdown`]); conversations, and
    /// [tasks](crate::ClientSpawner) of clients, go on. When the last of them has ended, or at the
    /// deadline, the server [shuts down](Self::shutdown): at the deadline with a grace for what still
    /// runs, and the exit actions come after that.
    ///
    /// Handlers learn of it by [`Client::is_draining`](crate::Client::is_draining), and by
    /// [`ServiceScope::drain_token`](crate::ServiceScope::drain_token). Background tasks do not hold
    /// it, nor does a handler, or a task of a client, that waits for this very drain. During
    /// `service_init` it is a shutdown; a shutdown takes over from it; a second drain only changes
    /// the deadline, to the earlier one.
    ///
    /// # Cancel safety
    ///
    /// Once begun, the drain goes on if the future is dropped.
    pub async fn drain(&self, within: Duration) {
        self.begin_drain(DrainKind::Finish, within).await;
    }

    /// Like [`drain`](Self::drain), for a server whose sockets go on elsewhere: a successor has
    /// them too, from a service manager or by [`from_sockets`](crate::ServerBuilder::from_sockets).
    ///
    /// Nothing is received from now on: what the kernel holds stays there for the successor. What
    /// handlers have queued is still handed out; a receive that finds nothing queued answers closed,
    /// whatever its timeout. After a [`drain`](Self::drain) has begun this only changes its deadline:
    /// nothing is handed over.
    ///
    /// # Cancel safety
    ///
    /// Once begun, it goes on if the future is dropped.
    pub async fn hand_over(&self, within: Duration) {
        self.begin_drain(DrainKind::HandOver, within).await;
    }

    async fn begin_drain(&self, kind: DrainKind, within: Duration) {
        let request = DrainRequest::new(kind, within);
        if let Some(serving) = self.shared.request_drain(request) {
            self.ended(serving).await;
        }
    }

    /// Shuts down, then closes the sockets, for good. When it returns the ports can be bound again,
    /// whatever clients, requests and handles still live. Any number of calls do no more.
    ///
    /// # Cancel safety
    ///
    /// Once begun, the close is completed also if the future is dropped.
    pub async fn close(&self) {
        if let (_, Some(serving)) = self.shared.begin_close() {
            self.ended(serving).await;
        }
    }

    /// Waits until a serving has ended, by its number, and those before.
    async fn ended(&self, serving: u64) {
        let server = self.shared.address();
        if is_exiting(server) {
            return; // an exit action would wait for itself
        }
        let mut state = self.shared.state.subscribe();
        let mut ended = pin!(state.wait_for(|state| state.has_ended(serving)));
        poll_fn(|cx| {
            // A handler that waits for its own server must not be waited for.
            if POLLING.get() == server {
                AWAITS.set(true);
            }
            ended.as_mut().poll(cx).map(drop)
        })
        .await;
    }

    /// Waits until datagrams are being handled. If serving has not been called yet, waits for that
    /// too.
    ///
    /// # Errors
    ///
    /// [`StartError`] if serving ended or failed before that, or the server is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn started(&self) -> Result<(), StartError> {
        // The present serving, or the last one, which has ended, or the first one to come.
        let serving = self.shared.status().begun.max(1);
        let mut state = self.shared.state.subscribe();
        let settled = state.wait_for(|state| {
            let Status { phase, closed, .. } = state.status;
            let ended = state.status.begun >= serving && state.has_ended(serving);
            closed || phase == Phase::Serving || ended
        });
        match settled.await.map(|state| state.status) {
            Ok(status) if status.closed => Err(StartError::Closed),
            Ok(status) if status.phase == Phase::Serving => Ok(()),
            _ => Err(StartError::Ended),
        }
    }

    /// Whether the sockets are open.
    pub fn is_listening(&self) -> bool {
        !self.shared.status().closed
    }

    /// Whether the sockets are open and datagrams are being handled.
    pub fn is_serving(&self) -> bool {
        let status = self.shared.status();
        status.phase == Phase::Serving && !status.closed
    }

    /// Waits until every worker has made a turn since the call, so none is held by a handler that
    /// blocks. Returns whether datagrams are handled: `false` at once where they are not, or when a
    /// shutdown begins.
    ///
    /// It has no deadline of its own. For a health check:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn is_healthy(handle: postbox_server::ServerHandle) -> bool {
    /// let turn = tokio::time::timeout(Duration::from_secs(1), handle.responds());
    /// turn.await.unwrap_or(false)
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn responds(&self) -> bool {
        let Some(stop) = self.shared.serving() else {
            return false;
        };
        let answered = stop.pings.answered();
        let mut answered = pin!(answered);
        let mut stopped = pin!(stop.requested());
        poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => answered.as_mut().poll(cx).map(|()| true),
        })
        .await
    }

    /// Whether the present serving [drains](Self::drain), or shuts down.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// The addresses that the server is bound to, in the order asked for; empty once it is closed.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.addresses()
    }

    /// The counters of all workers and servings so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// How many datagrams each part of the [admission check](crate::Admission) refused so far,
    /// sorted by the part's name: what [`Stats::dropped_refused`] is the sum of, exactly while
    /// nothing runs.
    ///
    /// A name that a check had once goes on, also where the check was replaced. The ready-made
    /// parts are `networks` and `rate`, closures are `check`, a check that panicked is `panicked`.
    /// Each worker counts 16 names singly, and further ones as `others`.
    ///
    /// ```
    /// # fn example(handle: postbox_server::ServerHandle) {
    /// for (part, refused) in handle.refusals() {
    ///     println!("datagrams_refused{{part=\"{part}\"}} {refused}");
    /// }
    /// # }
    /// ```
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.shared.refusals()
    }

    /// Replaces the admission check, also while the server serves; `None` for no check. It holds for
    /// whatever arrives once this has returned, and for further servings.
    ///
    /// What was received and is queued already stays. The former check is dropped once every worker
    /// has received something or ended, or by its owner if it is shared.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use postbox_server::{BoxError, IpNet, Networks, RatePerPrefix, ServerHandle};
    /// # fn example(handle: ServerHandle, banned: Vec<IpNet>) {
    /// use postbox_server::Admission;
    ///
    /// let rate = Arc::new(RatePerPrefix::new(200, 400)); // goes on, with all its buckets
    /// handle.set_admission(Some(rate.clone()));
    /// // ... later ...
    /// let bans = Networks::new().deny(banned);
    /// handle.set_admission(Some(Arc::new(bans.and(rate))));
    /// # }
    /// ```
    pub fn set_admission(&self, admission: Option<Arc<dyn Admission>>) {
        let former = self.shared.admission.send_replace(admission);
        drop(former); // user code: not under the lock
    }

    /// What this server's transport can tell and do now: whether it knows the local address on a
    /// wildcard bind, sees truncation, and so on. What the kernel has refused, it cannot.
    pub fn capabilities(&self) -> Capabilities {
        self.shared.capabilities()
    }

    /// The options of the server's sockets, one for each worker's socket; empty once it is closed.
    ///
    /// They can be read and set. The sockets themselves stay the server's: nobody else receives
    /// from them, sends with them or closes them.
    pub fn sockets(&self) -> Vec<SocketOptions> {
        self.shared.socket_options()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("addresses", &self.addresses())
            .finish()
    }
}

thread_local! {
    /// The server whose handlers are polled on this thread, or 0.
    static POLLING: Cell<usize> = const { Cell::new(0) };
    /// The handler that is polled waits for that server to end.
    static AWAITS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `code`, which polls handlers of `server`. They may themselves run another server.
pub(crate) fn polling_handlers<T>(server: usize, code: impl FnOnce() -> T) -> T {
    with_value(&POLLING, server, code)
}

/// Runs `poll`, which polls one handler. Returns whether that waits for its own server to end.
#[inline]
pub(crate) fn awaits_shutdown<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    let outer = AWAITS.replace(false);
    (poll(), AWAITS.replace(outer))
}
