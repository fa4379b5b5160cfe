//! The deadlines of receives: from when they count, and who is told that they have passed.

use super::Worker;
use super::served::Served;
use super::timers::{BEGUN, NEVER};
use crate::engine::dispatch::{Listener, SlotId, Told};
use crate::engine::inject_queue::{After, Alarm};
use crate::support::panics;

/// Receives that are told in one turn that they have timed out. Others wait for the next turn, so
/// that a crowd does not hold up the datagrams.
const EXPIRIES: usize = 1024;

impl<S: Served> Worker<S> {
    /// A receive in another task waits for a limited time.
    pub(super) fn set_alarm(&mut self, alarm: &Alarm) {
        if !self.dispatch.is_running(alarm.slot) {
            return;
        }
        let task = self.dispatch.task_mut(alarm.slot);
        // What is said of a receive may come when it is over, and another one waits by now.
        if !task.run.queue.lock().arm(alarm.receive) {
            return;
        }
        if let After::Duration(delay) = alarm.after {
            task.deadline = self.timers.tick_after(delay);
        }
        self.timers.arm(alarm.slot, task.deadline, &mut task.entry);
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
            let task = self.dispatch.task_mut(id);
            if task.deadline == BEGUN {
                task.deadline = self.timers.tick_after(timeout);
                self.timers.arm(id, task.deadline, &mut task.entry);
            }
        }
    }

    /// Tells the receives whose deadline has passed.
    pub(super) fn poll_expired(&mut self) -> bool {
        if self.timers.far_come_near() {
            for (id, task) in self.dispatch.tasks_mut() {
                self.timers.arm(id, task.deadline, &mut task.entry);
            }
        }
        let mut progressed = false;
        for _ in 0..EXPIRIES {
            let Some(id) = self.timers.pop_due() else {
                break;
            };
            progressed = true;
            self.expire(id);
        }
        progressed
    }

    /// The entry of a slot is due.
    fn expire(&mut self, id: SlotId) {
        let task = self.dispatch.task_mut(id);
        task.entry = NEVER;
        if !self.timers.is_past(task.deadline) {
            self.timers.arm(id, task.deadline, &mut task.entry);
            return;
        }
        match task.run.queue.tell(Told::TimedOut) {
            Some(Listener::Worker) => self.poll_slot(id),
            Some(Listener::Task(waker)) => panics::wake(waker),
            None => {}
        }
    }
}
