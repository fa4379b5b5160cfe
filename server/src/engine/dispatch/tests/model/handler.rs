//! What handlers do when they are polled.

use super::elsewhere::Elsewhere;
use super::script::{Script, number};
use super::*;

impl Script {
    pub(super) fn start(&mut self, client: Name, seen: &mut Seen) {
        let mut made = false;
        let make = |_| {
            made = true;
            Shared::new(client)
        };
        let id = self.dispatch.start(make, |run| begin(run, client));
        if !made {
            seen.add("a place is used again");
        }
        self.slots = self.slots.max(id as usize + 1);
        self.handlers.insert(client, (id, Model::default()));
        self.check_start(client, id);
    }

    /// A handler that starts finds nothing but what is queued for it.
    pub(super) fn check_start(&self, client: Name, id: SlotId) {
        let run = self.dispatch.task(id);
        assert_eq!((run.client, Arc::strong_count(run)), (client, 1));
        assert_eq!(run.queue.len(), self.handlers[&client].1.queue.len());
    }

    /// Copies a datagram into the queue.
    pub(super) fn queue(&mut self, client: Name, datagram: QueuedDatagram, seen: &mut Seen) {
        let (number, cost) = (number(&datagram), datagram.cost());
        let (id, model) = self.handlers.get_mut(&client).unwrap();
        let bytes: usize = model.queue.iter().map(|number| self.costs[number]).sum();
        let waits = self.elsewhere.get_mut(&client).filter(|task| task.waiting);
        let free = self.max_bytes - self.totals.bytes();
        let own = model.queue.len() == self.limits.datagrams || bytes + cost > self.limits.bytes;
        let spare = free.saturating_sub(self.max_bytes / 8) / 4;
        let most = spare.max(self.max_bytes / 16_384);
        let share = cost <= free && bytes > 0 && bytes + cost > most;
        let full = own || share;
        let queued = self.dispatch.queue(*id, datagram, &self.totals);
        if let Err(reason) = queued {
            let total_full = self.totals.bytes() + cost > self.max_bytes;
            let expected = match (full, total_full) {
                (true, _) => DropReason::ClientBound,
                (false, true) => DropReason::TotalBound,
                (false, false) => panic!("dropped for no reason: {reason:?}"),
            };
            assert_eq!(reason, expected);
            seen.add(if full {
                "dropped: client's bound"
            } else {
                "dropped: total"
            });
            model.received |= model.queue.is_empty(); // the first is gone, and no other goes for it
            self.dropped += 1;
            return;
        }
        assert!(!full, "over a client's bound");
        model.queue.push_back(number);
        model.parked = false;
        match (queued, waits) {
            (Ok(Some(_)), Some(task)) => {
                task.waiting = false;
                seen.add("queued: wake");
            }
            (Ok(None), None) => seen.add("queued"),
            (queued, waits) => panic!("{queued:?}, elsewhere: {}", waits.is_some()),
        }
    }

    /// One poll of a handler, which does this and that, and then waits or ends; then those of its
    /// successors, as long as something is queued. Once it has received what it is offered, it is
    /// offered what is behind it. Returns what its end left of the offer, to arrive again.
    pub(super) fn poll(
        &mut self,
        client: Name,
        mut offered: Option<QueuedDatagram>,
        seen: &mut Seen,
    ) -> Option<QueuedDatagram> {
        loop {
            let id = self.handlers[&client].0;
            let behind = self.behind.len();
            let parked = self.handler_receives(client, id, &mut offered);
            let more = self.behind.len() < behind;
            if offered.is_some() {
                seen.add("offered datagram left");
            }
            if parked || !self.random.one_in(3) {
                self.waits(client, id, parked, offered, seen);
                if more {
                    self.dispatch.mark(id); // as a worker does
                    self.handlers.get_mut(&client).unwrap().1.marked = true;
                }
                return None;
            }
            let (discarded, next) = self.end(client, id, offered.is_some(), seen);
            let again = offered.take().filter(|_| !discarded);
            if !next {
                if again.is_some() {
                    seen.add("end: the offered datagram arrives again");
                }
                return again;
            }
            assert!(
                again.is_none(),
                "nothing is offered where something is queued"
            );
            self.check_start(client, id);
        }
    }

