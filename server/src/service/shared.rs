//! What a server shares with its handles and with its servings: where it is in its life.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::stats::Counter;
use super::{Counters, DrainKind, DrainRequest, Stats, Stop, Totals, WorkerState};
use crate::admission::InForce;
use crate::config::{Limits, Sessions};
use crate::error::ServeError;
use crate::transport::socket::ServerSocket;
use crate::transport::{Capabilities, Endpoint, SocketOptions};

/// What a server shares with its handles and with its servings.
pub(crate) struct Shared {
    pub(crate) limits: Arc<Limits>,
    pub(crate) totals: Arc<Totals>,
    /// No user code runs under its lock.
    pub(crate) state: watch::Sender<State>,
    /// The admission check, which the handle replaces.
    pub(crate) admission: watch::Sender<InForce>,
    pub(crate) sessions: Sessions,
    /// Datagrams from addresses of the server's own sockets are answered like others.
    pub(crate) allows_own_source: bool,
    /// Of all workers, also after their endpoints were closed.
    counters: Vec<Arc<Counters>>,
    pub(crate) tasks_cancelled: Counter,
}

/// What changes over a server's life. Whoever waits for a change is told.
pub(crate) struct State {
    pub(crate) status: Status,
    /// The servings that have begun and not ended, by number. There are several while earlier ones,
    /// whose futures were dropped, are still being cleaned up.
    open: Vec<u64>,
    workers: Vec<WorkerState>,
    drops_when_closed: Option<u64>,
    capabilities_when_closed: Capabilities,
    /// Of the present serving.
    stop: Stop,
}

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    /// How many servings have begun.
    pub(crate) begun: u64,
    /// The sockets are closed, or will be when the present serving ends.
    pub(crate) closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle,
    /// Serving was called, and its future was not polled yet.
    Called,
    /// Datagrams are not handled yet.
    Starting,
    Serving,
    /// The server shuts down.
    Ending,
    /// The serving future was dropped, and what it leaves is being cleaned up.
    Dropped,
}

/// The right to serve, which one call of `serve_forever` has at a time. Given back when dropped.
pub(crate) struct Claim {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: Stop,
    /// The servings are numbered from 1.
    pub(crate) number: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let end = |state: &mut State| state.end(self.number);
        self.shared.state.send_if_modified(end);
    }
}

impl Shared {
    pub(crate) fn new(
        limits: Limits,
        endpoints: Vec<Arc<dyn Endpoint>>,
        admission: InForce,
        sessions: Sessions,
        allows_own_source: bool,
    ) -> Self {
        let mut workers = Vec::new();
        for endpoint in endpoints {
            workers.push(WorkerState::new(endpoint, &workers));
        }
        let counters = workers
            .iter()
            .map(|one| Arc::clone(&one.counters))
            .collect();
        let status = Status {
            phase: Phase::Idle,
            begun: 0,
            closed: false,
        };
        Self {
            totals: Arc::new(
                Totals::new(limits.max_clients(), limits.max_total_bytes())
                    .sockets(workers.len())
                    .clients_per_prefix(limits.max_clients_per_prefix()),
            ),
            limits: Arc::new(limits),
            state: watch::Sender::new(State {
                status,
                open: Vec::new(),
                workers,
                drops_when_closed: None,
                capabilities_when_closed: Capabilities::default(),
                stop: Stop::default(),
            }),
            admission: watch::Sender::new(admission),
            sessions,
            allows_own_source,
            counters,
            tasks_cancelled: Counter::default(),
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.state.borrow().status
    }

    /// What tells this server from others while it lives.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Empty once the server is closed.
    pub(crate) fn workers(&self) -> Vec<WorkerState> {
        self.state.borrow().workers.clone()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let state = self.state.borrow();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        if state.status.closed {
            return addresses;
        }
        for worker in &state.workers {
            let addr = *worker.bound;
            if !addresses.contains(&addr) {
                addresses.push(addr);
            }
        }
        addresses
    }

    /// Those of each socket, which they do not keep open.
    pub(crate) fn socket_options(&self) -> Vec<SocketOptions> {
        let state = self.state.borrow();
        state.sockets().map(SocketOptions::new).collect()
    }

    #[cfg(feature = "metrics")]
    pub(super) fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.counters
            .iter()
            .for_each(|counters| counters.add_to(&mut stats));
        stats.queued = self.totals.datagrams() as u64;
        stats.queued_bytes = self.totals.bytes() as u64;
        stats.waiting_clients = self.totals.clients() as u64;
        stats.client_tasks = self.totals.tasks() as u64;
        stats.tasks_cancelled = self.tasks_cancelled.get();
        let state = self.state.borrow();
        stats.kernel_drops = state.drops().or(state.drops_when_closed);
        stats
    }

