//! How a worker drains: what has begun goes on, nothing new begins.

use super::Worker;
use super::served::Served;
use crate::engine::dispatch::{Listener, Told};
use crate::service::DrainKind;
use crate::support::panics;

/// How far a worker's drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DrainPhase {
    No,
    /// What the transport holds is received: so many datagrams at most, for more may come all the
    /// time.
    Emptying(usize),
    /// Only those who have a handler are received from.
    Finishing,
    /// Nothing is received.
    HandingOver,
}

/// After so many errors in a row, and 150 ms of pauses, a drain expects nothing more of a socket.
pub(super) const GIVEN_UP: u32 = 6;

impl<S: Served> Worker<S> {
    pub(super) fn begin_drain(&mut self, kind: DrainKind) {
        if self.drain != DrainPhase::No || self.is_closing() {
            return;
        }
        match kind {
            DrainKind::Finish => self.drain = DrainPhase::Emptying(self.transport.look()),
            DrainKind::HandOver => {
                self.drain = DrainPhase::HandingOver;
                self.shared.inject.hand_over();
                self.end_waiting();
            }
        }
    }

    /// A receive took so many datagrams out of the transport, or looked at none.
    pub(super) fn drained_by(&mut self, taken: usize) {
        let DrainPhase::Emptying(left) = self.drain else {
            return;
        };
        match left.saturating_sub(taken.max(1)) {
            0 => self.emptied(),
            left => self.drain = DrainPhase::Emptying(left),
        }
    }

    /// Nothing is there, or nothing to be had.
    pub(super) fn emptied(&mut self) {
        if matches!(self.drain, DrainPhase::Emptying(_)) {
            self.dispatch.refuse_newcomers();
            self.drain = DrainPhase::Finishing;
        }
    }

    /// Nothing will come any more for those who wait for it.
    fn end_waiting(&mut self) {
        for id in self.dispatch.running().collect::<Vec<_>>() {
            if !self.dispatch.is_running(id) {
                continue;
            }
            match self.dispatch.task(id).run.queue.tell(Told::HandedOver) {
                Some(Listener::Worker) => self.poll_slot(id),
                Some(Listener::Task(waker)) => panics::wake(waker),
                None => {}
            }
        }
    }

    /// Whether the drain is over: tells it, once.
    pub(super) fn tell_drained(&mut self) {
        let drains = matches!(self.drain, DrainPhase::Finishing | DrainPhase::HandingOver);
        if drains && self.drained.is_some() && !self.waits_for_handlers() {
            self.drained.take().map(|drained| drained.send(()));
        }
    }
}
