//! Datagrams out, and what else a turn sees to: mail, wake-ups, deadlines.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_protocol::{BoxError, Protocol};

use super::timers::{BEGUN, NEVER, NOW, PASSED};
use super::{GIVE_BACK, Phase, Worker};
use crate::client::Client;
use crate::dispatch::SlotId;
use crate::inbox::{After, Alarm};
use crate::panics;
use crate::peer::ClientKey;
use crate::requests::Requests;
use crate::transport::{Sent, Transport};
use crate::turn;

impl<T, P, F, Fut> Worker<T, P, F, Fut>
where
    T: Transport,
    P: Protocol,
    F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    /// Sends as much as the system takes.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((mut outbox, mut room)) = turn::with(|turn| {
            self.port.inbox.take_sends(&mut turn.outbox);
            let outbox = std::mem::take(&mut turn.outbox);
            (outbox, std::mem::take(&mut turn.room))
        }) else {
            return false;
        };
        let mut progressed = false;
        let mut completed = Vec::new();
        loop {
            // Before what follows is tried: a flush is not told of what was sent after it.
            self.ask_icmp(outbox.has_completed());
            while let Some((client, flush)) = outbox.completed() {
                // One that was dropped takes no refusal from the next.
                if Arc::strong_count(&flush) > 1 {
                    completed.push((flush, self.refusals.take(&client)));
                }
            }
            if outbox.is_empty() {
                break;
            }
            let (bytes, datagrams) = outbox.waiting();
            let first = datagrams[0];
            let gone = match self.transport.poll_send(cx, bytes, datagrams) {
                Poll::Pending => break,
                Poll::Ready(Sent::Left(count)) => {
                    self.port.counters.sent.add(count as u64);
                    count
                }
                Poll::Ready(Sent::Failed(error)) => {
                    self.port.counters.send_errors.add(1);
                    self.report
                        .send_failed(first.remote, &error, self.timers.now());
                    let client = ClientKey {
                        remote: first.remote,
                        local: first.local,
                    };
                    self.refusals.keep(client, error);
                    1
                }
            };
            room += outbox.advance(gone);
            progressed = true;
        }
        outbox.compact();
        turn::with(|turn| {
            // Wakers and loggers are the user's, and may have sent something meanwhile.
            std::mem::swap(&mut turn.outbox, &mut outbox);
            progressed |= outbox.has_work();
            turn.outbox.append(&mut outbox);
        });
        // Both wake others, so the outbox is back in its place.
        if room > 0 {
            self.port.inbox.add_room(room);
        }
        for (flush, result) in completed {
            flush.complete(result);
            progressed = true;
        }
        progressed
    }

    /// Gives back what a burst of answers needed, once a while has passed.
    pub(super) fn give_back_memory(&mut self) {
        let now = self.timers.now();
        turn::with(|turn| match self.give_back {
            Some(at) if at > now => {}
            Some(_) => {
                turn.outbox.shrink();
                self.port.inbox.shrink();
                self.give_back = None;
            }
            None if turn.outbox.is_large() => self.give_back = Some(now + GIVE_BACK),
            None => {}
        });
    }

    /// Keeps what ICMP said for its clients. `look`: one of them is about to be told.
    fn ask_icmp(&mut self, look: bool) {
        for (remote, error) in self.transport.take_refused(look) {
            self.port.counters.send_errors.add(1);
            self.report.send_failed(remote, &error, self.timers.now());
            self.refusals.keep_icmp(remote, error);
        }
    }

    /// Reads what other threads have left.
    pub(super) fn read_mail(&mut self) -> bool {
        if !self.port.inbox.has_mail() {
            return false;
        }
        self.port.inbox.take_mail(&mut self.mail);
        let mut alarms = std::mem::take(&mut self.mail.alarms);
        if !alarms.is_empty() || self.mail.close.is_some() {
            self.timers.read_clock(); // after they were posted, so that no deadline comes early
        }
        for alarm in alarms.drain(..) {
            self.set_alarm(&alarm);
        }
        self.mail.alarms = alarms;
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

    fn set_alarm(&mut self, alarm: &Alarm) {
        if !self.dispatch.is_running(alarm.slot) {
            return;
        }
        let running = self.dispatch.run_mut(alarm.slot);
        let peer = &running.peer;
        // What is said of a receive may come when it is over, and the handler's own waits by now.
        if peer.address() != alarm.run || !peer.postbox.lock().is_receiving(alarm.receive) {
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

    /// Whether everything that was sent has left.
    pub(super) fn outbox_is_empty(&self) -> bool {
        let has_work = match &self.turn {
            Some(turn) => Some(turn.outbox.has_work()),
            None => turn::with(|turn| turn.outbox.has_work()),
        };
        !has_work.unwrap_or(false)
    }

    pub(super) fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving)
    }
}
