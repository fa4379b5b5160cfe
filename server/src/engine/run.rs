//! One run of a handler: which client it is for, and what came for it meanwhile.
//!
//! `Client<Response>` and `Requests<Request>` both are this one allocation, each seen through the
//! half of the protocol that it needs ([`run_send`](super::run_send), [`run_recv`](super::run_recv)). That
//! half is the only virtual call of a packet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::SessionTag;
use crate::engine::dispatch::{Client, RunQueue, SlotId};
use crate::engine::stamp::LastReceived;
use crate::engine::worker_shared::{Local, WorkerShared};
use crate::handler::ClientKey;

/// One run of a handler.
#[derive(Debug)]
pub(crate) struct Run<P> {
    pub(crate) remote: SocketAddr,
    pub(crate) slot: SlotId,
    /// Its question has been answered, if it is one that is handled once.
    answered: AtomicBool,
    pub(crate) queue: RunQueue,
    session: SessionTag,
    pub(crate) last: LastReceived,
    local: Arc<Local<P>>,
}

impl<P> Run<P> {
    /// A run for this client, whose local address is this one.
    pub(crate) fn new(local: &Arc<Local<P>>, client: &ClientKey, slot: SlotId) -> Self {
        Self {
            remote: client.remote,
            slot,
            answered: AtomicBool::new(false),
            queue: RunQueue::default(),
            session: client.session,
            last: LastReceived::default(),
            local: Arc::clone(local),
        }
    }

    /// A new run, for the same client.
    pub(crate) fn next(&self) -> Self {
        Self::new(&self.local, &self.client(), self.slot)
    }

    /// Makes it a new run, for this client. Nobody else holds it.
    #[inline]
    pub(crate) fn begin(&mut self, local: &Arc<Local<P>>, client: &ClientKey) {
        self.remote = client.remote;
        self.session = client.session;
        self.reset();
        if !Arc::ptr_eq(&self.local, local) {
            self.local = Arc::clone(local);
        }
    }

    /// Makes it a new run, for the same client. Nobody else holds it.
    #[inline]
    pub(crate) fn reset(&mut self) {
        self.queue.reset();
        self.last.reset();
        *self.answered.get_mut() = false;
    }

    /// Whether it is for one datagram, and has received it: nothing more will come.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.session.is_of_one() && self.queue.has_received()
    }

    /// Whether it is of a question that is handled at most once.
    #[inline]
    pub(crate) fn is_question(&self) -> bool {
        self.session.is_question()
    }

    /// Whether that has been answered.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    /// Whom a datagram is for that is sent now: the first one of a question is its answer.
    #[inline]
    pub(crate) fn sends_to(&self) -> ClientKey {
        let mut client = self.addressee();
        if client.session.is_question() && !self.answered.swap(true, Ordering::AcqRel) {
            client.session = client.session.answer();
        }
        client
    }

    #[inline]
    pub(crate) fn worker(&self) -> &WorkerShared<P> {
        &self.local.worker
    }

    /// What tells this run from others while it lives.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Which client this is.
    #[inline]
    pub(crate) fn client(&self) -> ClientKey {
        ClientKey {
            remote: self.remote,
            local: self.local.addr,
            session: self.session,
        }
    }

    /// The same as the client is told apart from others: each datagram for itself is the address's.
    #[inline]
    pub(crate) fn addressee(&self) -> ClientKey {
        let mut client = self.client();
        if client.is_single() {
            client.session = SessionTag::ADDRESS;
        }
        client
    }

    /// Whether this is its client.
    #[inline]
    pub(crate) fn is_of(&self, client: &ClientKey) -> bool {
        client.is(&self.remote, &self.local.addr, self.session)
    }
}

impl Client for ClientKey {
    #[inline]
    fn is_single(&self) -> bool {
        self.session == SessionTag::EACH
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::worker_shared::Locals;
    use crate::engine::worker_shared::tests::{asked, worker};

    #[test]
    fn h13_a_run_that_begins_anew_is_its_own_clients() {
        let mut locals = Locals::new(worker("0.0.0.0:7"));
        let client = |port, local, session| ClientKey {
            remote: ([10, 9, 0, 7], port).into(),
            local,
            session,
        };
        let first = client(1, None, SessionTag::ADDRESS);
        let mut run = Run::new(locals.at(asked([10, 0, 0, 1])), &first, 0);
        for (local, session) in [
            (asked([10, 0, 0, 2]), SessionTag::ADDRESS),
            (asked([10, 0, 0, 1]), SessionTag(3)),
            (None, SessionTag::EACH),
        ] {
            let client = client(2, local, session);
            run.begin(locals.at(local), &client);
            assert_eq!(run.client(), client);
        }
    }
}
