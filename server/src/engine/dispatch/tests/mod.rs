//! Tests of the rules about clients: each row of the table, then random scripts against a model.

mod bounds;
mod clock;
mod groups;
mod model;
mod queue;
mod rules;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;
use crate::config::DATAGRAM_OVERHEAD;

/// A client's address, as good as any.
type Name = char;

/// Capital and small letter are of one prefix, as far as prefixes are bounded.
impl Source for Name {
    fn address(&self) -> u128 {
        u128::from(u32::from(self.to_ascii_lowercase())) << 64
    }
}

/// Digits are clients each of whose datagrams has a run of its own.
impl Client for Name {
    fn is_single(&self) -> bool {
        self.is_ascii_digit()
    }
}

/// One run of a handler, as its dispatcher, its client object and its requests share it.
#[derive(Debug)]
struct Shared {
    client: Name,
    queue: RunQueue,
}

impl Shared {
    fn new(client: Name) -> Arc<Self> {
        Arc::new(Self {
            client,
            queue: RunQueue::default(),
        })
    }
}

/// Begins anew for this client.
fn begin(run: &mut Arc<Shared>, client: Name) {
    match Arc::get_mut(run) {
        Some(run) => {
            run.client = client;
            run.queue.reset();
        }
        None => *run = Shared::new(client),
    }
}

impl Task for Arc<Shared> {
    type Client = Name;

    fn client(&self) -> Name {
        self.client
    }

    fn queue(&self) -> &RunQueue {
        &self.queue
    }

    fn is_unshared(&self) -> bool {
        Self::strong_count(self) == 1
    }

    fn renew(&mut self) {
        let client = self.client;
        begin(self, client);
    }
}

/// Receives from the queue of a run.
fn take(run: &Shared, totals: &Totals) -> Taken {
    let taken = run.queue.lock().take(totals);
    if matches!(taken, Taken::Datagram(_)) {
        run.queue.set_received();
    }
    taken
}

/// A waker that counts.
#[derive(Debug, Default)]
struct Bell(AtomicUsize);

impl Bell {
    fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        (Arc::clone(&bell), Waker::from(bell))
    }

    fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn datagram(text: &str) -> QueuedDatagram {
    QueuedDatagram {
        bytes: text.as_bytes().into(),
        ..QueuedDatagram::default()
    }
}

/// How many slots without a handler keep their memory.
const KEPT: usize = 3;

/// A dispatcher and the totals it counts in, as a worker uses them.
struct Bench {
    dispatch: Dispatch<Arc<Shared>>,
    totals: Totals,
}

/// How an ended handler was followed up.
#[derive(Debug, PartialEq, Eq)]
struct End {
    discarded: bool,
    /// Another handler starts.
    next: bool,
    /// Another run was made for the next handler.
    renewed: bool,
    woken: bool,
}

/// The client is forgotten, nothing else.
const FORGOTTEN: End = End {
    discarded: false,
    next: false,
    renewed: false,
    woken: false,
};

/// The next handler starts with the same run, nothing else.
const NEXT: End = End {
    next: true,
    ..FORGOTTEN
};

impl Bench {
    /// Bounds that nothing here reaches.
    fn new() -> Self {
        Self::bounded(100, 100_000, Totals::new(100, 100_000))
    }

    /// A client has so many runs at once that are for one datagram.
    fn concurrent(runs: usize, datagrams: usize) -> Self {
        let (bytes, kept) = (100_000, KEPT);
        let limits = QueueLimits { datagrams, bytes };
        Self {
            dispatch: Dispatch::new(limits, WhenFull::Refuse, kept, runs),
            totals: Totals::new(100, bytes),
        }
    }

    fn bounded(datagrams: usize, bytes: usize, totals: Totals) -> Self {
        Self {
            dispatch: Dispatch::new(QueueLimits { datagrams, bytes }, WhenFull::Refuse, KEPT, 1),
            totals,
        }
    }

    /// One that evicts, with bounds of the queues that nothing reaches.
    fn evicting(totals: Totals) -> Self {
        let (datagrams, bytes) = (100, 100_000);
        Self {
            dispatch: Dispatch::new(QueueLimits { datagrams, bytes }, WhenFull::Evict, KEPT, 1),
            totals,
        }
    }

    fn arrive(&mut self, client: Name) -> Arrival {
        self.dispatch.arrive(&client, &self.totals, |_| true)
    }

    fn start(&mut self, client: Name) -> SlotId {
        assert_eq!(self.arrive(client), Arrival::Start);
        self.dispatch
            .start(|_| Shared::new(client), |run| begin(run, client))
    }

    /// The handler was polled: it waits in a receive of its own, having found nothing, or it is busy
    /// with something else.
    fn waits(&mut self, id: SlotId, parked: bool) {
        let queue = &self.dispatch.task(id).queue;
        if parked {
            queue.set_on_worker();
            queue.set_empty();
        } else {
            queue.set_not_waiting();
        }
        self.dispatch.mark_pending(id, &self.totals);
    }

    /// The handler took the datagram that it was offered.
    fn receives(&mut self, id: SlotId) {
        self.dispatch.task(id).queue.set_received();
    }

    /// The handler took its datagram, and is busy with something else.
    fn start_busy(&mut self, client: Name) -> SlotId {
        let id = self.start(client);
        self.receives(id);
        self.waits(id, false);
        id
    }

    /// The handler took its datagram, and waits in its next receive.
    fn start_parked(&mut self, client: Name) -> SlotId {
        let id = self.start(client);
        self.receives(id);
        self.waits(id, true);
        id
    }

    /// The handler is busy, and its first datagram waits unreceived in the queue.
    fn start_unreceived(&mut self, client: Name, text: &str) -> SlotId {
        let id = self.start(client);
        self.waits(id, false);
        assert!(matches!(self.queue(id, text), Ok(None)));
        id
    }

    fn queue(&mut self, id: SlotId, text: &str) -> Result<Option<Waker>, DropReason> {
        self.dispatch.queue(id, datagram(text), &self.totals)
    }

    /// Receives from the queue.
    fn take(&self, id: SlotId) -> Taken {
        take(self.dispatch.task(id), &self.totals)
    }

    /// The texts of all that is queued, received in order.
    fn drain(&self, id: SlotId) -> Vec<String> {
        let mut texts = Vec::new();
        while let Taken::Datagram(datagram) = self.take(id) {
            texts.push(String::from_utf8(datagram.bytes.into()).unwrap());
        }
        texts
    }

    /// The handler ends, and leaves the datagram that it was offered, if it was.
    fn end(&mut self, id: SlotId, offered: bool) -> End {
        let before = Arc::as_ptr(self.dispatch.task(id));
        let ended = self.dispatch.end(id, offered, &self.totals);
        let next = ended.next == Next::Start;
        End {
            discarded: ended.discarded,
            next,
            renewed: next && Arc::as_ptr(self.dispatch.task(id)) != before,
            woken: ended.wake.is_some(),
        }
    }

    /// Nobody is known, and nothing is counted.
    fn assert_empty(&self) {
        assert_eq!(self.dispatch.running().count(), 0, "handlers run");
        assert_eq!(self.dispatch.clients(), 0, "clients are known");
        let totals = &self.totals;
        assert_eq!(
            (totals.clients(), totals.datagrams(), totals.bytes()),
            (0, 0, 0)
        );
    }
}
