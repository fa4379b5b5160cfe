//! What others want of this worker: wake-ups, alarms, to begin, a shutdown. Their answers are taken
//! where answers are sent.

use super::Worker;
use super::served::Served;
use crate::engine::inject_queue::Alarms;
use crate::service::drop_pings;

/// Room for this many alarms is kept for the next turns.
const KEPT_ALARMS: usize = 1024;

/// The room for the next alarms.
fn kept(mut empty: Alarms) -> Alarms {
    empty.shrink_to(KEPT_ALARMS);
    empty
}

impl<S: Served> Worker<S> {
    /// Takes what other threads have injected.
    pub(super) fn take_injected(&mut self) -> bool {
        if !self.shared.inject.is_filled() {
            return false;
        }
        self.shared.inject.take(&mut self.injected);
        true
    }

    /// Does what was injected, but for the wake-ups.
    pub(super) fn follow_injected(&mut self) {
        if !self.injected.pings.is_empty() {
            drop_pings(&mut self.injected.pings);
        }
        if !self.injected.alarms.is_empty() {
            let mut alarms = std::mem::take(&mut self.injected.alarms);
            for (_, alarm) in alarms.drain() {
                self.set_alarm(&alarm);
            }
            self.injected.alarms = kept(alarms);
        }
        if let Some(context) = self.injected.begin.take() {
            self.begin_serving(context);
        }
        if let Some(kind) = self.injected.drain.take() {
            self.begin_drain(kind);
        }
        if let Some(grace) = self.injected.close.take() {
            self.begin_close(grace);
        }
    }

    /// Polls the handlers that were woken before this turn: one that wakes itself has to wait.
    pub(super) fn poll_woken(&mut self) -> bool {
        if self.injected.ready.is_empty() {
            return false;
        }
        let mut ready = std::mem::take(&mut self.injected.ready);
        for id in ready.drain(..) {
            if self.dispatch.is_running(id) {
                self.poll_slot(id);
            }
        }
        self.injected.ready = ready;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::inject_queue::{After, Alarm};

    #[test]
    fn l1_after_a_crowd_of_receives_in_other_tasks_little_room_for_alarms_is_kept() {
        let alarm = |run| {
            let after = After::Unchanged;
            let (slot, receive) = (0, 1);
            (
                run,
                Alarm {
                    slot,
                    receive,
                    after,
                },
            )
        };
        let mut alarms: Alarms = (0..100_000).map(alarm).collect();
        alarms.clear();
        assert!(alarms.capacity() >= 100_000);
        assert!(kept(alarms).capacity() <= 2 * KEPT_ALARMS);
    }
}
