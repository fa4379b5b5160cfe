//! One serving: service initialization, workers, drain, exit actions.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_protocol::{BoxError, Protocol};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::claim::Claim;
use crate::context::Values;
use crate::endpoint::{Endpoint, EndpointKind};
use crate::error::ServeError;
use crate::exit::ExitActions;
use crate::handle::ServerHandle;
use crate::handler::Handler;
use crate::inbox::Inbox;
use crate::panics;
use crate::port::Port;
use crate::report::Report;
use crate::service::{self, Service, Tasks};
use crate::shared::{Phase, Shared};
use crate::transport::{MemoryTransport, PlainTransport};
use crate::turn;
use crate::watchdog::{Beat, Watchdog};
use crate::worker::{self, Setup};

/// A protocol and a handler, their types forgotten.
pub(crate) trait Application: Send + Sync {
    fn service_init<'a>(
        &'a self,
        service: &'a mut Service,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

    /// Makes the worker of one socket. Needs the runtime that it will run on.
    fn worker(&self, endpoint: &Endpoint, plan: WorkerPlan) -> std::io::Result<WorkerFuture>;
}

pub(crate) type WorkerFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a worker needs besides its socket.
pub(crate) struct WorkerPlan {
    pub(crate) shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    context: Values,
    beat: Arc<Beat>,
    closed_told: Arc<AtomicBool>,
    started: oneshot::Sender<()>,
}

pub(crate) struct App<P, H> {
    pub(crate) protocol: Arc<P>,
    pub(crate) handler: Arc<H>,
}

impl<P, H> Application for App<P, H>
where
    H: Handler,
    P: Protocol<Sent = H::Response, Received = H::Request>,
{
    fn service_init<'a>(
        &'a self,
        service: &'a mut Service,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>> {
        Box::pin(self.handler.service_init(service))
    }

    fn worker(&self, endpoint: &Endpoint, plan: WorkerPlan) -> std::io::Result<WorkerFuture> {
        let shared = plan.shared;
        let port = Port {
            protocol: Arc::clone(&self.protocol),
            inbox: plan.inbox,
            counters: Arc::clone(&endpoint.counters),
            totals: Arc::clone(&shared.totals),
            limits: Arc::clone(&shared.limits),
            socket: endpoint.id,
            bound: endpoint.addr,
        };
        let setup = Setup {
            port: Arc::new(port),
            server: shared.address(),
            admit: shared.admit.clone(),
            context: plan.context,
            beat: plan.beat,
            report: Report::new(plan.closed_told),
            started: plan.started,
        };
        let handler = Arc::clone(&self.handler);
        Ok(match &endpoint.kind {
            EndpointKind::Memory(endpoint) => Box::pin(worker::run(
                MemoryTransport::new(Arc::clone(endpoint)),
                handler,
                setup,
            )),
            #[cfg(target_os = "linux")]
            EndpointKind::Socket { socket, member, .. } if !shared.transport.plain => {
                let socket = Arc::clone(socket);
                let transport =
                    crate::transport::UdpTransport::new(socket, shared.transport.offloads)?;
                if *member > 0 {
                    Box::pin(worker::run(transport.unicast_only(), handler, setup))
                } else {
                    Box::pin(worker::run(transport, handler, setup))
                }
            }
            EndpointKind::Socket { socket, .. } => {
                Box::pin(worker::run(PlainTransport::new(socket)?, handler, setup))
            }
        })
    }
}

/// What comes last, in this order. Every worker has a share in it: where no runtime is left to see
/// to the end, the exit actions still wait for the last handler to be dropped.
pub(crate) struct Ending {
    pub(crate) exits: ExitActions,
    claim: Claim,
}

