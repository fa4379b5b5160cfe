//! One run of a handler: which client it is for, and what came for it meanwhile.
//!
//! `Client<Response>` and `Requests<Request>` both are this one allocation, each seen through the
//! half of the protocol that it needs ([`run_send`](super::run_send), [`run_recv`](super::run_recv)). That
//! half is the only virtual call of a packet.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::engine::dispatch::{RunQueue, SlotId};
use crate::engine::stamp::LastReceived;
use crate::engine::worker_shared::{Local, WorkerShared};
use crate::handler::ClientKey;

/// One run of a handler.
#[derive(Debug)]
pub(crate) struct Run<P> {
    pub(crate) remote: SocketAddr,
    pub(crate) slot: SlotId,
    pub(crate) queue: RunQueue,
    pub(crate) last: LastReceived,
    local: Arc<Local<P>>,
}

impl<P> Run<P> {
    pub(crate) fn new(local: &Arc<Local<P>>, remote: SocketAddr, slot: SlotId) -> Self {
        Self {
            remote,
            slot,
            queue: RunQueue::default(),
            last: LastReceived::default(),
            local: Arc::clone(local),
        }
    }

    /// A new run, for the same client.
    pub(crate) fn next(&self) -> Self {
        Self::new(&self.local, self.remote, self.slot)
    }

    /// Makes it a new run, for this client. Nobody else holds it.
    #[inline]
    pub(crate) fn begin(&mut self, local: &Arc<Local<P>>, remote: SocketAddr) {
        self.remote = remote;
        self.queue.reset();
        self.last.reset();
        if !Arc::ptr_eq(&self.local, local) {
            self.local = Arc::clone(local);
        }
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
        }
    }

    /// Whether this is its client.
    #[inline]
    pub(crate) fn is_of(&self, client: &ClientKey) -> bool {
        client.is(&self.remote, &self.local.addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::worker_shared::Locals;
    use crate::engine::worker_shared::tests::{asked, worker};

    #[test]
    fn h13_a_run_that_begins_anew_has_the_address_that_its_own_client_asked() {
        let mut locals = Locals::new(worker("0.0.0.0:7"));
        let remote = |port| SocketAddr::from(([10, 9, 0, 7], port));
        let mut run = Run::new(locals.at(asked([10, 0, 0, 1])), remote(1), 0);
        for local in [asked([10, 0, 0, 2]), asked([10, 0, 0, 1]), None] {
            run.begin(locals.at(local), remote(2));
            let ClientKey {
                remote: to,
                local: from,
            } = run.client();
            assert_eq!((to, from), (remote(2), local));
        }
    }
}
