//! The receive loop of one socket: a batch in, each datagram to its handler, a batch out.
//!
//! One turn, in order: what other threads want, at most one batch of datagrams, the handlers that
//! were woken, those whose deadline has passed, the outbox. Handlers are polled here, where their
//! datagram is; see [`current`] for what they are given.
//!
//! | file | what |
//! |---|---|
//! | `receive.rs` | a batch in; coalesced datagrams are split; each goes to its client's handler |
//! | `session.rs` | which session a datagram belongs to |
//! | `gate.rs` | the admission check in force: each datagram is asked about |
//! | `lifecycle.rs` | a handler is polled, waits, ends; the next one begins |
//! | `eviction.rs` | a handler that waits is ended for a newcomer |
//! | `task.rs` | a handler's future, where its panics are caught |
//! | `injected.rs` | what other threads want: wake-ups, deadlines, a shutdown |
//! | `deadlines.rs`, `timers.rs` | which receives have timed out; the sorted deadlines behind it |
//! | `send.rs` | the outbox leaves |
//! | `losses.rs` | what was lost is told in the log, also what the worker did not see |
//! | `drain.rs` | what has begun goes on, nothing new begins |
//! | `shutdown.rs` | grace, cancellation, what was sent leaves |
//! | `observed.rs` | a run's span, and how long it took |
//! | `waker.rs`, `backoff.rs`, `served.rs` | wakers; pauses after errors; the handler's type |

mod backoff;
mod deadlines;
mod drain;
mod eviction;
mod gate;
mod injected;
mod lifecycle;
mod losses;
mod observed;
mod receive;
mod send;
mod served;
mod session;
mod shutdown;
mod task;
mod timers;
mod waker;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_protocol::Protocol;
use tokio::sync::{oneshot, watch};
use tokio::task::coop;
use tokio::time::{Instant, Sleep};

use crate::admission::InForce;
use crate::config::Sessions;
use crate::engine::answers::Answers;
use crate::engine::current::{self, PollContext};
use crate::engine::dispatch::{Dispatch, QueueLimits, SlotId};
use crate::engine::flush::SendFailures;
use crate::engine::inject_queue::Injected;
use crate::engine::report::Report;
use crate::engine::source_filter::SourceFilter;
use crate::engine::watchdog::Heartbeat;
use crate::engine::worker_shared::{Locals, WorkerShared};
use crate::handler::Handler;
use crate::handler::context::{Values, in_context};
use crate::service::polling_handlers;
use crate::support::panics;
use crate::transport::{Endpoint, RecvBatch, Transport};

use backoff::Backoff;
use drain::DrainPhase;
use gate::Gate;
use losses::Losses;
use observed::Observed;
use served::{Served, ServedBy};
use shutdown::{ShutdownPhase, abandon_sends};
use task::HandlerTask;
use timers::Timers;
use waker::TaskWaker;

/// Datagrams in one receive: enough to make the system call's own cost small (1 to 3 % at 64), few
/// enough that a turn stays short.
const RECV_BATCH: usize = 64;

/// Turns before the worker lets the runtime's other tasks run.
const TURNS: usize = 4;

/// An outbox keeps the memory of a burst this long: the next batch may need it.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// What a worker is made of, besides its handler.
pub(crate) struct Setup<P> {
    pub(crate) transport: Box<dyn Transport>,
    /// What the transport was opened on.
    pub(crate) endpoint: Arc<dyn Endpoint>,
    pub(crate) shared: Arc<WorkerShared<P>>,
    /// The address of the server's shared state.
    pub(crate) server: usize,
    pub(crate) admission: watch::Receiver<InForce>,
    pub(crate) sources: SourceFilter,
    pub(crate) sessions: Sessions,
    pub(crate) beat: Arc<Heartbeat>,
    pub(crate) report: Report,
    /// Told after the first turn in which it receives.
    pub(crate) started: oneshot::Sender<()>,
    /// Told when a drain is over.
    pub(crate) drained: oneshot::Sender<()>,
}

