//! How a worker ends: receives answer closed, handlers get their grace, what was sent leaves.

use std::time::Duration;

use tokio::time::Instant;

use super::Worker;
use super::served::Served;
use crate::engine::current;
use crate::engine::dispatch::{Next, SlotId};
use crate::engine::report::{Kind, Report};
use crate::engine::worker_shared::WorkerShared;
use crate::handler::context::Values;
use crate::support::{clock, panics};

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy)]
pub(super) enum ShutdownPhase {
    /// The service is being initialized. Nothing is received yet; what is sent leaves.
    Starting,
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

impl ShutdownPhase {
    pub(super) fn is_starting(self) -> bool {
        matches!(self, Self::Starting)
    }

    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Over)
    }
}

impl<S: Served> Worker<S> {
    /// The service is initialized, and has set this context.
    pub(super) fn begin_serving(&mut self, context: Values) {
        if self.phase.is_starting() {
            self.initial_context = context;
            self.phase = ShutdownPhase::Serving;
        }
    }

    /// The server shuts down: tells every receive, and lets each handler act on it.
    pub(super) fn begin_close(&mut self, grace: Duration) {
        if !matches!(self.phase, ShutdownPhase::Starting | ShutdownPhase::Serving) {
            return;
        }
        self.phase = ShutdownPhase::Closing(clock::deadline(self.timers.now(), grace));
        self.close_queues();
        for id in self.dispatch.running().collect::<Vec<_>>() {
            self.poll_slot(id);
        }
    }

    /// Moves on to the next phase when this one is done. Returns whether it did.
    pub(super) fn step_phase(&mut self) -> bool {
        match self.phase {
            ShutdownPhase::Starting | ShutdownPhase::Serving | ShutdownPhase::Over => false,
            ShutdownPhase::Closing(end) => {
                let waits = self.waits_for_handlers() || !self.shared.tasks.is_idle();
                if self.timers.now() < end && waits {
                    return false;
                }
                self.cancel_handlers();
                self.last_left = self.timers.now();
                self.phase = ShutdownPhase::Draining(self.last_left + DRAIN);
                true
            }
            ShutdownPhase::Draining(end) => {
                let done = self.outbox_is_empty() && !self.shared.inject.is_filled();
                if !done && self.timers.now() < end {
                    return false;
                }
                // Closed before the last look: whatever a send has accepted leaves.
                let mut rest = self.shared.inject.close();
                if let Some(context) = &mut self.poll_context {
                    context.outbox.append(&mut rest.outbox);
                }
                self.phase = ShutdownPhase::Emptying;
                true
            }
            ShutdownPhase::Emptying => {
                let stuck = self.timers.now() >= self.last_left + DRAIN;
                if !stuck && !self.outbox_is_empty() {
                    return false;
                }
                self.phase = ShutdownPhase::Over;
                true
            }
        }
    }

    /// When the present phase ends at the latest.
    pub(super) fn phase_deadline(&self) -> Option<Instant> {
        match self.phase {
            ShutdownPhase::Closing(at) | ShutdownPhase::Draining(at) => Some(at),
            ShutdownPhase::Emptying => Some(self.last_left + DRAIN),
            ShutdownPhase::Starting | ShutdownPhase::Serving | ShutdownPhase::Over => None,
        }
    }

    /// Whether a handler still runs that does not itself wait for this shutdown to end.
    pub(super) fn waits_for_handlers(&self) -> bool {
        let mut ids = self.dispatch.running();
        ids.any(|id| !self.dispatch.task(id).awaits_shutdown())
    }

    /// A shutdown has begun, perhaps in the middle of a turn: nothing is queued or started any
    /// more. The grace begins when it is injected.
    pub(super) fn close_if_asked(&mut self) {
        if self.is_closing() && !self.dispatch.is_closing() {
            self.close_queues();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.shared.inject.is_closing()
    }

    /// Drops and counts what is queued; every receive answers closed.
    fn close_queues(&mut self) {
        let (dropped, wake) = self.dispatch.close(&self.shared.totals);
        self.shared.counters.dropped_shutdown.add(dropped as u64);
        if dropped > 0 {
            self.report.lost(Kind::Shutdown, None, dropped as u64);
        }
        wake.into_iter().for_each(panics::wake);
    }

    /// Drops every handler that still runs.
    fn cancel_handlers(&mut self) {
        let entered = current::enter(self.poll_context.take());
        for id in self.dispatch.running().collect::<Vec<_>>() {
            self.shared.counters.handlers_cancelled.add(1);
            self.cancel(id, "cancelled");
        }
        self.poll_context = entered.end();
    }

    /// Drops a handler for which nothing is queued, with this outcome.
    pub(super) fn cancel(&mut self, id: SlotId, outcome: &'static str) {
        let task = self.dispatch.task_mut(id);
        self.beat.begin(task.run.remote);
        self.clear_observed(id, outcome);
        self.timers
            .disarm(id, &mut self.dispatch.task_mut(id).entry);
        self.beat.end();
        let ended = self.dispatch.end(id, false, &self.shared.totals);
        ended.wake.into_iter().for_each(panics::wake);
        debug_assert_eq!(ended.next, Next::Forgotten, "nothing is queued");
    }

    /// Ends the worker, whatever its phase: nothing leaves, nobody is answered any more.
    pub(super) fn abandon(&mut self) {
        self.collecting_wakers(Self::abandon_all);
        self.tell_all_losses();
    }

    fn abandon_all(&mut self) {
        // First, so that a destructor which sends is told that it is too late.
        abandon_sends(&self.shared, &mut self.report);
        self.close_queues();
        self.cancel_handlers();
        let context = self.poll_context.as_mut();
        let left = context.map_or(0, |context| context.outbox.abandon());
        tell_abandoned(left, &self.shared, &mut self.report);
    }
}

/// Nothing leaves any more: later sends answer closed, and what others have sent is given up.
pub(super) fn abandon_sends<P>(shared: &WorkerShared<P>, report: &mut Report) {
    let left = shared.inject.close().outbox.abandon();
    tell_abandoned(left, shared, report);
}

fn tell_abandoned<P>(left: usize, shared: &WorkerShared<P>, report: &mut Report) {
    if left > 0 {
        shared.counters.answers_abandoned.add(left as u64);
        report.lost(Kind::Abandoned, None, left as u64);
    }
}
