//! Datagrams out: the outbox leaves, in batches.

use std::sync::Arc;
use std::task::{Context, Poll};

use postbox_protocol::{BoxError, Protocol};

use super::{GIVE_BACK, Worker};
use crate::client::Client;
use crate::client_key::ClientKey;
use crate::error::FlushError;
use crate::limits::MIN_OUTBOX;
use crate::outbox::Flush;
use crate::requests::Requests;
use crate::transport::{Sent, Transport};
use crate::turn::{self, Turn};

impl<T, P, F, Fut> Worker<T, P, F, Fut>
where
    T: Transport,
    P: Protocol,
    F: Fn(Client<P::Sent>, Requests<P::Received>) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    /// Sends as much as the system takes.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut own) = self.turn.take() else {
            return false;
        };
        // Loggers and wakers are the user's, and have the worker's own context.
        let mut context = std::mem::take(&mut own.context);
        let progressed = turn::in_context(&mut context, || self.send_from(&mut own, cx));
        own.context = context;
        self.turn = Some(own);
        progressed
    }

    fn send_from(&mut self, own: &mut Turn, cx: &mut Context<'_>) -> bool {
        let outbox = &mut own.outbox;
        self.port.inbox.take_sends(outbox);
        if !outbox.has_work() {
            self.ask_icmp(false);
            return false;
        }
        let mut room = std::mem::take(&mut own.room);
        let mut progressed = false;
        let mut completed = Completed::default();
        loop {
            // Before what follows is tried: a flush is not told of what was sent after it.
            self.ask_icmp(outbox.has_completed());
            while let Some((client, flush)) = outbox.completed() {
                // One that was dropped takes no refusal from the next.
                if Arc::strong_count(&flush) > 1 {
                    completed.0.push((flush, self.refusals.take(&client)));
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
            self.last_left = self.timers.now();
            progressed = true;
        }
        outbox.compact();
        if room > 0 {
            self.port.inbox.add_room(room);
        }
        progressed || !completed.0.is_empty()
    }

    /// Gives back what a burst of answers needed, once a while has passed.
    pub(super) fn give_back_memory(&mut self) {
        let now = self.timers.now();
        let Some(turn) = &mut self.turn else { return };
        match self.give_back {
            Some(at) if at > now => {}
            Some(_) => {
                turn.outbox.shrink();
                self.port.inbox.shrink();
                self.give_back = None;
            }
            None if turn.outbox.is_large() => self.give_back = Some(now + GIVE_BACK),
            None => {}
        }
    }

    /// Keeps what ICMP said for its clients. `look`: one of them is about to be told.
    fn ask_icmp(&mut self, look: bool) {
        let refused = self.transport.take_refused(look);
        if refused.is_empty() {
            return; // nearly always
        }
        for (remote, error) in refused {
            self.port.counters.send_errors.add(1);
            self.report.send_failed(remote, &error, self.timers.now());
            self.refusals.keep_icmp(remote, error);
        }
    }

    /// Whether everything that was sent has left.
    pub(super) fn outbox_is_empty(&self) -> bool {
        !self
            .turn
            .as_ref()
            .is_some_and(|turn| turn.outbox.has_work())
    }

    /// Whether another of the largest answers would have to wait. Not while nothing waits to leave:
    /// then nothing would end that, as the room is held by senders who do not use it.
    pub(super) fn outbox_is_full(&self) -> bool {
        self.port.inbox.room.available_permits() < MIN_OUTBOX && !self.outbox_is_empty()
    }
}

/// The flushes that are over. They learn it at the end, when their room is given back; also where a
/// logger panics.
#[derive(Default)]
struct Completed(Vec<(Arc<Flush>, Result<(), FlushError>)>);

impl Drop for Completed {
    fn drop(&mut self) {
        for (flush, result) in self.0.drain(..) {
            flush.complete(result);
        }
    }
}
