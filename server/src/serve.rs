//! One serving: service initialization, workers, drain, exit actions.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use postbox_protocol::{BoxError, Protocol};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::context::Values;
use crate::error::{Panicked, ServeError};
use crate::handle::ServerHandle;
use crate::handler::Handler;
use crate::inbox::Inbox;
use crate::panics;
use crate::peer::Port;
use crate::server::{Endpoint, EndpointKind, Phase, Shared, Stop};
use crate::service::{Service, Tasks};
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

/// The right to serve. Given back when dropped.
pub(crate) struct Claim {
    shared: Arc<Shared>,
    stop: Stop,
    /// The servings are numbered from 1.
    number: u64,
}

pub(crate) fn claim(shared: &Arc<Shared>) -> Result<Claim, ServeError> {
    let (number, stop) = shared.begin_serving()?;
    Ok(Claim {
        shared: Arc::clone(shared),
        stop,
        number,
    })
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.end_serving(self.number);
    }
}

/// Serves, from service initialization to the last exit action.
pub(crate) async fn serve(claim: Claim) -> Result<(), ServeError> {
    // An earlier serving that was dropped may still be cleaning up.
    let mut status = claim.shared.status.subscribe();
    let _ = status
        .wait_for(|status| status.ended + 1 >= claim.number)
        .await;
    drop(status);
    if claim.shared.status.borrow().closed {
        return Err(ServeError::Closed);
    }

    let shared = Arc::clone(&claim.shared);
    let (tasks, failures) = Tasks::new(claim.stop.child_token());
    let handle = ServerHandle::new(Arc::clone(&shared));
    let mut service = Service::new(handle, tasks);
    service.exits.server = shared.address();
    let mut serving = InFlight {
        runtime: runtime::Handle::current(),
        left: Some(Left {
            workers: JoinSet::new(),
            inboxes: Vec::new(),
            service,
            claim,
        }),
    };
    let result = match &mut serving.left {
        Some(left) => left.serve(&shared, failures).await,
        None => Ok(()),
    };
    if let Some(left) = &mut serving.left {
        left.service.exits.run(shared.limits.exit).await;
    }
    serving.left = None;
    result
}

/// A serving that has begun. Dropping it before its end is a shutdown without grace.
struct InFlight {
    runtime: runtime::Handle,
    left: Option<Left>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(left) = self.left.take() {
            left.claim.shared.set_phase(Phase::Dropped);
            left.claim.stop.request();
            // On a runtime that is gone, the future is dropped at once, and does what can be done then.
            self.runtime.spawn(left.clean_up());
        }
    }
}

/// Everything that a serving has started, in the order in which it ends when simply dropped.
struct Left {
    workers: JoinSet<()>,
    inboxes: Vec<Arc<Inbox>>,
    service: Service,
    claim: Claim,
}

impl Left {
    async fn serve(
        &mut self,
        shared: &Arc<Shared>,
        mut failures: mpsc::UnboundedReceiver<BoxError>,
    ) -> Result<(), ServeError> {
        let Some(context) = self.init(shared).await? else {
            return Ok(());
        };
        let (started, watchdog) = self.start_workers(shared, &context)?;
        drop(context);
        let result = self.run(started, &mut failures).await;
        let stopped = self.stop_workers(shared).await;
        drop(watchdog);
        result.and(stopped)
    }

