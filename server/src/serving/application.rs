//! A protocol and a handler, their types forgotten.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use postbox_protocol::{BoxError, Protocol};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::{
    self, BatchStamp, Heartbeat, InjectQueue, Report, Setup, SourceFilter, WorkerShared,
};
use crate::handler::{ClientSocket, Handler};
use crate::service::{ClientTasks, ServiceScope, Shared, WorkerState};

/// What a server serves: a protocol and a handler, their types forgotten.
pub(crate) trait Application: Send + Sync {
    /// What the handler wants of each datagram: see [`Handler::concurrency`].
    fn concurrency(&self) -> Option<usize>;

    fn service_init<'a>(
        &'a self,
        scope: &'a mut ServiceScope,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

    /// Makes the worker of one endpoint. Needs the runtime that it will run on. `scope` is given
    /// what sends from there.
    fn worker(
        &self,
        worker: &WorkerState,
        plan: WorkerPlan,
        scope: &mut ServiceScope,
    ) -> io::Result<WorkerFuture>;
}

pub(crate) type WorkerFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a worker needs besides its endpoint.
pub(crate) struct WorkerPlan {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tasks: Arc<ClientTasks>,
    /// Cancelled when a drain begins.
    pub(crate) draining: CancellationToken,
    pub(crate) inject: Arc<InjectQueue>,
    pub(crate) beat: Arc<Heartbeat>,
    pub(crate) report: Report,
    pub(crate) started: oneshot::Sender<()>,
    pub(crate) drained: oneshot::Sender<()>,
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
    fn concurrency(&self) -> Option<usize> {
        self.handler.concurrency()
    }

    fn service_init<'a>(
        &'a self,
        scope: &'a mut ServiceScope,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>> {
        Box::pin(self.handler.service_init(scope))
    }

    fn worker(
        &self,
        worker: &WorkerState,
        plan: WorkerPlan,
        scope: &mut ServiceScope,
    ) -> io::Result<WorkerFuture> {
        let shared = Arc::new(WorkerShared {
            protocol: Arc::clone(&self.protocol),
            inject: plan.inject,
            counters: Arc::clone(&worker.counters),
            totals: Arc::clone(&plan.shared.totals),
            limits: Arc::clone(&plan.shared.limits),
            tasks: plan.tasks,
            draining: plan.draining,
            bound: Arc::clone(&worker.bound),
            is_broadcast: worker.endpoint.is_broadcast(),
            begun: Instant::now(),
            batch_at: BatchStamp::default(),
            informs: worker.endpoint.informs(),
            malformed: Mutex::default(),
        });
        let sends = Arc::clone(&shared);
        scope.add_socket(ClientSocket::new(&*worker.endpoint, sends));
        let setup = Setup {
            transport: worker.endpoint.open()?,
            endpoint: Arc::clone(&worker.endpoint),
            shared,
            server: plan.shared.address(),
            admission: plan.shared.admission.subscribe(),
            sources: own_sources(&plan.shared),
            sessions: plan.shared.sessions.clone(),
            beat: plan.beat,
            report: plan.report,
            started: plan.started,
            drained: plan.drained,
        };
        Ok(Box::pin(engine::run_worker(
            Arc::clone(&self.handler),
            setup,
        )))
    }
}

/// What knows the server's own sockets, unless they are answered like others.
fn own_sources(shared: &Shared) -> SourceFilter {
    if shared.allows_own_source {
        return SourceFilter::default();
    }
    let workers = shared.workers();
    SourceFilter::new(workers.iter().map(|worker| &worker.endpoint))
}