/// Runs one worker until the server shuts down.
///
/// Its clients answer closed once the future is dropped, also where it was never polled.
pub(crate) fn run_worker<P, H>(
    handler: Arc<H>,
    setup: Setup<P>,
) -> impl Future<Output = ()> + Send + use<P, H>
where
    P: Protocol<Sent = H::Response, Received = H::Request>,
    H: Handler,
{
    run_begun(handler, Begins(Some(setup)))
}

/// A worker that is yet to be polled.
struct Begins<P>(Option<Setup<P>>);

impl<P> Drop for Begins<P> {
    fn drop(&mut self) {
        if let Some(mut setup) = self.0.take() {
            abandon_sends(&setup.shared, &mut setup.report);
        }
    }
}

async fn run_begun<P, H>(handler: Arc<H>, mut begins: Begins<P>)
where
    P: Protocol<Sent = H::Response, Received = H::Request>,
    H: Handler,
{
    let Some(setup) = begins.0.take() else {
        return;
    };
    let served = ServedBy::new(|client, requests| handler.handle(client, requests));
    let mut worker = Worker::new(served, setup);
    // The handlers of one turn must not share one task's budget: the loop yields by itself.
    coop::unconstrained(poll_fn(|cx| worker.poll(cx))).await;
}

struct Worker<S: Served> {
    transport: Box<dyn Transport>,
    served: S,
    shared: Arc<WorkerShared<S::Protocol>>,
    server: usize,
    locals: Locals<S::Protocol>,
    dispatch: Dispatch<HandlerTask<S::Future, S::Protocol>>,
    /// The handler that is polled has been evicted.
    evicting: bool,
    /// New runs are observed, as somebody wants to know of them.
    observes: bool,
    /// The run that is polled, if it is observed.
    observed: Option<Observed>,
    /// What handlers are polled with.
    waker: TaskWaker,
    batch: RecvBatch,
    /// Not here while handlers are polled with it, or sent from.
    poll_context: Option<Box<PollContext>>,
    injected: Injected,
    send_failures: SendFailures,
    timers: Timers,
    /// The handlers whose receives began to wait in this turn, for a limited time.
    begun: Vec<(SlotId, Duration)>,
    sleep: Pin<Box<Sleep>>,
    /// When the outbox gives back the memory that a burst needed.
    give_back: Option<Instant>,
    /// Receiving pauses after repeated errors.
    backoff: Backoff,
    drain: DrainPhase,
    /// Told when the drain is over.
    drained: Option<oneshot::Sender<()>>,
    phase: ShutdownPhase,
    /// When answers left last, or nothing waited to.
    last_left: Instant,
    gate: Gate,
    sources: SourceFilter,
    sessions: Sessions,
    /// From the first question on that is handled at most once.
    answers: Option<Box<Answers>>,
    /// The values of the context variables that handlers begin with.
    initial_context: Values,
    /// Those of what is called outside of handlers: the admission check, loggers, wakers.
    own_context: Values,
    report: Report,
    /// Not seen by the worker.
    losses: Losses,
    beat: Arc<Heartbeat>,
    started: Option<oneshot::Sender<()>>,
}

