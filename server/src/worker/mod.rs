//! The receive loop of one socket: a batch in, each datagram to its handler, a batch out.
//!
//! One turn, in order: mail from other threads, at most one batch of datagrams, the handlers that
//! were woken, those whose deadline has passed, the outbox. Handlers are polled here, where their
//! datagram is; see [`crate::turn`] for what they are lent.

mod backoff;
mod closing;
mod datagrams;
mod deadlines;
mod handlers;
mod mail;
mod sending;
mod timers;
mod wakeup;

use std::future::poll_fn;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_protocol::{BoxError, Protocol};
use tokio::sync::oneshot;
use tokio::task::coop;
use tokio::time::{Instant, Sleep};

use crate::client::Client;
use crate::context::Values;
use crate::dispatch::{Dispatch, MailboxLimits, SlotId};
use crate::handler::Handler;
use crate::inbox::Mail;
use crate::outbox::Refusals;
use crate::port::{Locals, Port};
use crate::report::Report;
use crate::requests::Requests;
use crate::transport::{RecvBatch, Transport};
use crate::turn::{self, Behind, Place, Turn};
use crate::watchdog::Beat;

use backoff::Backoff;
use closing::Phase;
use handlers::Running;
use timers::Timers;
use wakeup::Wakeup;

/// Whether a client without a handler may start one.
pub(crate) type Admit = dyn Fn(SocketAddr) -> bool + Send + Sync;

/// Datagrams in one receive: enough to make the system call's own cost small (1 to 3 % at 64), few
/// enough that a turn stays short.
const RECV_BATCH: usize = 64;

/// Turns before the worker lets the runtime's other tasks run.
const TURNS: usize = 4;

/// An outbox keeps the memory of a burst this long: the next batch may need it.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// What a worker is made of, besides its transport and its handler.
pub(crate) struct Setup<P> {
    pub(crate) port: Arc<Port<P>>,
    /// The address of the server's shared state.
    pub(crate) server: usize,
    pub(crate) admit: Option<Arc<Admit>>,
    /// What `service_init` set.
    pub(crate) context: Values,
    pub(crate) beat: Arc<Beat>,
    pub(crate) report: Report,
    /// Told after the first turn.
    pub(crate) started: oneshot::Sender<()>,
}

/// Runs one worker until the server shuts down.
pub(crate) async fn run<T, P, H>(transport: T, handler: Arc<H>, setup: Setup<P>)
where
    T: Transport,
    P: Protocol<Sent = H::Response, Received = H::Request>,
    H: Handler,
{
    let make = |client, requests| handler.handle(client, requests);
    let mut worker = Worker::new(transport, make, setup);
    // The handlers of one turn must not share one task's budget: the loop yields by itself.
    coop::unconstrained(poll_fn(|cx| worker.poll(cx))).await;
}

struct Worker<T, P: Protocol, F, Fut: Future<Output = Result<(), BoxError>>> {
    transport: T,
    make: F,
    port: Arc<Port<P>>,
    /// A shutdown has begun.
    closing: Arc<AtomicBool>,
    locals: Locals<P>,
    dispatch: Dispatch<Running<Fut, P>>,
    /// What handlers are polled with.
    wakeup: Wakeup,
    batch: RecvBatch,
    /// The datagram that is being handed on.
    in_hand: Place,
    /// Those that came with it.
    behind: Behind,
    /// Not here while it is in place on this thread, or sent from.
    turn: Option<Box<Turn>>,
    mail: Mail,
    refusals: Refusals,
    timers: Timers,
    /// The handlers whose receives began to wait in this turn, for a limited time.
    begun: Vec<(SlotId, Duration)>,
    sleep: Pin<Box<Sleep>>,
    /// When the outbox gives back the memory that a burst needed.
    give_back: Option<Instant>,
    /// Receiving pauses after repeated errors.
    backoff: Backoff,
    phase: Phase,
    /// When answers left last, or nothing waited to.
    last_left: Instant,
    admit: Option<Arc<Admit>>,
    context: Values,
    report: Report,
    beat: Arc<Beat>,
    started: Option<oneshot::Sender<()>>,
    _future: PhantomData<fn() -> Fut>,
}

