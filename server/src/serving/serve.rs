//! One serving: service initialization, workers, drain, exit actions.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_protocol::BoxError;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::application::{Application, WorkerFuture, WorkerPlan};
use super::drain::drained;
use crate::config::MIN_OUTBOX;
use crate::engine::{Heartbeat, InjectQueue, Report, Watchdog};
use crate::error::ServeError;
use crate::handler::context::{Values, in_context};
use crate::service::{
    Claim, ClientTasks, ExitActions, Phase, ServerHandle, ServiceScope, Shared, Tasks, log_failed,
};
use crate::support::log::tell;
use crate::support::{clock, panics};

/// What comes last, in this order. Every worker has a share in it: where no runtime is left to see
/// to the end, the exit actions still wait for the last handler to be dropped.
struct Ending {
    exits: Arc<ExitActions>,
    claim: Claim,
}

/// Serves, from service initialization to the last exit action.
pub(crate) async fn serve(app: Arc<dyn Application>, claim: Claim) -> Result<(), ServeError> {
    let shared = Arc::clone(&claim.shared);
    if !shared.set_starting(claim.number) {
        return match shared.status().closed {
            true => Err(ServeError::Closed),
            false => Ok(()),
        };
    }
    // An earlier serving that was dropped may still be cleaning up.
    let earlier = claim.number - 1;
    let closed = {
        let mut state = shared.state.subscribe();
        let ended = state.wait_for(|state| state.has_ended(earlier)).await;
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
        exits: Arc::new(ExitActions::new(shared.address())),
        claim,
    });
    let handle = ServerHandle::new(Arc::clone(&shared));
    let mut serving = Serving {
        runtime: runtime::Handle::current(),
        started: Some(Started {
            workers: JoinSet::new(),
            queues: Vec::new(),
            watchdog: None,
            client_tasks: ClientTasks::new(
                runtime::Handle::current(),
                &shared,
                Arc::clone(&ending.claim.stop.closing),
            ),
            scope: ServiceScope::new(
                handle,
                tasks,
                Arc::clone(&ending.exits),
                ending.claim.stop.drain.token(),
            ),
            app,
            ending,
        }),
    };
    let Some(started) = &mut serving.started else {
        return Ok(());
    };
    let result = started.serve(&shared, &mut failures).await;
    failures.close(); // what fails from now on did not end serving: it is logged
    while let Some(error) = failures.recv().await {
        log_failed(&error);
    }
    let stopped = started.stop_workers(&shared).await;
    started.ending.exits.run(shared.limits.exit_timeout()).await;
    serving.started = None;
    result.and(stopped)
}

/// A serving that has begun. Dropping it before its end is a shutdown without grace.
struct Serving {
    runtime: runtime::Handle,
    started: Option<Started>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(started) = self.started.take() {
            started.ending.claim.shared.set_phase(Phase::Dropped);
            started.ending.claim.stop.request();
            // On a runtime that is gone, this drops the future, and with it all that is left.
            self.runtime.spawn(started.clean_up());
        }
    }
}

/// What the workers tell, each once.
#[derive(Default)]
struct Signals {
    started: Vec<oneshot::Receiver<()>>,
    drained: Vec<oneshot::Receiver<()>>,
}

/// Everything that a serving has started.
struct Started {
    workers: JoinSet<()>,
    queues: Vec<Arc<InjectQueue>>,
    watchdog: Option<Watchdog>,
    client_tasks: Arc<ClientTasks>,
    scope: ServiceScope,
    app: Arc<dyn Application>,
    ending: Arc<Ending>,
}

impl Started {
    /// Serves until a shutdown, or until something fails.
    async fn serve(
        &mut self,
        shared: &Arc<Shared>,
        failures: &mut mpsc::UnboundedReceiver<BoxError>,
    ) -> Result<(), ServeError> {
        if self.ending.claim.stop.is_requested() {
            return Ok(());
        }
        // Before the service is initialized, so that what is sent there leaves.
        let signals = self.start_workers(shared)?;
        let Some(context) = self.init(failures).await? else {
            return Ok(());
        };
        for inject in &self.queues {
            let context = context.clone();
            let _ = inject.push(|injected| injected.begin = Some(context));
        }
        drop(context);
        self.run(signals, failures).await
    }