    /// How many handlers shutdowns have cancelled.
    pub(crate) fn handlers_cancelled(&self) -> u64 {
        let cancelled = |one: &Arc<Counters>| one.handlers_cancelled.get();
        self.counters.iter().map(cancelled).sum()
    }

    /// By the name of the part.
    pub(crate) fn refusals(&self) -> Vec<(&'static str, u64)> {
        let mut sums = Vec::new();
        for counters in &self.counters {
            counters.refusals.add_to(&mut sums);
        }
        sums
    }

    /// What the transports of this server can tell and do now, all of them.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let state = self.state.borrow();
        let capabilities = state.capabilities();
        capabilities.unwrap_or(state.capabilities_when_closed)
    }

    /// A serving begins, if none runs.
    pub(crate) fn claim(self: &Arc<Self>) -> Result<Claim, ServeError> {
        let mut result = Err(ServeError::AlreadyRunning);
        self.state.send_if_modified(|state| {
            let status = &mut state.status;
            if status.closed {
                result = Err(ServeError::Closed);
            } else if matches!(status.phase, Phase::Idle | Phase::Dropped) {
                status.phase = Phase::Called;
                status.begun += 1;
                state.open.push(status.begun);
                state.stop = Stop::default();
                result = Ok(Claim {
                    shared: Arc::clone(self),
                    stop: state.stop.clone(),
                    number: status.begun,
                });
            }
            result.is_ok()
        });
        result
    }

    /// The future of this serving is polled for the first time. Returns whether it is to go on: a
    /// shutdown may have ended it already.
    pub(crate) fn set_starting(&self, number: u64) -> bool {
        self.state.send_if_modified(|state| {
            let status = &mut state.status;
            let goes_on = status.phase == Phase::Called && status.begun == number;
            if goes_on {
                status.phase = Phase::Starting;
            }
            goes_on
        })
    }

    /// Datagrams are handled from now on, unless the server shuts down already.
    pub(crate) fn set_serving(&self) {
        self.state.send_if_modified(|state| {
            let starting = state.status.phase == Phase::Starting;
            if starting {
                state.status.phase = Phase::Serving;
            }
            starting
        });
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.state.send_modify(|state| state.status.phase = phase);
    }

    /// Asks the present serving to stop. Returns its number, if there is one.
    pub(crate) fn request_stop(&self) -> Option<u64> {
        let mut asked = None;
        self.state.send_if_modified(|state| {
            let Status { phase, begun, .. } = state.status;
            if phase != Phase::Idle {
                asked = Some((begun, state.stop.clone()));
            }
            match phase {
                Phase::Idle | Phase::Ending | Phase::Dropped => false,
                // Nothing has begun, and nobody may ever poll it.
                Phase::Called => state.end(begun),
                Phase::Starting | Phase::Serving => {
                    state.status.phase = Phase::Ending;
                    true
                }
            }
        });
        let (serving, stop) = asked?;
        stop.request(); // wakes others: not under the lock
        Some(serving)
    }

    /// Asks the present serving to drain; where nothing is served yet, to stop. Returns its number,
    /// if there is one.
    pub(crate) fn request_drain(&self, request: DrainRequest) -> Option<u64> {
        let (phase, begun, stop) = {
            let state = self.state.borrow();
            let Status { phase, begun, .. } = state.status;
            (phase, begun, state.stop.clone())
        };
        let begins = || {
            if request.kind == DrainKind::HandOver {
                let state = self.state.borrow();
                state.sockets().for_each(|socket| socket.hand_over());
            }
        };
        match phase {
            Phase::Idle => None,
            Phase::Called | Phase::Starting => {
                begins();
                self.request_stop()
            }
            Phase::Serving => {
                stop.drain.request(request, begins);
                Some(begun)
            }
            Phase::Ending | Phase::Dropped => Some(begun),
        }
    }

    /// How the present serving is stopped, where datagrams are handled.
    pub(super) fn serving(&self) -> Option<Stop> {
        let state = self.state.borrow();
        (state.status.phase == Phase::Serving).then(|| state.stop.clone())
    }

    /// What is cancelled when the present serving drains, or shuts down.
    #[cfg(all(feature = "systemd", target_os = "linux"))]
    pub(crate) fn draining(&self) -> tokio_util::sync::CancellationToken {
        self.state.borrow().stop.drain.token()
    }

    /// Whether the present serving was asked to drain, or to stop.
    pub(crate) fn is_draining(&self) -> bool {
        let state = self.state.borrow();
        state.status.phase != Phase::Idle && state.stop.drain.has_begun()
    }

    /// From now on the server is closed: its sockets are closed now, or when its serving ends.
    /// Returns where it was before, and the number of the serving that is to end.
    pub(crate) fn begin_close(&self) -> (Status, Option<u64>) {
        let mut before = self.status();
        self.state.send_if_modified(|state| {
            before = state.status;
            if state.status.phase == Phase::Idle {
                state.close_endpoints();
            }
            !std::mem::replace(&mut state.status.closed, true)
        });
        (before, self.request_stop())
    }
}

