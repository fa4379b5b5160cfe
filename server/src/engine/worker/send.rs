//! Datagrams out: the outbox leaves, in batches.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::served::Served;
use super::{GIVE_BACK, Worker};
use crate::config::{MIN_OUTBOX, SessionTag};
use crate::engine::current::PollContext;
use crate::engine::dispatch::{Listener, Told};
use crate::engine::flush::Flush;
use crate::engine::report::Kind;
use crate::error::FlushError;
use crate::handler::ClientKey;
use crate::support::panics;
use crate::transport::{Outgoing, Sent};

impl<S: Served> Worker<S> {
    /// Sends as much as the system takes.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut context) = self.poll_context.take() else {
            return false;
        };
        let progressed = self.send_from(&mut context, cx);
        self.poll_context = Some(context);
        progressed
    }

    fn send_from(&mut self, context: &mut PollContext, cx: &mut Context<'_>) -> bool {
        let outbox = &mut context.outbox;
        self.shared.inject.take_sends(outbox);
        if !outbox.has_work() {
            self.ask_icmp(false);
            return false;
        }
        let mut room = 0;
        let mut progressed = false;
        let mut completed = Completed::default();
        loop {
            // Before what follows is tried: a flush is not told of what was sent after it.
            self.ask_icmp(outbox.has_completed());
            while let Some((client, flush)) = outbox.completed() {
                // One that was dropped takes no refusal from the next.
                if Arc::strong_count(&flush) > 1 {
                    completed.0.push((flush, self.send_failures.take(&client)));
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
                    self.shared.counters.sent.add(count as u64);
                    self.keep_answers(bytes, &datagrams[..count]);
                    count
                }
                Poll::Ready(Sent::Failed(error)) => {
                    self.shared.counters.send_errors.add(1);
                    self.report.failed(Kind::Send, first.remote, &error);
                    let client = addressee(&first);
                    if self.transport.hears_icmp()
                        && let Some(code) = no_way(&error)
                    {
                        self.tell_unreachable(&client, code);
                    }
                    self.send_failures.keep(client, error);
                    self.keep_answers(bytes, &datagrams[..1]);
                    1
                }
            };
            room += outbox.advance(gone);
            self.last_left = self.timers.now();
            progressed = true;
        }
        outbox.compact();
        if room > 0 {
            self.shared.inject.add_room(room);
        }
        progressed || !completed.0.is_empty()
    }

    /// Where questions are handled at most once, what has left is their answer.
    #[inline]
    fn keep_answers(&mut self, bytes: &[u8], gone: &[Outgoing]) {
        if self.answers.is_some() {
            self.keep_all_answers(bytes, gone);
        }
    }

    #[cold]
    fn keep_all_answers(&mut self, bytes: &[u8], gone: &[Outgoing]) {
        let now = self.timers.now();
        let Some(answers) = &mut self.answers else {
            return;
        };
        let mut early = 0;
        for out in gone {
            if SessionTag(out.session).answered().is_some() {
                let question = addressee(out);
                let answer = &bytes[out.start..out.start + out.len];
                early += answers.answered(&question, answer, now);
            }
        }
        self.shared.counters.answers_forgotten.add(early);
        self.report.lost(Kind::Forgotten, None, early);
    }

    /// Gives back what a burst of answers needed, once a while has passed.
    pub(super) fn give_back_memory(&mut self) {
        let now = self.timers.now();
        let Some(context) = &mut self.poll_context else {
            return;
        };
        match self.give_back {
            Some(at) if at > now => {}
            Some(_) => {
                context.outbox.shrink();
                self.shared.inject.shrink();
                self.give_back = None;
            }
            None if context.outbox.is_large() => self.give_back = Some(now + GIVE_BACK),
            None => {}
        }
    }

    /// Keeps what ICMP said for its clients. `look`: one of them is about to be told.
    fn ask_icmp(&mut self, look: bool) {
        let refused = self.transport.take_icmp_errors(look);
        if refused.is_empty() {
            return; // nearly always
        }
        for (remote, error) in refused {
            self.shared.counters.send_errors.add(1);
            self.report.failed(Kind::Send, remote, &error);
            // *Message too long* says that less would reach it.
            if let Some(code) = error.raw_os_error().filter(|code| *code != libc::EMSGSIZE) {
                self.tell_all_unreachable(remote, code);
            }
            self.send_failures.keep_icmp(remote, error);
        }
        let left_out = self.transport.take_icmp_left_out();
        self.shared.counters.send_errors.add(left_out);
    }

    /// Tells the receives that wait for datagrams from this address. There may be one for each
    /// address of the server that was asked, which ICMP does not tell: those that were asked last
    /// are tried. Nor does it tell the session: those that have a key are not told.
    fn tell_all_unreachable(&self, remote: SocketAddr, code: i32) {
        for local in self.locals.addrs() {
            let client = ClientKey {
                remote,
                local,
                session: SessionTag::ADDRESS,
            };
            self.tell_unreachable(&client, code);
        }
    }

    /// Tells the receive that waits for this client's datagrams that it cannot be reached.
    fn tell_unreachable(&self, client: &ClientKey, code: i32) {
        let Some(id) = self.dispatch.find(client) else {
            return;
        };
        match self
            .dispatch
            .task(id)
            .run
            .queue
            .tell(Told::Unreachable(code))
        {
            // In the next turn: in this one no handler is polled any more.
            Some(Listener::Worker) => {
                let _ = self.shared.inject.push(|injected| injected.ready.push(id));
            }
            Some(Listener::Task(waker)) => panics::wake(waker),
            None => {}
        }
    }

    /// Whether everything that was sent has left.
    pub(super) fn outbox_is_empty(&self) -> bool {
        !self
            .poll_context
            .as_ref()
            .is_some_and(|context| context.outbox.has_work())
    }

    /// Whether another of the largest answers would have to wait. Not while nothing waits to leave:
    /// then nothing would end that, as the room is held by senders who do not use it.
    pub(super) fn outbox_is_full(&self) -> bool {
        self.shared.inject.room.available_permits() < MIN_OUTBOX && !self.outbox_is_empty()
    }
}

/// Whom a datagram is for.
fn addressee(out: &Outgoing) -> ClientKey {
    ClientKey {
        remote: out.remote,
        local: out.local,
        session: SessionTag(out.session).addressee(),
    }
}

/// The number of an error of this very system that says that nothing leaves it for the client.
fn no_way(error: &io::Error) -> Option<i32> {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, PermissionDenied};
    let kinds = [HostUnreachable, NetworkUnreachable, PermissionDenied];
    error
        .raw_os_error()
        .filter(|_| kinds.contains(&error.kind()))
}

/// The flushes that are over. They learn it at the end, when their room is given back; also where a
/// transport panics.
#[derive(Default)]
struct Completed(Vec<(Arc<Flush>, Result<(), FlushError>)>);

impl Drop for Completed {
    fn drop(&mut self) {
        for (flush, result) in self.0.drain(..) {
            flush.complete(result);
        }
    }
}
