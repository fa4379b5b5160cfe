//! The deadlines of receives: from when they count, and who is told that they have passed.

use std::time::Duration;

use postbox_protocol::{BoxError, Protocol};

use super::Worker;
use super::timers::{BEGUN, NEVER, NOW, PASSED};
use crate::client::Client;
use crate::dispatch::SlotId;
use crate::inbox::{After, Alarm};
use crate::panics;
use crate::requests::Requests;
use crate::transport::Transport;

impl<T, P, F, Fut> Worker<T, P, F, Fut>
where
    T: Transport,
    P: Protocol,
    F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    /// A receive in another task waits for a limited time.
    pub(super) fn set_alarm(&mut self, run: usize, alarm: &Alarm) {
        if !self.dispatch.is_running(alarm.slot) {
            return;
        }
        let running = self.dispatch.run_mut(alarm.slot);
        let peer = &running.peer;
        // What is said of a receive may come when it is over, and the handler's own waits by now.
        if peer.address() != run || !peer.postbox.lock().is_receiving(alarm.receive) {
            return;
        }
        running.set_receive(alarm.receive);
        match alarm.after {
            After::Duration(Duration::ZERO) => running.deadline = NOW,
            After::Duration(delay) => running.deadline = self.timers.tick_after(delay),
            After::Unchanged if running.deadline == PASSED => running.deadline = NOW,
            After::Unchanged => {}
        }
        self.timers
            .arm(alarm.slot, running.deadline, &mut running.entry);
    }

    /// Gives the receives that began to wait in this turn their deadlines. The clock is read after
    /// they began, so that none comes early.
    pub(super) fn arm_deadlines(&mut self) {
        if self.begun.is_empty() {
            return;
        }
        self.timers.read_clock();
        // A slot may be there several times: its last receive is the one that waits.
        for (id, timeout) in self.begun.drain(..).rev() {
            if !self.dispatch.is_running(id) {
                continue;
            }
            let running = self.dispatch.run_mut(id);
            if running.deadline == BEGUN {
                running.deadline = self.timers.tick_after(timeout);
                self.timers.arm(id, running.deadline, &mut running.entry);
            }
        }
    }

    /// Tells the receives whose deadline has passed.
    pub(super) fn poll_expired(&mut self) -> bool {
        let mut progressed = false;
        while let Some(due) = self.timers.pop_due() {
            progressed = true;
            due.into_iter().for_each(|id| self.expire(id));
        }
        progressed
    }

    /// The entry of a slot is due.
    fn expire(&mut self, id: SlotId) {
        let running = self.dispatch.run_mut(id);
        running.entry = NEVER;
        if !self.timers.is_past(running.deadline) {
            self.timers.arm(id, running.deadline, &mut running.entry);
            return;
        }
        match running.receive() {
            0 => {
                running.deadline = PASSED;
                self.wake(id);
            }
            receive => {
                running.deadline = NEVER;
                let waker = running.peer.postbox.lock().expire(receive);
                waker.into_iter().for_each(panics::wake);
            }
        }
    }
}