impl<T, P, F, Fut> Worker<T, P, F, Fut>
where
    T: Transport,
    P: Protocol,
    F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    fn new(transport: T, make: F, setup: Setup<P>) -> Self {
        let port = setup.port;
        let limits = MailboxLimits {
            datagrams: port.limits.client_datagrams,
            bytes: port.limits.client_bytes,
        };
        let turn = Turn {
            port: port.address(),
            server: setup.server,
            closing: port.inbox.closing(),
            ..Turn::default()
        };
        Self {
            transport,
            make,
            closing: port.inbox.closing(),
            locals: Locals::new(Arc::clone(&port)),
            dispatch: Dispatch::new(limits, Running::<Fut, P>::KEPT),
            wakeup: Wakeup::new(&port.inbox),
            batch: RecvBatch::new(RECV_BATCH, port.limits.receive_datagram),
            in_hand: Place::default(),
            behind: Behind::default(),
            turn: Some(Box::new(turn)),
            mail: Mail::default(),
            refusals: Refusals::default(),
            timers: Timers::new(),
            begun: Vec::new(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            give_back: None,
            backoff: Backoff::default(),
            phase: Phase::Serving,
            last_left: Instant::now(),
            admit: setup.admit,
            context: setup.context,
            report: setup.report,
            beat: setup.beat,
            started: Some(setup.started),
            port,
            _future: PhantomData,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let progressed = self.turn(cx);
            if let Some(started) = self.started.take() {
                let _ = started.send(());
            }
            if self.phase.is_over() {
                self.abandon();
                return Poll::Ready(());
            }
            if !progressed && self.sleeps(cx) {
                return Poll::Pending;
            }
        }
        // Also runs the runtime's timers and its driver, before this task's next turn.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }

    /// One turn. Answers whether anything was done.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        self.timers.read_clock();
        let answers_first = self.outbox_is_full();
        let entered = Entered::new(self.turn.take());
        let mut progressed = self.read_mail();
        progressed |= !answers_first && self.receive(cx);
        progressed |= self.poll_woken();
        progressed |= self.poll_expired();
        self.turn = entered.leave();
        // No handler is polled any more. What other user code sends (a logger's) comes by mail.
        progressed |= self.send(cx);
        self.give_back_memory();
        self.arm_deadlines();
        progressed |= self.step_phase();
        progressed
    }

    /// Goes to sleep unless something came up meanwhile.
    fn sleeps(&mut self, cx: &mut Context<'_>) -> bool {
        let alarm = [
            self.timers.next(),
            self.backoff.until(self.timers.now()),
            self.give_back,
            self.phase_deadline(),
        ];
        if let Some(alarm) = alarm.into_iter().flatten().min() {
            if self.sleep.deadline() != alarm {
                self.sleep.as_mut().reset(alarm);
            }
            if self.sleep.as_mut().poll(cx).is_ready() {
                return false;
            }
        }
        self.port.inbox.sleep(cx.waker())
    }
}

impl<T, P: Protocol, F, Fut: Future<Output = Result<(), BoxError>>> Drop for Worker<T, P, F, Fut> {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// A turn in place on this thread, taken away again also where the worker itself panics.
struct Entered {
    outer: Option<Box<Turn>>,
    left: bool,
}

impl Entered {
    fn new(turn: Option<Box<Turn>>) -> Self {
        Self {
            outer: turn::enter(turn),
            left: false,
        }
    }

    fn leave(mut self) -> Option<Box<Turn>> {
        self.left = true;
        turn::enter(self.outer.take())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if !self.left {
            turn::enter(self.outer.take());
        }
    }
}