    /// The handler receives as often as it likes. Returns whether it waits in a receive then.
    fn handler_receives(
        &mut self,
        client: Name,
        id: SlotId,
        offered: &mut Option<QueuedDatagram>,
    ) -> bool {
        if self.closing || self.elsewhere.contains_key(&client) {
            return false; // its receives answer closed, or it gave its requests away
        }
        let was_offered = offered.is_some();
        for _ in 0..self.random.below(4) {
            if let Some(datagram) = offered.take() {
                self.dispatch.task(id).queue.set_received();
                self.handlers.get_mut(&client).unwrap().1.received = true;
                self.deliver(client, &datagram);
            } else if let Some(datagram) = was_offered.then(|| self.behind.pop_front()).flatten() {
                self.deliver(client, &datagram);
            } else if self.dispatch.task(id).queue.is_filled() {
                let taken = take(self.dispatch.task(id), &self.totals);
                match (
                    taken,
                    self.handlers.get_mut(&client).unwrap().1.queue.pop_front(),
                ) {
                    (Taken::Empty, None) => return true,
                    (Taken::Datagram(datagram), Some(next)) => {
                        assert_eq!(number(&datagram), next);
                        self.handlers.get_mut(&client).unwrap().1.received = true;
                        self.deliver(client, &datagram);
                    }
                    (taken, next) => panic!("{taken:?}, expected {next:?}"),
                }
            } else {
                assert!(
                    self.handlers[&client].1.queue.is_empty(),
                    "nothing is overlooked"
                );
                return true;
            }
        }
        if self.random.one_in(6) {
            let run = Arc::clone(self.dispatch.task(id));
            run.queue.set_not_waiting(); // its own receive is dropped
            self.elsewhere.insert(client, Elsewhere::new(run));
        }
        false
    }

    fn waits(
        &mut self,
        client: Name,
        id: SlotId,
        parked: bool,
        offered: Option<QueuedDatagram>,
        seen: &mut Seen,
    ) {
        seen.add(if parked {
            "handler parked"
        } else {
            "handler busy"
        });
        if !self.elsewhere.contains_key(&client) {
            let queue = &self.dispatch.task(id).queue;
            if parked {
                queue.set_on_worker();
                queue.set_empty();
            } else {
                queue.set_not_waiting();
            }
        }
        self.dispatch.mark_pending(id, &self.totals);
        let (_, model) = self.handlers.get_mut(&client).unwrap();
        model.parked = parked;
        self.tell("waits", &(client, parked));
        if let Some(datagram) = offered {
            self.queue(client, datagram, seen);
        }
    }

    /// The handler ends. Returns whether a datagram is discarded, and whether another starts.
    pub(super) fn end(
        &mut self,
        client: Name,
        id: SlotId,
        offered: bool,
        seen: &mut Seen,
    ) -> (bool, bool) {
        let (_, model) = self.handlers.get_mut(&client).unwrap();
        let (discarded, next) = model.end(offered);
        let woken = self.elsewhere.get(&client).is_some_and(|task| task.waiting);
        let shared = Arc::strong_count(self.dispatch.task(id)) > 1;
        let before = Arc::as_ptr(self.dispatch.task(id));
        let ended = self.dispatch.end(id, offered, &self.totals);
        self.tell("ended", &(client, offered, discarded, next));
        assert_eq!(ended.discarded, discarded);
        assert_eq!(ended.wake.is_some(), woken);
        self.discarded += usize::from(discarded);
        self.forget_elsewhere(client, seen);
        assert_eq!(ended.next == Next::Start, next);
        if next {
            let renewed = Arc::as_ptr(self.dispatch.task(id)) != before;
            assert_eq!(renewed, shared);
        } else {
            self.handlers.remove(&client);
        }
        seen.add(match (discarded, next) {
            (true, true) => "end: discards, and another starts",
            (true, false) => "end: discards",
            (_, true) => "end: another starts",
            (_, false) if shared => "end: forgotten, run kept by somebody",
            (_, false) => "end: forgotten",
        });
        (discarded, next)
    }
}