impl<S: Served> Worker<S> {
    fn new(served: S, setup: Setup<S::Protocol>) -> Self {
        let shared = setup.shared;
        let limits = QueueLimits {
            datagrams: shared.limits.max_client_datagrams(),
            bytes: shared.limits.max_client_bytes(),
        };
        let poll_context = PollContext {
            worker: shared.address(),
            ..PollContext::default()
        };
        Self {
            transport: setup.transport,
            served,
            server: setup.server,
            locals: Locals::new(Arc::clone(&shared)),
            dispatch: Dispatch::new(
                limits,
                shared.limits.full_policy(),
                HandlerTask::<S::Future, S::Protocol>::KEPT,
                setup.sessions.concurrency,
            ),
            evicting: false,
            observes: false,
            observed: None,
            waker: TaskWaker::new(&shared.inject),
            batch: RecvBatch::new(RECV_BATCH, shared.limits.max_receive_datagram()),
            poll_context: Some(Box::new(poll_context)),
            injected: Injected::default(),
            send_failures: SendFailures::default(),
            timers: Timers::new(shared.begun),
            begun: Vec::new(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            give_back: None,
            backoff: Backoff::default(),
            drain: DrainPhase::No,
            drained: Some(setup.drained),
            phase: ShutdownPhase::Starting,
            last_left: Instant::now(),
            gate: Gate::new(setup.admission),
            sources: setup.sources,
            answers: None,
            sessions: setup.sessions,
            initial_context: Values::none(),
            own_context: Values::none(),
            report: setup.report,
            losses: Losses::new(setup.endpoint, &shared.counters),
            beat: setup.beat,
            started: Some(setup.started),
            shared,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut context = std::mem::take(&mut self.own_context);
        let server = self.server;
        let polled = in_context(&mut context, || {
            polling_handlers(server, || self.poll_turns(cx))
        });
        self.own_context = context;
        polled
    }

    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let progressed = self.turn(cx);
            if !self.phase.is_starting()
                && let Some(started) = self.started.take()
            {
                let _ = started.send(());
            }
            if self.phase.is_over() {
                self.abandon();
                return Poll::Ready(());
            }
            if !progressed {
                self.tell_losses();
                if self.sleeps(cx) {
                    return Poll::Pending;
                }
            }
        }
        self.tell_losses();
        // Also runs the runtime's timers and its driver, before this task's next turn.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }

    /// One turn. Returns whether anything was done.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        self.collecting_wakers(|worker| worker.steps(cx))
    }

    /// Does what may wake others, whose wakers may panic: that is told with a limit.
    fn collecting_wakers<T>(&mut self, code: impl FnOnce(&mut Self) -> T) -> T {
        let (result, panics) = panics::collecting_wakers(|| code(self));
        if let Some(panics) = panics {
            self.report.wakers_panicked(&panics);
        }
        result
    }

    /// The steps of a turn.
    fn steps(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progressed = self.take_injected();
        self.timers.read_clock(); // after that, so that no deadline comes early
        self.report.begin_turn(self.timers.now());
        self.observes = observed::is_wanted(&self.shared.counters);
        if self.observes {
            self.shared.batch_at.set(self.timers.stamp()); // for receives from queues, too
        }
        let answers_first = self.outbox_is_full();
        let entered = current::enter(self.poll_context.take());
        self.follow_injected();
        progressed |= !answers_first && self.receive(cx);
        progressed |= self.poll_woken();
        progressed |= self.poll_expired();
        self.poll_context = entered.end();
        // No handler is polled any more. What other user code sends (a logger's) is injected.
        progressed |= self.send(cx);
        self.give_back_memory();
        self.arm_deadlines();
        progressed |= self.step_phase();
        self.tell_drained();
        progressed
    }

    /// Goes to sleep unless something came up meanwhile.
    fn sleeps(&mut self, cx: &mut Context<'_>) -> bool {
        let alarm = [
            self.timers.next(),
            self.backoff.until(self.timers.now()),
            self.give_back,
            self.phase_deadline(),
            self.losses.next_look(),
            self.report.due(),
        ];
        if let Some(alarm) = alarm.into_iter().flatten().min() {
            if self.sleep.deadline() != alarm {
                self.sleep.as_mut().reset(alarm);
            }
            if self.sleep.as_mut().poll(cx).is_ready() {
                return false;
            }
        }
        self.shared.inject.sleep(cx.waker())
    }
}

impl<S: Served> Drop for Worker<S> {
    fn drop(&mut self) {
        self.abandon();
    }
}
