//! What handlers do when they are polled.

use super::elsewhere::Elsewhere;
use super::script::{Script, number};
use super::*;

impl Script {
    pub(super) fn start(&mut self, client: Name, seen: &mut Seen) {
        let mut made = false;
        let make = |_| {
            made = true;
            Peer::new(client)
        };
        let id = self.dispatch.start(make, |run| begin(run, client));
        if !made {
            seen.add("a place is used again");
        }
        self.handlers.insert(client, (id, Model::default()));
        self.check_start(client, id);
    }

    /// A handler that starts finds nothing but what is queued for it.
    pub(super) fn check_start(&self, client: Name, id: SlotId) {
        let run = self.dispatch.run(id);
        assert_eq!((run.client, Arc::strong_count(run)), (client, 1));
        assert_eq!(run.postbox.len(), self.handlers[&client].1.queue.len());
    }

    /// Copies a datagram into the mailbox. Answers whether the handler is to be polled.
    pub(super) fn queue(&mut self, client: Name, datagram: Datagram, seen: &mut Seen) -> bool {
        let (number, cost) = (number(&datagram), datagram.cost());
        let (id, model) = self.handlers.get_mut(&client).unwrap();
        let bytes: usize = model.queue.iter().map(|number| self.costs[number]).sum();
        let waits = self.elsewhere.get_mut(&client).filter(|task| task.waiting);
        let full = model.queue.len() == self.limits.datagrams || bytes + cost > self.limits.bytes;
        let queued = self.dispatch.queue(*id, datagram, &self.totals);
        if let Queued::Dropped(reason) = queued {
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
            return false;
        }
        assert!(!full, "over a client's bound");
        let told = std::mem::replace(&mut model.told, true);
        model.queue.push_back(number);
        model.parked = false;
        match (queued, waits) {
            (Queued::Wake(_), Some(task)) => {
                task.waiting = false;
                seen.add("queued: wake");
                false
            }
            (Queued::Nothing, None) if told => {
                seen.add("queued: told already");
                false
            }
            (Queued::Poll, None) if !told => {
                seen.add("queued: poll");
                true
            }
            (queued, waits) => panic!("{queued:?}, told: {told}, elsewhere: {}", waits.is_some()),
        }
    }

    /// One poll of a handler, which does this and that, and then waits or ends. Once it has
    /// received what it is lent, it is lent what is behind it.
    pub(super) fn poll(&mut self, client: Name, mut lent: Option<Datagram>, seen: &mut Seen) {
        loop {
            let id = self.handlers[&client].0;
            let was_lent = lent.is_some();
            let parked = self.handler_receives(client, id, &mut lent);
            let mut hand = match (was_lent, &lent) {
                (false, _) => Hand::Empty,
                (true, None) => Hand::Taken,
                (true, Some(_)) => Hand::Left,
            };
            if hand == Hand::Left {
                seen.add("lent datagram left");
            }
            if parked || !self.random.one_in(3) {
                return self.waits(client, id, hand, parked, lent, seen);
            }
            if hand == Hand::Taken && !self.behind.is_empty() {
                seen.add("end: one behind is next");
                (lent, hand) = (self.behind.pop_front(), Hand::Next);
            }
            if !self.end(client, id, hand, seen) {
                return;
            }
            self.check_start(client, id);
        }
    }

    /// The handler receives as often as it likes. Answers whether it waits in a receive then.
    fn handler_receives(&mut self, client: Name, id: SlotId, lent: &mut Option<Datagram>) -> bool {
        if self.closing || self.elsewhere.contains_key(&client) {
            return false; // its receives answer closed, or it gave its requests away
        }
        let was_lent = lent.is_some();
        for _ in 0..self.random.below(4) {
            if let Some(datagram) = lent.take() {
                self.deliver(client, &datagram);
            } else if let Some(datagram) = was_lent.then(|| self.behind.pop_front()).flatten() {
                self.deliver(client, &datagram);
            } else if self.dispatch.may_have_queued(id) {
                let taken = self.dispatch.run(id).open().take(0, &self.totals);
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
            let run = Arc::clone(self.dispatch.run(id));
            self.elsewhere.insert(client, Elsewhere::new(run));
        }
        false
    }

    fn waits(
        &mut self,
        client: Name,
        id: SlotId,
        hand: Hand,
        parked: bool,
        lent: Option<Datagram>,
        seen: &mut Seen,
    ) {
        seen.add(if parked {
            "handler parked"
        } else {
            "handler busy"
        });
        self.dispatch.waits(id, hand, parked, &self.totals);
        let (_, model) = self.handlers.get_mut(&client).unwrap();
        model.parked = parked;
        model.received |= hand == Hand::Taken;
        if parked {
            model.told = false;
        }
        self.tell("waits", &(client, hand, parked));
        if let Some(datagram) = lent {
            self.queue(client, datagram, seen);
        }
    }

    /// The handler ends. Answers whether another starts, and has dropped the lent datagram
    /// otherwise.
    pub(super) fn end(&mut self, client: Name, id: SlotId, hand: Hand, seen: &mut Seen) -> bool {
        let (_, model) = self.handlers.get_mut(&client).unwrap();
        let (discarded, next) = model.end(hand);
        let lent_next = next && model.queue.is_empty();
        let woken = self.elsewhere.get(&client).is_some_and(|task| task.waiting);
        let shared = Arc::strong_count(self.dispatch.run(id)) > 1;
        let before = Arc::as_ptr(self.dispatch.run(id));
        let ended = self.dispatch.end(id, hand, &self.totals);
        self.tell("ended", &(client, hand, discarded, next));
        assert_eq!(usize::from(ended.discarded), discarded);
        assert_eq!(ended.wake.is_some(), woken);
        self.discarded += discarded;
        self.forget_elsewhere(client, seen);
        assert_eq!(ended.next == Next::Start, next);
        if next {
            let renewed = Arc::as_ptr(self.dispatch.run(id)) != before;
            assert_eq!(renewed, shared);
        } else {
            self.handlers.remove(&client);
        }
        seen.add(match (discarded, next) {
            (1, true) => "end: discards, and another starts",
            (1, false) => "end: discards",
            (_, true) if lent_next => "end: the lent datagram is next",
            (_, true) => "end: another starts",
            (_, false) if shared => "end: forgotten, run kept by somebody",
            (_, false) => "end: forgotten",
        });
        next
    }
}