impl State {
    /// Whether this serving has ended, and all before.
    pub(crate) fn has_ended(&self, number: u64) -> bool {
        self.open.first().is_none_or(|first| *first > number)
    }

    /// A serving has ended, and everything that it started. Returns whether it had not before.
    fn end(&mut self, number: u64) -> bool {
        let before = self.open.len();
        self.open.retain(|open| *open != number);
        if self.open.len() == before {
            return false;
        }
        if self.open.is_empty() {
            self.status.phase = Phase::Idle;
            if self.status.closed {
                self.close_endpoints();
            }
        } else if number == self.status.begun {
            self.status.phase = Phase::Dropped; // an earlier one is still being cleaned up
        }
        true
    }

    fn sockets(&self) -> impl Iterator<Item = &Arc<ServerSocket>> {
        self.workers.iter().filter_map(|one| one.endpoint.socket())
    }

    fn drops(&self) -> Option<u64> {
        let drops = self.workers.iter().filter_map(|one| one.endpoint.drops());
        drops.reduce(|a, b| a + b)
    }

    fn capabilities(&self) -> Option<Capabilities> {
        let all = self.workers.iter().map(|one| one.endpoint.capabilities());
        all.reduce(Capabilities::both)
    }

    /// Closes the sockets itself, once the system calls of others that are under way on them have
    /// ended: so the ports are free then.
    fn close_endpoints(&mut self) {
        self.drops_when_closed = self.drops().or(self.drops_when_closed);
        if let Some(capabilities) = self.capabilities() {
            self.capabilities_when_closed = capabilities;
        }
        let sockets: Vec<_> = self.sockets().cloned().collect();
        self.workers.clear();
        for mut socket in sockets {
            while let Err(shared) = Arc::try_unwrap(socket) {
                socket = shared;
                std::thread::yield_now();
            }
        }
    }
}
