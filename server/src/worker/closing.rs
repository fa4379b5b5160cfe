//! How a worker ends: receives answer closed, handlers get their grace, what was sent leaves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use postbox_protocol::{BoxError, Protocol};
use tokio::time::Instant;

use super::{Entered, Worker};
use crate::client::Client;
use crate::clock;
use crate::dispatch::{Hand, Next};
use crate::panics;
use crate::requests::Requests;
use crate::transport::Transport;

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    Serving,
    /// Running handlers may go on until this instant.
    Closing(Instant),
    /// All handlers have ended; what was sent leaves. Others may send until this instant.
    Draining(Instant),
    /// Nobody can send any more; the rest leaves, as long as the system takes it.
    Emptying,
    Over,
}

/// How long a worker waits for the system to take what was sent before it closed. A socket that
/// does not take a datagram within a second is not going to.
const DRAIN: Duration = Duration::from_secs(1);

impl Phase {
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Over)
    }
}

impl<T, P, F, Fut> Worker<T, P, F, Fut>
where
    T: Transport,
    P: Protocol,
    F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    /// The server shuts down: tells every receive, and lets each handler act on it.
    pub(super) fn begin_close(&mut self, grace: Duration) {
        if !matches!(self.phase, Phase::Serving) {
            return;
        }
        self.phase = Phase::Closing(clock::end(self.timers.now(), grace));
        self.close_postboxes();
        for id in self.dispatch.running().collect::<Vec<_>>() {
            if self.dispatch.is_running(id) {
                self.wake(id);
            }
        }
    }

    /// Moves on to the next phase when this one is done. Answers whether it did.
    pub(super) fn step_phase(&mut self) -> bool {
        match self.phase {
            Phase::Serving | Phase::Over => false,
            Phase::Closing(end) => {
                if self.timers.now() < end && self.waits_for_handlers() {
                    return false;
                }
                self.cancel_handlers();
                self.last_left = self.timers.now();
                self.phase = Phase::Draining(self.last_left + DRAIN);
                true
            }
            Phase::Draining(end) => {
                let done = self.outbox_is_empty() && !self.port.inbox.has_mail();
                if !done && self.timers.now() < end {
                    return false;
                }
                // Closed before the last look: whatever a send has accepted leaves.
                let mut rest = self.port.inbox.close();
                if let Some(turn) = &mut self.turn {
                    turn.outbox.append(&mut rest.outbox);
                }
                self.phase = Phase::Emptying;
                true
            }
            Phase::Emptying => {
                let stuck = self.timers.now() >= self.last_left + DRAIN;
                if !stuck && !self.outbox_is_empty() {
                    return false;
                }
                self.phase = Phase::Over;
                true
            }
        }
    }

    /// When the present phase ends at the latest.
    pub(super) fn phase_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closing(at) | Phase::Draining(at) => Some(at),
            Phase::Emptying => Some(self.last_left + DRAIN),
            Phase::Serving | Phase::Over => None,
        }
    }

    /// Whether a handler still runs that does not itself wait for this shutdown to end.
    fn waits_for_handlers(&self) -> bool {
        let mut ids = self.dispatch.running();
        ids.any(|id| !self.dispatch.run(id).awaits_shutdown())
    }
}

impl<T, P: Protocol, F, Fut: Future<Output = Result<(), BoxError>>> Worker<T, P, F, Fut> {
    /// A shutdown has begun, perhaps in the middle of a turn: nothing is queued or started any
    /// more. The grace begins when word of it comes by mail.
    pub(super) fn close_if_asked(&mut self) {
        if self.is_closing() && !self.dispatch.is_closing() {
            self.close_postboxes();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Drops and counts what is queued; every receive answers closed.
    fn close_postboxes(&mut self) {
        let (dropped, wake) = self.dispatch.close(&self.port.totals);
        self.port.counters.shutdown.add(dropped as u64);
        wake.into_iter().for_each(panics::wake);
    }

    /// Drops every handler that still runs.
    fn cancel_handlers(&mut self) {
        let entered = Entered::new(self.turn.take());
        for id in self.dispatch.running().collect::<Vec<_>>() {
            let running = self.dispatch.run_mut(id);
            let client = running.peer.remote;
            self.port.counters.cancelled.add(1);
            self.beat.begin(client);
            running.clear();
            self.timers.disarm(id, &mut running.entry);
            self.beat.end();
            let ended = self.dispatch.end(id, Hand::Empty, &self.port.totals);
            ended.wake.into_iter().for_each(panics::wake);
            debug_assert_eq!(ended.next, Next::Forgotten, "closed postboxes are empty");
        }
        self.turn = entered.leave();
    }

    /// Ends the worker, whatever its phase: nothing leaves, nobody is answered any more.
    pub(super) fn abandon(&mut self) {
        // First, so that a destructor which sends is told that it is too late.
        let mut mail = self.port.inbox.close();
        mail.outbox.abandon();
        self.close_postboxes();
        self.cancel_handlers();
        if let Some(turn) = &mut self.turn {
            turn.outbox.abandon();
        }
    }
}