/// Serves, from service initialization to the last exit action.
pub(crate) async fn serve(claim: Claim) -> Result<(), ServeError> {
    let shared = Arc::clone(&claim.shared);
    if !shared.set_off(claim.number) {
        return match shared.status().closed {
            true => Err(ServeError::Closed),
            false => Ok(()),
        };
    }
    // An earlier serving that was dropped may still be cleaning up.
    let earlier = claim.number - 1;
    let closed = {
        let mut state = shared.state.subscribe();
        let ended = state.wait_for(|state| state.status.ended >= earlier).await;
        ended.is_ok_and(|state| state.status.closed)
    };
    if closed {
        return Err(ServeError::Closed);
    }

    // A runtime without time is told of by a panic: here, where nothing has begun, and not in each
    // worker.
    drop(tokio::time::sleep(Duration::ZERO));
    let (tasks, mut failures) = Tasks::new(claim.stop.child_token());
    let ending = Arc::new(Ending {
        exits: ExitActions::new(shared.address()),
        claim,
    });
    let handle = ServerHandle::new(Arc::clone(&shared));
    let mut serving = InFlight {
        runtime: runtime::Handle::current(),
        left: Some(Left {
            workers: JoinSet::new(),
            inboxes: Vec::new(),
            watchdog: None,
            service: Service::new(handle, tasks, Arc::clone(&ending)),
            ending,
        }),
    };
    let Some(left) = &mut serving.left else {
        return Ok(());
    };
    let result = left.serve(&shared, &mut failures).await;
    failures.close(); // what fails from now on did not end serving: it is logged
    while let Some(error) = failures.recv().await {
        service::log_failed(&error);
    }
    let stopped = left.stop_workers(&shared).await;
    left.ending.exits.run(shared.limits.exit).await;
    serving.left = None;
    result.and(stopped)
}

/// A serving that has begun. Dropping it before its end is a shutdown without grace.
struct InFlight {
    runtime: runtime::Handle,
    left: Option<Left>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(left) = self.left.take() {
            left.ending.claim.shared.set_phase(Phase::Dropped);
            left.ending.claim.stop.request();
            // On a runtime that is gone, this drops the future, and with it all that is left.
            self.runtime.spawn(left.clean_up());
        }
    }
}

/// Everything that a serving has started.
struct Left {
    workers: JoinSet<()>,
    inboxes: Vec<Arc<Inbox>>,
    watchdog: Option<Watchdog>,
    service: Service,
    ending: Arc<Ending>,
}

impl Left {
    /// Serves until a shutdown, or until something fails.
    async fn serve(
        &mut self,
        shared: &Arc<Shared>,
        failures: &mut mpsc::UnboundedReceiver<BoxError>,
    ) -> Result<(), ServeError> {
        let Some(context) = self.init(shared, failures).await? else {
            return Ok(());
        };
        let started = self.start_workers(shared, &context)?;
        drop(context);
        self.run(started, failures).await
    }

