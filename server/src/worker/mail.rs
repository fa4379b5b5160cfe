//! What others have left for this worker: wake-ups, alarms, a shutdown. Their answers are taken where
//! answers are sent.

use postbox_protocol::{BoxError, Protocol};

use super::Worker;
use crate::client::Client;
use crate::inbox::Alarms;
use crate::requests::Requests;
use crate::transport::Transport;

/// Room for this many alarms is kept for the next turns.
const KEPT_ALARMS: usize = 1024;

/// The room for the next alarms.
fn kept(mut empty: Alarms) -> Alarms {
    empty.shrink_to(KEPT_ALARMS);
    empty
}

impl<T, P, F, Fut> Worker<T, P, F, Fut>
where
    T: Transport,
    P: Protocol,
    F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    /// Reads what other threads have left.
    pub(super) fn read_mail(&mut self) -> bool {
        if !self.port.inbox.has_mail() {
            return false;
        }
        self.port.inbox.take_mail(&mut self.mail);
        if !self.mail.alarms.is_empty() || self.mail.close.is_some() {
            self.timers.read_clock(); // after they were posted, so that no deadline comes early
        }
        if !self.mail.alarms.is_empty() {
            let mut alarms = std::mem::take(&mut self.mail.alarms);
            for (run, alarm) in alarms.drain() {
                self.set_alarm(run, &alarm);
            }
            self.mail.alarms = kept(alarms);
        }
        if let Some(grace) = self.mail.close.take() {
            self.begin_close(grace);
        }
        true
    }

    /// Polls the handlers that were woken before this turn: one that wakes itself has to wait.
    pub(super) fn poll_woken(&mut self) -> bool {
        if self.mail.ready.is_empty() {
            return false;
        }
        let mut ready = std::mem::take(&mut self.mail.ready);
        for id in ready.drain(..) {
            if self.dispatch.is_running(id) {
                self.wake(id);
            }
        }
        self.mail.ready = ready;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::{After, Alarm};

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
