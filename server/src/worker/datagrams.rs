//! Datagrams in: each to its client's handler, which is polled on the spot.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use postbox_protocol::{BoxError, Protocol};
use tokio::time::Instant;

use super::handlers::{Polled, Running};
use super::timers::PASSED;
use super::{Admit, Worker};
use crate::client::Client;
use crate::client_key::{ClientKey, may_answer};
use crate::dispatch::{Arrival, DropReason, Hand, Next, Queued, SlotId};
use crate::panics;
use crate::peer::Peer;
use crate::report::{self, Report};
use crate::requests::Requests;
use crate::transport::Transport;
use crate::turn::{self, HandlerPoll, Place};

impl<T, P, F, Fut> Worker<T, P, F, Fut>
where
    T: Transport,
    P: Protocol,
    F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    /// Receives one batch.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.timers.now();
        if self.is_closing() || self.backoff.until(now).is_some() {
            return false;
        }
        match self.transport.poll_recv(cx, &mut self.batch) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => {
                self.backoff.succeeded();
                self.lend_buffers();
                for index in 0..self.batch.len() {
                    self.unpack(index);
                }
                self.lend_buffers();
            }
            Poll::Ready(Err(error)) => {
                self.port.counters.receive_errors.add(1);
                self.report.receive_failed(self.port.bound, &error, now);
                self.backoff.failed(now);
            }
        }
        true
    }

    /// Hands the receive buffers to the turn, where receives find their datagram, or takes them
    /// back.
    fn lend_buffers(&mut self) {
        turn::with(|turn| std::mem::swap(&mut turn.buffers, self.batch.buffers()));
    }

    /// Takes the datagrams out of one receive buffer: several where the kernel has coalesced them.
    fn unpack(&mut self, index: usize) {
        let meta = self.batch.meta(index);
        let client = ClientKey {
            remote: meta.remote,
            local: meta.local,
        };
        let count = meta.datagrams() as u64;
        self.port.counters.received.add(count);
        if meta.truncated {
            self.port.counters.truncated.add(1);
        }
        if !may_answer(&client.remote) {
            self.port.counters.source.add(count);
            return;
        }
        (self.in_hand, self.behind) = Place::first(index, meta);
        loop {
            self.arrive(&client);
            // Its handler may have received those behind it as well.
            if !self.behind.has_next(self.in_hand) {
                break;
            }
            self.in_hand = self.behind.next(self.in_hand);
        }
    }

    /// One datagram has arrived, and is in hand.
    fn arrive(&mut self, client: &ClientKey) {
        self.close_if_asked();
        let (admit, report, now) = (&self.admit, &mut self.report, self.timers.now());
        let admit = || admits(admit.as_deref(), client.remote, report, now);
        match self.dispatch.arrive(client, &self.port.totals, admit) {
            Arrival::Start => {
                let local = self.locals.at(client.local);
                let make = |slot| Running::new(local, client.remote, slot);
                let begin = |running: &mut Running<_, _>| running.begin(local, client.remote);
                let id = self.dispatch.start(make, begin);
                self.drive(id, true, Hand::Left);
            }
            Arrival::Deliver(id) => self.drive(id, false, Hand::Left),
            Arrival::Queue(id) => self.queue(id, true),
            Arrival::Drop(reason) => self.count_drop(reason),
        }
    }

    /// Polls the handler that was woken in a slot.
    pub(super) fn wake(&mut self, id: SlotId) {
        self.drive(id, false, Hand::Empty);
    }

    /// Polls the handler in a slot, after calling `handle` if it is a new one; it is lent the
    /// datagram in hand if `hand` says that it is left, and then those behind it. If it ends, goes
    /// on with the next one as long as something is left to start it for: a loop, since a backlog
    /// may be long.
    fn drive(&mut self, id: SlotId, mut new: bool, mut hand: Hand) {
        while let Some(became) = self.poll_handler(id, new, hand) {
            let Some(next) = self.ended(id, became) else {
                return;
            };
            (new, hand) = (true, next);
        }
    }

    /// Polls a handler. If it ended, answers what became of the datagram that it was lent.
    fn poll_handler(&mut self, id: SlotId, new: bool, hand: Hand) -> Option<Hand> {
        let queued = self.dispatch.may_have_queued(id);
        let running = self.dispatch.run_mut(id);
        self.beat.begin(running.peer.remote); // the handler's code until it waits, or is gone
        if new && let Err(message) = running.prepare(&self.context) {
            self.panicked(id, &message);
            return Some(hand);
        }
        let poll = HandlerPoll {
            run: running.peer.address(),
            waker: running.waker_address(&self.wakeup),
            queued,
            expired: running.deadline == PASSED,
            ..HandlerPoll::default()
        };
        turn::with(|turn| {
            (turn.lent, turn.behind) = (self.in_hand, self.behind);
            (turn.hand, turn.poll) = (hand, poll);
            running.swap_context(turn);
        });
        let make = |peer: &Arc<Peer<P>>| {
            let (client, requests) = (Arc::clone(peer), Arc::clone(peer));
            (self.make)(Client::new(client), Requests::new(requests))
        };
        let polled = running.poll(new.then_some(make), &self.wakeup);
        running.own_if_kept(&mut self.wakeup);
        let (became, taken, parked, awaits_shutdown) = turn::with(|turn| {
            running.swap_context(turn);
            turn.poll.run = 0;
            self.in_hand = turn.lent;
            let became = std::mem::take(&mut turn.hand);
            let HandlerPoll {
                taken,
                parked,
                awaits_shutdown,
                ..
            } = turn.poll;
            (became, taken, parked, awaits_shutdown)
        })
        .unwrap_or_default();
        if taken > 0 {
            self.port.counters.handed_out.add(taken.into());
        }
        match polled {
            Polled::Waits => {
                self.beat.end();
                running.set_awaits_shutdown(awaits_shutdown);
                if let Some(timeout) = parked.and_then(|parked| running.waits(parked)) {
                    self.begun.push((id, timeout));
                }
                let totals = &self.port.totals;
                self.dispatch.waits(id, became, parked.is_some(), totals);
                if became == Hand::Left {
                    self.queue(id, false);
                }
                return None;
            }
            Polled::Returned(result, panic) => {
                match result {
                    Ok(()) => self.port.counters.returned.add(1),
                    Err(error) => self.failed(id, error),
                }
                if let Err(message) = panic {
                    let client = self.dispatch.run(id).peer.remote;
                    report::handler_panicked(client, &message);
                }
            }
            Polled::Panicked(message) => self.panicked(id, &message),
        }
        Some(became)
    }

    fn failed(&mut self, id: SlotId, error: BoxError) {
        self.port.counters.failed.add(1);
        let (closing, now) = (self.is_closing(), self.timers.now());
        let running = self.dispatch.run_mut(id);
        let client = running.peer.remote;
        let report = &mut self.report;
        let dropped = running.in_context(|| {
            report.handler_failed(client, &error, closing, now);
            panics::drop_caught(error)
        });
        if let Err(message) = dropped {
            report::handler_panicked(client, &message);
        }
    }

    fn panicked(&mut self, id: SlotId, message: &str) {
        self.port.counters.panicked.add(1);
        let client = self.dispatch.run(id).peer.remote;
        report::handler_panicked(client, message);
    }

    /// A handler ended. If the next one is to begin in its slot, answers what that is lent.
    fn ended(&mut self, id: SlotId, mut hand: Hand) -> Option<Hand> {
        let running = self.dispatch.run_mut(id);
        running.clear();
        self.timers.disarm(id, &mut running.entry);
        self.beat.end();
        self.close_if_asked();
        if hand == Hand::Left && self.dispatch.is_closing() {
            self.count_drop(DropReason::Shutdown);
            hand = Hand::Empty;
        }
        if hand == Hand::Taken && self.behind.has_next(self.in_hand) && !self.dispatch.is_closing()
        {
            self.in_hand = self.behind.next(self.in_hand);
            // As if it had arrived now, its client being without a handler; it keeps that one's place
            // among the bounded clients.
            let client = self.dispatch.run(id).peer.remote;
            let (admit, report, now) = (&self.admit, &mut self.report, self.timers.now());
            if admits(admit.as_deref(), client, report, now) {
                hand = Hand::Next;
            } else {
                self.count_drop(DropReason::Refused);
            }
        }
        let ended = self.dispatch.end(id, hand, &self.port.totals);
        self.port.counters.discarded.add(ended.discarded.into());
        ended.wake.into_iter().for_each(panics::wake);
        let lent = if hand.holds() {
            Hand::Left
        } else {
            Hand::Empty
        };
        (ended.next == Next::Start).then_some(lent)
    }

    /// The datagram in hand has to wait: it is copied out of the receive buffer into memory of its
    /// own size. With `poll`, its handler is let look if that is the first that waits.
    fn queue(&mut self, id: SlotId, poll: bool) {
        let Some(datagram) = turn::with(|turn| turn.copy(self.in_hand)) else {
            return;
        };
        match self.dispatch.queue(id, datagram, &self.port.totals) {
            Queued::Wake(waker) => panics::wake(waker),
            Queued::Poll if poll => self.wake(id),
            Queued::Poll | Queued::Nothing => {}
            Queued::Dropped(reason) => self.count_drop(reason),
        }
    }

    fn count_drop(&self, reason: DropReason) {
        let counters = &self.port.counters;
        match reason {
            DropReason::ClientBound => &counters.client_bound,
            DropReason::TotalBound => &counters.total_bound,
            DropReason::Clients => &counters.clients_bound,
            DropReason::Refused => &counters.refused,
            DropReason::Shutdown => &counters.shutdown,
        }
        .add(1);
    }
}

/// Asks the user's admission check, if there is one.
#[inline]
fn admits(admit: Option<&Admit>, client: SocketAddr, report: &mut Report, now: Instant) -> bool {
    let Some(admit) = admit else { return true };
    panics::catch(|| admit(client)).unwrap_or_else(|message| {
        report.admit_panicked(client, &message, now);
        false
    })
}