    /// Runs `service_init`. Answers the context that it set, or `None` if a shutdown cancelled it.
    async fn init(
        &mut self,
        shared: &Shared,
        failures: &mut mpsc::UnboundedReceiver<BoxError>,
    ) -> Result<Option<Values>, ServeError> {
        let stop = &self.ending.claim.stop;
        if stop.is_requested() {
            return Ok(None);
        }
        let mut context = Values::none();
        let mut stopped = pin!(stop.requested());
        let service = &mut self.service;
        let begin = || turn::in_context(&mut context, move || shared.app.service_init(service));
        let mut init = match panics::catch(begin) {
            Ok(init) => Some(init),
            Err(message) => return Err(init_panicked(message)),
        };
        let result = poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(None));
            }
            if let Poll::Ready(Some(error)) = failures.poll_recv(cx) {
                return Poll::Ready(Err(ServeError::BackgroundTask(error)));
            }
            let Some(init) = &mut init else {
                return Poll::Pending;
            };
            match panics::catch(|| turn::in_context(&mut context, || init.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(Ok(()))) => Poll::Ready(Ok(Some(()))),
                Ok(Poll::Ready(Err(error))) => Poll::Ready(Err(ServeError::ServiceInit(error))),
                Err(message) => Poll::Ready(Err(init_panicked(message))),
            }
        })
        .await;
        let dropped = panics::catch(|| turn::in_context(&mut context, || drop(init.take())));
        let dropped = dropped.map_err(init_panicked);
        let done = result.and_then(|done| dropped.map(|()| done))?;
        Ok(done.map(|()| context))
    }

    /// Starts a worker for each socket.
    fn start_workers(
        &mut self,
        shared: &Arc<Shared>,
        context: &Values,
    ) -> Result<Vec<oneshot::Receiver<()>>, ServeError> {
        let (mut beats, mut ready, mut futures) = (Vec::new(), Vec::new(), Vec::new());
        for endpoint in shared.endpoints() {
            let (started, has_started) = oneshot::channel();
            let beat = Arc::new(Beat::default());
            let inbox = Arc::new(Inbox::new(
                shared.limits.outbox_bytes.max(crate::limits::MIN_OUTBOX),
                Arc::clone(&self.ending.claim.stop.closing),
            ));
            let context = panics::catch(|| context.copy()).map_err(init_panicked)?;
            let plan = WorkerPlan {
                shared: Arc::clone(shared),
                inbox: Arc::clone(&inbox),
                context,
                beat: Arc::clone(&beat),
                closed_told: Arc::clone(&self.ending.claim.stop.closed_told),
                started,
            };
            let future =
                shared
                    .app
                    .worker(&endpoint, plan)
                    .map_err(|source| ServeError::Socket {
                        addr: endpoint.addr,
                        source,
                    })?;
            futures.push(future);
            beats.push(beat);
            ready.push(has_started);
            self.inboxes.push(inbox);
        }
        for future in futures {
            self.workers.spawn(WorkerTask {
                future,
                _ending: Arc::clone(&self.ending),
            });
        }
        self.watchdog = Some(Watchdog::start(beats));
        Ok(ready)
    }

    /// Sees to it that all workers run, until a shutdown or until something fails.
    async fn run(
        &mut self,
        started: Vec<oneshot::Receiver<()>>,
        failures: &mut mpsc::UnboundedReceiver<BoxError>,
    ) -> Result<(), ServeError> {
        let Claim { shared, stop, .. } = &self.ending.claim;
        let workers = &mut self.workers;
        let mut stopped = pin!(stop.requested());
        let mut all_started = pin!(async {
            for started in started {
                if started.await.is_err() {
                    std::future::pending().await // that worker died, which its task tells
                }
            }
        });
        let mut starting = true;
        poll_fn(|cx| {
            // First: what a shutdown makes fail has not ended serving.
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if let Poll::Ready(Some(error)) = failures.poll_recv(cx) {
                return Poll::Ready(Err(ServeError::BackgroundTask(error)));
            }
            if let Poll::Ready(Some(died)) = workers.poll_join_next(cx) {
                return Poll::Ready(Err(worker_died(died)));
            }
            if starting && all_started.as_mut().poll(cx).is_ready() {
                starting = false;
                shared.set_serving();
            }
            Poll::Pending
        })
        .await
    }

    /// Shuts the workers down, with grace.
    async fn stop_workers(&mut self, shared: &Shared) -> Result<(), ServeError> {
        shared.set_phase(Phase::Ending);
        self.ending.claim.stop.request();
        for inbox in &self.inboxes {
            let _ = inbox.post(|mail| mail.close = Some(shared.limits.grace));
        }
        let mut result = Ok(());
        while let Some(ended) = self.workers.join_next().await {
            if ended.is_err() {
                result = Err(worker_died(ended));
            }
        }
        self.watchdog = None;
        result
    }

    /// Ends a serving whose future was dropped: no grace, but in order.
    async fn clean_up(mut self) {
        self.workers.shutdown().await;
        let limit = self.ending.claim.shared.limits.exit;
        self.ending.exits.run(limit).await;
    }
}

/// A worker, and its share in the ending: the handlers are dropped first.
struct WorkerTask {
    future: WorkerFuture,
    _ending: Arc<Ending>,
}

impl Future for WorkerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.future.as_mut().poll(cx)
    }
}

fn init_panicked(message: String) -> ServeError {
    ServeError::ServiceInit(panics::error(message))
}

fn worker_died(ended: Result<(), tokio::task::JoinError>) -> ServeError {
    let message = match ended.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(()) => String::from("it ended by itself"),
        Err(Ok(payload)) => panics::message(payload),
        Err(Err(_cancelled)) => return ServeError::RuntimeGone,
    };
    ServeError::WorkerDied { message }
}
