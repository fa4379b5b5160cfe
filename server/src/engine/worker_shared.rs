//! What the runs of a worker have in common.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::engine::inject_queue::InjectQueue;
use crate::engine::stamp::BatchStamp;
use crate::service::{ClientTasks, Counters, Totals};
use crate::transport::LocalAddr;

/// What a worker shares with all runs of its handler.
#[derive(Debug)]
pub(crate) struct WorkerShared<P> {
    pub(crate) protocol: Arc<P>,
    pub(crate) inject: Arc<InjectQueue>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) totals: Arc<Totals>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) tasks: Arc<ClientTasks>,
    /// Cancelled when a drain begins, or a shutdown.
    pub(crate) draining: CancellationToken,
    /// The address that the socket is bound to: one for all workers of it.
    pub(crate) bound: Arc<SocketAddr>,
    /// That is a broadcast address.
    pub(crate) is_broadcast: bool,
    /// When the worker was made.
    pub(crate) begun: Instant,
    pub(crate) batch_at: BatchStamp,
    /// More than that is told of each datagram.
    pub(crate) informs: bool,
    /// Who sent what a receive could not decode: the last one.
    pub(crate) malformed: Mutex<Option<SocketAddr>>,
}

impl<P> WorkerShared<P> {
    /// What tells it from others while it lives.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// What tells the server's sockets apart, over all servings.
    pub(crate) fn socket(&self) -> usize {
        Arc::as_ptr(&self.bound).addr()
    }
}

/// An address of a worker's socket, as its clients ask for it: one for all of them, since it would
/// be a seventh of what a waiting client costs.
#[derive(Debug)]
pub(crate) struct Local<P> {
    /// Where it was asked, on a wildcard bind.
    pub(crate) addr: Option<LocalAddr>,
    pub(crate) worker: Arc<WorkerShared<P>>,
}

/// The addresses of one worker's socket that were asked last.
#[derive(Debug)]
pub(crate) struct Locals<P> {
    worker: Arc<WorkerShared<P>>,
    /// The last one first.
    known: Vec<Arc<Local<P>>>,
}

impl<P> Locals<P> {
    /// Hosts have few; but a whole network may be routed to one.
    const KNOWN: usize = 8;

    pub(crate) fn new(worker: Arc<WorkerShared<P>>) -> Self {
        let known = Vec::new();
        Self { worker, known }
    }

    #[inline]
    pub(crate) fn at(&mut self, addr: Option<LocalAddr>) -> &Arc<Local<P>> {
        if self.known.first().is_none_or(|last| last.addr != addr) {
            self.bring_forward(addr);
        }
        &self.known[0]
    }

    /// Those that are known.
    pub(crate) fn addrs(&self) -> impl Iterator<Item = Option<LocalAddr>> + '_ {
        self.known.iter().map(|local| local.addr)
    }

    #[cold]
    fn bring_forward(&mut self, addr: Option<LocalAddr>) {
        match self.known.iter().position(|local| local.addr == addr) {
            Some(at) => self.known.swap(0, at),
            None => {
                let worker = Arc::clone(&self.worker);
                self.known.truncate(Self::KNOWN - 1);
                self.known.insert(0, Arc::new(Local { addr, worker }));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use postbox_protocol::{DatagramProtocol, RawSerializer};

    use super::*;
    use crate::config::Sessions;
    use crate::service::Shared;

    /// A worker of raw datagrams that does not run.
    pub(crate) fn worker(bound: &str) -> Arc<WorkerShared<DatagramProtocol<RawSerializer>>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let shared = Shared::new(
            Limits::default(),
            Vec::new(),
            None,
            Sessions::default(),
            false,
        );
        Arc::new(WorkerShared {
            protocol: Arc::new(DatagramProtocol::new(RawSerializer)),
            inject: Arc::new(InjectQueue::new(0, Arc::default())),
            counters: Arc::default(),
            totals: Arc::new(Totals::new(0, 0)),
            limits: Arc::default(),
            draining: CancellationToken::new(),
            tasks: ClientTasks::new(runtime.handle().clone(), &shared, Arc::default()),
            bound: Arc::new(bound.parse().unwrap()),
            is_broadcast: false,
            begun: Instant::now(),
            batch_at: BatchStamp::default(),
            informs: false,
            malformed: Mutex::default(),
        })
    }

    pub(crate) fn asked(ip: [u8; 4]) -> Option<LocalAddr> {
        Some(LocalAddr {
            asked: ip.into(),
            reply_from: Some(ip.into()),
            interface: 0,
        })
    }

    #[test]
    fn l2_clients_share_the_address_that_they_asked_and_few_are_kept() {
        let mut locals = Locals::new(worker("0.0.0.0:7"));
        let one = Arc::clone(locals.at(asked([10, 0, 0, 1])));
        for last in 2..=255 {
            assert_eq!(
                locals.at(asked([10, 0, 0, last])).addr,
                asked([10, 0, 0, last])
            );
            assert!(
                Arc::ptr_eq(locals.at(asked([10, 0, 0, 1])), &one),
                "asked again and again"
            );
        }
        assert_eq!(locals.known.len(), Locals::<()>::KNOWN);
    }
}
