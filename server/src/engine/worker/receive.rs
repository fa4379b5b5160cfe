//! Datagrams in: a batch is received, and each datagram goes to its client's handler.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::drain::{DrainPhase, GIVEN_UP};
use super::served::Served;
use super::task::HandlerTask;
use super::{RECV_BATCH, Worker};
use crate::engine::current;
use crate::engine::delivery::{BufferSlice, Segments};
use crate::engine::dispatch::{Arrival, Client, DropReason, QueuedDatagram, SlotId};
use crate::engine::report::Kind;
use crate::handler::ClientKey;
use crate::support::panics;

impl<S: Served> Worker<S> {
    /// Receives one batch.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.timers.now();
        let paused = self.drain == DrainPhase::HandingOver || self.backoff.until(now).is_some();
        if self.phase.is_starting() || self.is_closing() || paused {
            return false;
        }
        match self.transport.poll_recv(cx, &mut self.batch) {
            Poll::Pending => {
                self.backoff.succeeded(); // there is nothing, and it tells of what comes
                self.emptied();
                return false;
            }
            Poll::Ready(Ok(())) => {
                self.backoff.succeeded();
                self.losses.received(now, self.batch.len() == RECV_BATCH);
                self.gate.refresh();
                self.shared.batch_at.set(self.timers.stamp());
                self.swap_buffers();
                let received = self.batch.len();
                for index in 0..received {
                    self.split(index);
                }
                self.swap_buffers();
                self.drained_by(self.batch.taken());
            }
            Poll::Ready(Err(error)) => {
                self.shared.counters.receive_errors.add(1);
                self.report.receive_failed(&error);
                if self.backoff.failed(now) >= GIVEN_UP {
                    self.emptied();
                }
            }
        }
        true
    }

    /// Lends the receive buffers to the handlers, or takes them back.
    fn swap_buffers(&mut self) {
        let informs = self.shared.informs;
        current::with(|context| {
            let delivery = &mut context.delivery;
            std::mem::swap(&mut delivery.buffers, self.batch.buffers());
            if informs {
                std::mem::swap(&mut delivery.infos, self.batch.infos());
            }
        });
    }

    /// Takes the datagrams out of one receive buffer: several where the kernel has coalesced them.
    fn split(&mut self, index: usize) {
        let meta = self.batch.meta(index);
        let mut client = ClientKey {
            remote: meta.remote,
            local: meta.local,
            session: self.sessions.unasked,
        };
        let count = meta.datagrams() as u64;
        self.shared.counters.received.add(count);
        if meta.truncated {
            self.shared.counters.truncated.add(1);
            self.report.lost(Kind::Truncated, Some(&client.remote), 1);
        }
        if !self
            .sources
            .is_answerable(&client.remote, self.timers.now())
        {
            self.shared.counters.dropped_source.add(count);
            self.report.lost(Kind::Source, Some(&client.remote), count);
            return;
        }
        if meta.is_coalesced() {
            self.arrive_all(&mut client, Segments::of(index, meta));
        } else if self.sessions.key.is_some() {
            self.arrive_in_session(&mut client, BufferSlice::whole(index, meta));
        } else {
            self.arrive(&client, BufferSlice::whole(index, meta));
        }
    }

    /// Several datagrams have arrived as one. A handler may receive several of them in one poll,
    /// unless each of them has to be admitted first, or may be of another session.
    #[inline(never)]
    fn arrive_all(&mut self, client: &mut ClientKey, mut segments: Segments) {
        if self.sessions.key.is_some() {
            return segments.for_each(|slice| self.arrive_in_session(client, slice));
        }
        let asks = client.is_single() || self.gate.check().is_some();
        if !asks {
            let all = std::mem::take(&mut segments);
            current::with(|context| context.delivery.behind = all);
        }
        loop {
            let next = match asks {
                true => segments.next(),
                false => current::with(|context| context.delivery.behind.next()).flatten(),
            };
            let Some(slice) = next else { break };
            self.arrive(client, slice);
        }
    }

    /// One datagram has arrived.
    #[inline]
    pub(super) fn arrive(&mut self, client: &ClientKey, slice: BufferSlice) {
        self.close_if_asked();
        let (gate, report) = (&self.gate, &mut self.report);
        let (shared, timers) = (&self.shared, &self.timers);
        let admit = |has_handler| {
            gate.admits(
                client,
                slice.len(),
                has_handler,
                timers.now(),
                shared,
                report,
            )
        };
        match self.dispatch.arrive(client, &shared.totals, admit) {
            Arrival::Drop(reason) => self.count_drop(reason, &client.remote),
            arrival => self.deliver(client, slice, arrival),
        }
    }

    /// Brings a datagram to its client's handler.
    #[inline(never)]
    fn deliver(&mut self, client: &ClientKey, slice: BufferSlice, arrival: Arrival) {
        let again = match arrival {
            Arrival::Start => {
                let local = self.locals.at(client.local);
                let make = |slot| HandlerTask::new(local, client, slot);
                let begin = |task: &mut HandlerTask<_, _>| task.begin(local, client);
                let id = self.dispatch.start(make, begin);
                self.drive(id, true, Some(slice))
            }
            Arrival::Deliver(id) => self.drive(id, false, Some(slice)),
            Arrival::Queue(id) => return self.queue(id, slice),
            Arrival::Wait => return self.wait(client, slice),
            Arrival::Evict(id) => {
                let before = self.dispatch.clients();
                self.evict(id);
                let arrival = self.dispatch.after_eviction(before);
                return self.deliver(client, slice, arrival);
            }
            Arrival::Drop(reason) => return self.count_drop(reason, &client.remote),
        };
        if again {
            // It was admitted, and the next handler, which has received nothing, takes or discards it.
            let arrival = self.dispatch.arrive(client, &self.shared.totals, |_| true);
            self.deliver(client, slice, arrival);
        }
    }

    /// Copies a datagram out of the receive buffer, into memory of its own size.
    fn copy(&self, slice: BufferSlice) -> Option<QueuedDatagram> {
        let at = self.shared.batch_at.get();
        current::with(|context| context.delivery.copy(slice, at))
    }

    /// A datagram has to wait.
    pub(super) fn queue(&mut self, id: SlotId, slice: BufferSlice) {
        let Some(datagram) = self.copy(slice) else {
            return;
        };
        match self.dispatch.queue(id, datagram, &self.shared.totals) {
            Ok(waker) => waker.into_iter().for_each(panics::wake),
            Err(reason) => {
                let client = self.dispatch.task(id).run.remote;
                self.count_drop(reason, &client);
            }
        }
    }

    /// The same where it has to wait for a run of its own.
    fn wait(&mut self, client: &ClientKey, slice: BufferSlice) {
        let Some(datagram) = self.copy(slice) else {
            return;
        };
        if let Err(reason) = self.dispatch.wait(client, datagram, &self.shared.totals) {
            self.count_drop(reason, &client.remote);
        }
    }

    /// A datagram of this client is dropped.
    pub(super) fn count_drop(&mut self, reason: DropReason, client: &SocketAddr) {
        let counters = &self.shared.counters;
        let (counter, kind) = match reason {
            DropReason::ClientBound => (&counters.dropped_client_bound, Kind::ClientBound),
            DropReason::TotalBound => (&counters.dropped_total_bound, Kind::TotalBound),
            DropReason::Clients => (&counters.dropped_clients_bound, Kind::ClientsBound),
            DropReason::Prefix => (&counters.dropped_prefix_bound, Kind::PrefixBound),
            DropReason::Refused => (&counters.dropped_refused, Kind::Refused),
            DropReason::Shutdown => (&counters.dropped_shutdown, Kind::Shutdown),
        };
        counter.add(1);
        self.report.lost(kind, Some(client), 1);
    }
}