    /// Runs `service_init`. Returns the context that it set, or `None` if a shutdown cancelled it.
    async fn init(
        &mut self,
        failures: &mut mpsc::UnboundedReceiver<BoxError>,
    ) -> Result<Option<Values>, ServeError> {
        let mut context = Values::none();
        let mut stopped = pin!(self.ending.claim.stop.requested());
        let (app, scope) = (&self.app, &mut self.scope);
        let begin = || in_context(&mut context, move || app.service_init(scope));
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
            match panics::catch(|| in_context(&mut context, || init.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(Ok(()))) => Poll::Ready(Ok(Some(()))),
                Ok(Poll::Ready(Err(error))) => Poll::Ready(Err(ServeError::ServiceInit(error))),
                Err(message) => Poll::Ready(Err(init_panicked(message))),
            }
        })
        .await;
        let dropped = panics::catch(|| in_context(&mut context, || drop(init.take())));
        let dropped = dropped.map_err(init_panicked);
        let done = result.and_then(|done| dropped.map(|()| done))?;
        Ok(done.map(|()| context))
    }

    /// Starts a worker for each socket. They only send, until they are told to begin.
    fn start_workers(&mut self, shared: &Arc<Shared>) -> Result<Signals, ServeError> {
        let (mut beats, mut signals, mut futures) = (Vec::new(), Signals::default(), Vec::new());
        for worker in shared.workers() {
            let (started, has_started) = oneshot::channel();
            let (drained, has_drained) = oneshot::channel();
            let beat = Arc::new(Heartbeat::default());
            let stop = &self.ending.claim.stop;
            let outbox_bytes = shared.limits.max_outbox_bytes().max(MIN_OUTBOX);
            let inject = Arc::new(InjectQueue::new(outbox_bytes, Arc::clone(&stop.closing)));
            let plan = WorkerPlan {
                shared: Arc::clone(shared),
                tasks: Arc::clone(&self.client_tasks),
                draining: stop.drain.token(),
                inject: Arc::clone(&inject),
                beat: Arc::clone(&beat),
                report: Report::new(worker.endpoint.local_addr(), Arc::clone(&stop.closed_told)),
                started,
                drained,
            };
            let future = self.app.worker(&worker, plan, &mut self.scope);
            let future = future.map_err(|source| ServeError::Socket {
                addr: worker.endpoint.local_addr(),
                source,
            })?;
            futures.push(future);
            beats.push(beat);
            signals.started.push(has_started);
            signals.drained.push(has_drained);
            self.queues.push(inject);
        }
        for future in futures {
            self.workers.spawn(WorkerTask {
                future,
                _ending: Arc::clone(&self.ending),
            });
        }
        self.watchdog = Some(Watchdog::start(beats));
        Ok(signals)
    }

    /// Sees to it that all workers run, until a shutdown, until a drain is over, or until something
    /// fails.
    async fn run(
        &mut self,
        signals: Signals,
        failures: &mut mpsc::UnboundedReceiver<BoxError>,
    ) -> Result<(), ServeError> {
        let Claim { shared, stop, .. } = &self.ending.claim;
        let workers = &mut self.workers;
        let mut stopped = pin!(stop.requested());
        let mut all_started = pin!(async {
            for started in signals.started {
                if started.await.is_err() {
                    std::future::pending().await // that worker died, which its task tells
                }
            }
        });
        let drain = drained(
            &stop.drain,
            &self.queues,
            signals.drained,
            &self.client_tasks,
            shared,
        );
        let mut drained = pin!(drain);
        let ping = stop.pings.pass_on(|pings| {
            self.queues.iter().for_each(|inject| inject.ping(pings));
        });
        let mut pinged = pin!(ping);
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
            let _ = pinged.as_mut().poll(cx);
            drained.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// Shuts the workers down, with grace.
    async fn stop_workers(&mut self, shared: &Shared) -> Result<(), ServeError> {
        shared.set_phase(Phase::Ending);
        self.ending.claim.stop.request();
        let (grace, handlers) = (shared.limits.grace_period(), shared.handlers_cancelled());
        let deadline = clock::deadline(Instant::now(), grace);
        for inject in &self.queues {
            let _ = inject.push(|injected| injected.close = Some(grace));
        }
        let (workers, queues, tasks) = (&mut self.workers, &self.queues, &self.client_tasks);
        let ended = async {
            let mut result = Ok(());
            while let Some(ended) = workers.join_next().await {
                if ended.is_err() {
                    result = Err(worker_died(ended));
                }
            }
            result
        };
        // Tasks of clients may send until they end, so the workers wait for them.
        let told = async {
            loop {
                tasks.becomes(true).await;
                for inject in queues {
                    let _ = inject.push(|_| ());
                }
                tasks.becomes(false).await;
            }
        };
        let (mut ended, mut told) = (pin!(ended), pin!(told));
        let result = poll_fn(|cx| match told.as_mut().poll(cx) {
            Poll::Ready(never) => never,
            Poll::Pending => ended.as_mut().poll(cx),
        });
        let result = result.await;
        self.watchdog = None;
        let tasks = self.client_tasks.end(deadline).await;
        shared.tasks_cancelled.add_shared(tasks as u64);
        let handlers = shared.handlers_cancelled() - handlers;
        if handlers > 0 || tasks > 0 {
            let line = || {
                tracing::warn!(
                    handlers,
                    tasks,
                    "cut by the shutdown, after a grace of {grace:?}"
                );
            };
            tell(line);
        }
        result
    }

    /// Ends a serving whose future was dropped: no grace, but in order.
    async fn clean_up(mut self) {
        self.workers.shutdown().await;
        let cut = self.client_tasks.end(Instant::now()).await;
        self.ending
            .claim
            .shared
            .tasks_cancelled
            .add_shared(cut as u64);
        let limit = self.ending.claim.shared.limits.exit_timeout();
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