    /// Runs `service_init`. Answers the context that it set, or `None` if a shutdown cancelled it.
    async fn init(&mut self, shared: &Shared) -> Result<Option<Values>, ServeError> {
        let mut context = Values::none();
        let stop = self.claim.stop.clone();
        let mut stopped = pin!(stop.requested());
        let service = &mut self.service;
        let begin = || turn::in_context(&mut context, move || shared.app.service_init(service));
        let mut init = match panics::catch(begin) {
            Ok(init) => Some(init),
            Err(message) => return Err(ServeError::ServiceInit(Panicked(message).into())),
        };
        let result = poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            let Some(init) = &mut init else {
                return Poll::Pending;
            };
            match panics::catch(|| turn::in_context(&mut context, || init.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Some),
                Err(message) => Poll::Ready(Some(Err(Panicked(message).into()))),
            }
        })
        .await;
        let dropped = panics::catch(|| turn::in_context(&mut context, || drop(init.take())));
        let result = match dropped {
            Ok(()) => result,
            Err(message) => Some(Err(Panicked(message).into())),
        };
        match result {
            None => Ok(None),
            Some(Ok(())) => Ok(Some(context)),
            Some(Err(error)) => Err(ServeError::ServiceInit(error)),
        }
    }

    /// Starts a worker for each socket.
    fn start_workers(
        &mut self,
        shared: &Arc<Shared>,
        context: &Values,
    ) -> Result<(Vec<oneshot::Receiver<()>>, Watchdog), ServeError> {
        let (mut beats, mut ready, mut futures) = (Vec::new(), Vec::new(), Vec::new());
        for endpoint in shared.endpoints() {
            let (started, has_started) = oneshot::channel();
            let beat = Arc::new(Beat::default());
            let inbox = Arc::new(Inbox::new(
                shared.limits.outbox_bytes.max(crate::limits::MIN_OUTBOX),
                Arc::clone(&self.claim.stop.closing),
            ));
            let context = panics::catch(|| context.copy())
                .map_err(|message| ServeError::ServiceInit(Panicked(message).into()))?;
            let plan = WorkerPlan {
                shared: Arc::clone(shared),
                inbox: Arc::clone(&inbox),
                context,
                beat: Arc::clone(&beat),
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
            self.workers.spawn(future);
        }
        Ok((ready, Watchdog::start(beats)))
    }

    /// Serves until a shutdown, or until something fails.
    async fn run(
        &mut self,
        started: Vec<oneshot::Receiver<()>>,
        failures: &mut mpsc::UnboundedReceiver<BoxError>,
    ) -> Result<(), ServeError> {
        let stop = self.claim.stop.clone();
        let mut stopped = pin!(stop.requested());
        let shared = &self.claim.shared;
        let workers = &mut self.workers;
        let mut all_started = pin!(async {
            for started in started {
                let _ = started.await; // a worker that died is told by its task
            }
        });
        let mut starting = true;
        poll_fn(|cx| {
            if let Poll::Ready(Some(error)) = failures.poll_recv(cx) {
                return Poll::Ready(Err(ServeError::BackgroundTask(error)));
            }
            if let Poll::Ready(Some(died)) = workers.poll_join_next(cx) {
                return Poll::Ready(Err(worker_died(died)));
            }
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if starting && all_started.as_mut().poll(cx).is_ready() {
                starting = false;
                shared.set_phase(Phase::Serving);
            }
            Poll::Pending
        })
        .await
    }

    /// Shuts the workers down, with grace.
    async fn stop_workers(&mut self, shared: &Shared) -> Result<(), ServeError> {
        shared.set_phase(Phase::Ending);
        self.claim.stop.request();
        for inbox in &self.inboxes {
            let _ = inbox.post(|mail| mail.close = Some(shared.limits.grace));
        }
        let mut result = Ok(());
        while let Some(ended) = self.workers.join_next().await {
            if ended.is_err() {
                result = Err(worker_died(ended));
            }
        }
        result
    }

    /// Ends a serving whose future was dropped: no grace, but in order.
    async fn clean_up(mut self) {
        self.claim.stop.request();
        self.workers.shutdown().await;
        let limit = self.claim.shared.limits.exit;
        self.service.exits.run(limit).await;
    }
}

fn worker_died(ended: Result<(), tokio::task::JoinError>) -> ServeError {
    let message = match ended {
        Ok(()) => String::from("it ended by itself"),
        Err(error) => match error.try_into_panic() {
            Ok(payload) => panics::message(payload),
            Err(error) => error.to_string(),
        },
    };
    ServeError::WorkerDied { message }
}
