//! The state that a server shares with its handles and with its serving.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::dispatch::Totals;
use crate::endpoint::{Endpoint, EndpointKind, TransportChoice};
use crate::error::ServeError;
use crate::limits::Limits;
use crate::serve::Application;
use crate::socket::{SocketOptions, kernel_drops};
use crate::stats::{Counters, Stats};
use crate::transport::{Capabilities, MemoryTransport, PlainTransport, Transport};
use crate::worker::Admit;

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
    /// Servings that have ended before an earlier one has.
    ended_early: Vec<u64>,
}

/// Tells one serving to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    /// The same, for those who ask at each datagram.
    pub(crate) closing: Arc<AtomicBool>,
    /// The one warning of this serving that a handler used what is closed has been logged.
    pub(crate) closed_told: Arc<AtomicBool>,
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
    /// This one has ended, and all before.
    pub(crate) ended: u64,
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
                ended_early: Vec::new(),
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

    /// A serving begins, if none runs: its number, from 1, and what will stop it.
    pub(crate) fn begin_serving(&self) -> Result<(u64, Stop), ServeError> {
        let mut result = Err(ServeError::AlreadyRunning);
        self.state.send_if_modified(|state| {
            let status = &mut state.status;
            if status.closed {
                result = Err(ServeError::Closed);
            } else if matches!(status.phase, Phase::Idle | Phase::Dropped) {
                status.phase = Phase::Called;
                status.begun += 1;
                state.stop = Stop::default();
                result = Ok((status.begun, state.stop.clone()));
            }
            result.is_ok()
        });
        result
    }

    /// The future of this serving is polled for the first time. Answers whether it is to go on: a
    /// shutdown may have ended it already.
    pub(crate) fn set_off(&self, number: u64) -> bool {
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

    /// A serving has ended, and everything it started. Closes the sockets if that was asked for.
    pub(crate) fn end_serving(&self, number: u64) {
        self.state.send_if_modified(|state| state.end(number));
    }

    /// Asks the present serving to stop. Answers its number, if there is one.
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

    /// From now on the server is closed: its sockets are closed now, or when its serving ends.
    /// Answers where it was before, and the number of the serving that is to end.
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
    /// A serving has ended, perhaps before an earlier one has. Answers whether it had not before.
    fn end(&mut self, number: u64) -> bool {
        let Self {
            status,
            ended_early,
            ..
        } = self;
        if number <= status.ended || ended_early.contains(&number) {
            return false;
        }
        ended_early.push(number);
        while let Some(at) = ended_early
            .iter()
            .position(|early| *early == status.ended + 1)
        {
            ended_early.swap_remove(at);
            status.ended += 1;
        }
        if status.ended == status.begun {
            status.phase = Phase::Idle;
            if status.closed {
                self.close_endpoints();
            }
        } else if number == status.begun {
            status.phase = Phase::Dropped; // an earlier one is still being cleaned up
        }
        true
    }

    /// Closes the sockets. The system calls of others that are under way on them end first, so that
    /// the ports are free then.
    fn close_endpoints(&mut self) {
        let mut sockets = Vec::new();
        for endpoint in self.endpoints.drain(..) {
            let drops = match endpoint.kind {
                EndpointKind::Socket { socket, .. } => {
                    let drops = kernel_drops(&socket);
                    sockets.push(socket);
                    drops
                }
                EndpointKind::Memory(memory) => Some(memory.lost()),
            };
            if let Some(drops) = drops {
                *self.drops_when_closed.get_or_insert(0) += drops;
            }
        }
        // Who lets go last closes the socket. Were that another thread, nothing would tell when it
        // has done so: that nobody holds the socket any more is true before.
        for mut socket in sockets {
            while let Err(held) = Arc::try_unwrap(socket) {
                socket = held;
                std::thread::yield_now();
            }
        }
    }
}
