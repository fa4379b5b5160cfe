//! Datagrams in: each to its client's handler, which is polled on the spot.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_protocol::{BoxError, Protocol};

use super::{Phase, Worker};
use crate::client::Client;
use crate::dispatch::{Arrival, Datagram, DropReason, Hand, Next, Queued, SlotId};
use crate::panics;
use crate::peer::{ClientKey, Peer, may_answer};
use crate::requests::Requests;
use crate::transport::Transport;
use crate::turn::{self, HandlerPoll, Lent};

/// What a poll of a handler came to.
enum Polled {
    /// It waits. The lent datagram, if it did not take it.
    Waits(Option<Lent>),
    /// It ended: in this slot, by this poll.
    Ended(HandlerPoll),
}

impl<T, P, F, Fut> Worker<T, P, F, Fut>
where
    T: Transport,
    P: Protocol,
    F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    /// Receives one batch, unless answers have to leave first.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let paused = self
            .receive_again
            .is_some_and(|again| again > self.timers.now());
        if !matches!(self.phase, Phase::Serving) || paused || self.outbox_is_full() {
            return false;
        }
        self.receive_again = None;
        match self.transport.poll_recv(cx, &mut self.batch) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => {
                self.receive_errors = 0;
                for index in 0..self.batch.len() {
                    self.unpack(index);
                }
            }
            Poll::Ready(Err(error)) => {
                self.port.counters.receive_errors.add(1);
                self.report
                    .receive_failed(self.port.bound, &error, self.timers.now());
                // The first error is usually about one datagram; repeated ones must not burn the CPU.
                let pause = Duration::from_millis(10 << self.receive_errors.min(6));
                if self.receive_errors > 0 {
                    self.receive_again = Some(self.timers.now() + pause);
                }
                self.receive_errors += 1;
            }
        }
        true
    }

    /// Takes the datagrams out of one receive buffer: several where the kernel has coalesced them.
    fn unpack(&mut self, index: usize) {
        let meta = self.batch.meta(index);
        let client = ClientKey {
            remote: meta.remote,
            local: meta.local,
        };
        let (len, segment, truncated) = (meta.len, meta.segment.max(1), meta.truncated);
        let mut buffer = self.batch.take_buffer(index);
        let mut start = 0;
        loop {
            let end = (start + segment).min(len);
            // Only the last of coalesced datagrams can have been cut.
            let lent = Lent {
                buffer,
                start,
                end,
                truncated: truncated && end == len,
            };
            buffer = self.arrive(client, lent);
            start = end;
            if start == len {
                break;
            }
        }
        self.batch.put_buffer(index, buffer);
    }

    /// One datagram has arrived. Returns the buffer it is in.
    fn arrive(&mut self, client: ClientKey, lent: Lent) -> Vec<u8> {
        self.port.counters.received.add(1);
        if lent.truncated {
            self.port.counters.truncated.add(1);
        }
        if !may_answer(&client.remote) {
            self.port.counters.source.add(1);
            return lent.buffer;
        }
        let (admit, report, now) = (&self.admit, &mut self.report, self.timers.now());
        let admit = || match admit {
            None => true,
            Some(admit) => panics::catch(|| admit(client.remote)).unwrap_or_else(|message| {
                report.admit_panicked(client.remote, &message, now);
                false
            }),
        };
        let untaken = match self.dispatch.arrive(&client, &self.port.totals, admit) {
            Arrival::Start => self.start(client, lent),
            Arrival::Deliver(id) => self.drive(id, Some(lent)),
            Arrival::Queue(id) => self.queue(id, lent, true),
            Arrival::Drop(reason) => {
                self.count_drop(reason);
                Some(lent)
            }
        };
        match untaken {
            Some(lent) => lent.buffer,
            None => turn::with(|turn| turn.returned.take())
                .flatten()
                .unwrap_or_default(),
        }
    }

    /// Starts a handler for a datagram.
    fn start(&mut self, client: ClientKey, lent: Lent) -> Option<Lent> {
        let (spare, port) = (&mut self.spare, &self.port);
        let id = self.dispatch.start(|slot| {
            let spare = spare.pop().and_then(|mut run| {
                let peer = Arc::get_mut(&mut run)?;
                (peer.client, peer.slot) = (client, slot);
                Some(run)
            });
            spare.unwrap_or_else(|| Arc::new(Peer::new(Arc::clone(port), client, slot)))
        });
        self.handlers.occupy(id, &self.port.inbox);
        let polled = self.begin(id, Some(lent));
        self.follow(id, polled)
    }

    /// Calls the user's `handle`, then polls what it returned.
    fn begin(&mut self, id: SlotId, lent: Option<Lent>) -> Polled {
        let run = self.dispatch.run(id);
        let (client, requests) = (Client::new(Arc::clone(run)), Requests::new(Arc::clone(run)));
        let (cell, make) = (self.handlers.get(id), &self.make);
        match cell.start(&self.context, || make(client, requests)) {
            Ok(()) => self.poll_handler(id, lent),
            Err(message) => {
                self.panicked(id, &message);
                Polled::Ended(HandlerPoll {
                    lent,
                    ..HandlerPoll::default()
                })
            }
        }
    }

    /// Polls a handler until it waits, or until it ended and nothing is left to start another for.
    /// Returns the lent datagram's buffer if no receive took it.
    pub(super) fn drive(&mut self, id: SlotId, lent: Option<Lent>) -> Option<Lent> {
        let polled = self.poll_handler(id, lent);
        self.follow(id, polled)
    }

    /// Acts on what a poll came to. A loop, since a backlog may be long.
    fn follow(&mut self, id: SlotId, mut polled: Polled) -> Option<Lent> {
        loop {
            polled = match polled {
                Polled::Waits(None) => return None,
                Polled::Waits(Some(lent)) => return self.queue(id, lent, false),
                Polled::Ended(mut left) => {
                    let hand = left.hand();
                    let lent = left.lent.take();
                    if !self.ended(id, hand) {
                        return lent;
                    }
                    self.begin(id, lent)
                }
            }
        }
    }

    fn poll_handler(&mut self, id: SlotId, lent: Option<Lent>) -> Polled {
        let run = self.dispatch.run(id);
        let client = run.client.remote;
        let cell = self.handlers.get(id);
        let poll = HandlerPoll {
            run: run.address(),
            waker: cell.waker_address(),
            lent,
            queued: self.dispatch.may_have_queued(id),
            expired: cell.expired,
            closing: !matches!(self.phase, Phase::Serving),
            ..HandlerPoll::default()
        };
        turn::with(|turn| turn.poll = poll);
        self.beat.begin(client);
        let polled = cell.poll();
        self.beat.end();
        let mut left = turn::with(|turn| std::mem::take(&mut turn.poll)).unwrap_or_default();
        self.port.counters.handed_out.add(left.handed_out);
        match polled {
            Ok(Poll::Pending) => {
                cell.awaits_shutdown = left.awaits_shutdown;
                if let Some(parked) = left.parked {
                    cell.expired = false;
                    self.parked.push((id, parked));
                }
                let (parked, totals) = (left.parked.is_some(), &self.port.totals);
                self.dispatch.waits(id, left.hand(), parked, totals);
                return Polled::Waits(left.lent.take());
            }
            Ok(Poll::Ready(Ok(()))) => self.port.counters.returned.add(1),
            Ok(Poll::Ready(Err(error))) => {
                self.port.counters.failed.add(1);
                let closing = self.port.inbox.is_closing();
                self.report
                    .handler_failed(client, &error, closing, self.timers.now());
                if let Err(message) = panics::drop_caught(error) {
                    self.report.handler_panicked(client, &message);
                }
            }
            Err(message) => self.panicked(id, &message),
        }
        Polled::Ended(left)
    }

    fn panicked(&mut self, id: SlotId, message: &str) {
        self.port.counters.panicked.add(1);
        self.report
            .handler_panicked(self.dispatch.run(id).client.remote, message);
    }

    /// A handler ended. Answers whether the next one is to begin in its slot.
    fn ended(&mut self, id: SlotId, hand: Hand) -> bool {
        if let Err(message) = self.handlers.get(id).clear() {
            self.report
                .handler_panicked(self.dispatch.run(id).client.remote, &message);
        }
        let renew =
            |run: &Arc<Peer<P>>| Arc::new(Peer::new(Arc::clone(&run.port), run.client, run.slot));
        let ended = self.dispatch.end(id, hand, &self.port.totals, renew);
        self.port.counters.discarded.add(ended.discarded.into());
        ended.wake.into_iter().for_each(panics::wake);
        match ended.next {
            Next::Start => true,
            Next::Forgotten(run) => {
                self.vacate(id, run);
                false
            }
        }
    }

    /// The slot is free; a run that nobody holds is kept for the next client.
    fn vacate(&mut self, id: SlotId, run: Option<Arc<Peer<P>>>) {
        let cell = self.handlers.get(id);
        self.timers.disarm(id, &mut cell.entry);
        self.handlers.vacate(id);
        if self.spare.len() < KEPT_RUNS {
            self.spare.extend(run);
        }
    }

    /// The datagram has to wait: it is copied out of the receive buffer into memory of its own size.
    fn queue(&mut self, id: SlotId, lent: Lent, poll: bool) -> Option<Lent> {
        let datagram = Datagram {
            bytes: lent.bytes().into(),
            truncated: lent.truncated,
        };
        match self.dispatch.queue(id, datagram, &self.port.totals) {
            Queued::Wake(waker) => panics::wake(waker),
            Queued::Poll if poll => {
                self.drive(id, None);
            }
            Queued::Poll | Queued::Nothing => {}
            Queued::Dropped(reason) => self.count_drop(reason),
        }
        Some(lent)
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

/// Spare runs kept for new clients.
const KEPT_RUNS: usize = 1024;
