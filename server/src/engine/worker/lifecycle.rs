//! The life of a handler: it is polled, it waits, it ends, and the next one begins.

use std::sync::Arc;

use postbox_protocol::BoxError;

use super::Worker;
use super::observed::Observed;
use super::served::Served;
use super::task::Polled;
use super::timers::{BEGUN, NEVER};
use crate::engine::current::{self, HandlerPoll};
use crate::engine::delivery::BufferSlice;
use crate::engine::dispatch::{DropReason, Next, SlotId};
use crate::engine::report::Kind;
use crate::engine::run::Run;
use crate::handler::{Client, Requests};
use crate::service::awaits_shutdown;
use crate::support::panics;

impl<S: Served> Worker<S> {
    /// Polls the handler that was woken in a slot.
    pub(super) fn poll_slot(&mut self, id: SlotId) {
        self.drive(id, false, None);
    }

    /// Polls the handler in a slot, after calling `handle` if it is a new one, and offers it a
    /// datagram. If it ends, goes on with the next one as long as something is queued for it: a
    /// loop, since a backlog may be long. Returns whether the datagram arrives again: its handler
    /// had received before, and ended without it.
    pub(super) fn drive(
        &mut self,
        id: SlotId,
        mut new: bool,
        mut offer: Option<BufferSlice>,
    ) -> bool {
        let mut again = false;
        while let Some(left) = self.poll_handler(id, new, offer) {
            let (next, discarded) = self.ended(id, left.is_some());
            again |= left.is_some() && !discarded && !self.dispatch.is_closing();
            if next == Next::Forgotten {
                break;
            }
            (new, offer) = (true, None);
        }
        again
    }

    /// Polls a handler. If it ended, returns what is left of its offer.
    fn poll_handler(
        &mut self,
        id: SlotId,
        new: bool,
        offer: Option<BufferSlice>,
    ) -> Option<Option<BufferSlice>> {
        let task = self.dispatch.task_mut(id);
        self.beat.begin(task.run.remote); // the handler's code until it waits, or is gone
        if new && !self.initial_context.is_empty() {
            task.set_context(self.initial_context.clone());
        }
        let observes = match new {
            true => self.observes,
            false => task.is_observed(),
        };
        if observes {
            self.observed = Observed::enter(task, new);
        }
        let poll = HandlerPoll {
            run: task.run.address(),
            waker: task.waker(&self.waker).address(),
            ..HandlerPoll::default()
        };
        current::with(|context| {
            (context.delivery.offered, context.delivery.taken) = (offer, 0);
            context.poll = poll;
        });
        let make = |run: &Arc<Run<S::Protocol>>| {
            let (client, requests) = (Arc::clone(run), Arc::clone(run));
            self.served
                .handle(Client::new(client), Requests::new(requests))
        };
        let poll = || task.in_context(|task| task.poll(new.then_some(make), &self.waker));
        let (polled, awaits_shutdown) = awaits_shutdown(poll);
        task.own_if_kept(&mut self.waker);
        let (left, taken, waits) = current::with(|context| {
            context.poll.run = 0;
            let delivery = &mut context.delivery;
            (delivery.offered.take(), delivery.taken, context.poll.waits)
        })
        .unwrap_or_default();
        if taken > 0 {
            self.shared.counters.handed_out.add(taken.into());
        }
        let outcome = match polled {
            Polled::Waits => {
                if observes && let Some(mut observed) = self.observed.take() {
                    observed.exit(taken);
                    task.keep_observed(observed);
                }
                self.beat.end();
                task.set_awaits_shutdown(awaits_shutdown);
                if let Some(timeout) = waits {
                    task.deadline = NEVER;
                    if let Some(timeout) = timeout {
                        // The deadline of the receive before may pass before this one has its own.
                        task.deadline = BEGUN;
                        self.begun.push((id, timeout));
                    }
                }
                self.dispatch.mark_pending(id, &self.shared.totals);
                if taken > 1 {
                    self.dispatch.mark(id); // by what came with its first
                }
                if let Some(slice) = left {
                    self.queue(id, slice);
                }
                return None;
            }
            Polled::Returned(result, panic) => {
                let counters = &self.shared.counters;
                let (counter, outcome) = match &result {
                    _ if self.evicting => (&counters.handlers_evicted, "evicted"),
                    Ok(()) => (&counters.handlers_returned, "returned"),
                    Err(_) => (&counters.handlers_failed, "failed"),
                };
                counter.add(1);
                if let Err(error) = result {
                    self.failed(id, error);
                }
                if let Err(message) = panic {
                    let client = self.dispatch.task(id).run.remote;
                    self.report.panicked(Kind::DropPanicked, client, &message);
                }
                outcome
            }
            Polled::Panicked(message) => {
                self.panicked(id, &message);
                "panicked"
            }
        };
        if observes {
            self.end_observed(id, taken, outcome);
        }
        Some(left)
    }

    fn failed(&mut self, id: SlotId, error: BoxError) {
        let closing = self.is_closing() || self.shared.inject.is_handing_over();
        let task = self.dispatch.task_mut(id);
        let client = task.run.remote;
        let report = &mut self.report;
        // Its text and its end are the user's, and the handler's.
        let dropped = task.in_context(|_| {
            report.handler_failed(client, &error, closing);
            panics::drop_caught(error)
        });
        if let Err(message) = dropped {
            self.report.panicked(Kind::DropPanicked, client, &message);
        }
    }

    fn panicked(&mut self, id: SlotId, message: &str) {
        self.shared.counters.handlers_panicked.add(1);
        let client = self.dispatch.task(id).run.remote;
        self.report.panicked(Kind::Panicked, client, message);
    }

    /// A handler ended. Returns what follows, and whether the datagram that it was offered is
    /// discarded.
    fn ended(&mut self, id: SlotId, offered: bool) -> (Next, bool) {
        let task = self.dispatch.task_mut(id);
        task.clear(&mut self.report);
        self.timers.disarm(id, &mut task.entry);
        if task.run.is_question() {
            self.handled_once(id);
        }
        self.beat.end();
        self.close_if_asked();
        if offered && self.dispatch.is_closing() {
            let client = self.dispatch.task(id).run.remote;
            self.count_drop(DropReason::Shutdown, &client);
        }
        let offered = offered && !self.dispatch.is_closing();
        let ended = self.dispatch.end(id, offered, &self.shared.totals);
        self.shared.counters.discarded.add(ended.discarded.into());
        for _ in 0..ended.dropped {
            let client = self.dispatch.task(id).run.remote;
            self.count_drop(DropReason::Shutdown, &client);
        }
        ended.wake.into_iter().for_each(panics::wake);
        (ended.next, ended.discarded)
    }
}
