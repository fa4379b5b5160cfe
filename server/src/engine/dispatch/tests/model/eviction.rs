//! Handlers that make room for newcomers.

use super::script::Script;
use super::*;

impl Script {
    /// Who makes room for a newcomer, one slot after the other: they are fewer than the hand looks
    /// at.
    pub(super) fn makes_room(&mut self) -> Arrival {
        let mut last = None;
        if self.when_full == WhenFull::Refuse {
            return Arrival::Drop(DropReason::Clients);
        }
        for _ in 0..self.slots {
            let at = self.hand % self.slots;
            self.hand = at + 1;
            let mut models = self.handlers.values_mut();
            let Some((id, model)) = models.find(|(id, _)| *id as usize == at) else {
                continue;
            };
            let marked = std::mem::take(&mut model.marked);
            if model.parked {
                last = Some(*id);
                if !marked {
                    break;
                }
            }
        }
        last.map_or(Arrival::Drop(DropReason::Clients), Arrival::Evict)
    }

    /// A handler makes room, or another task has just taken its receive over.
    pub(super) fn evict(
        &mut self,
        id: SlotId,
        newcomer: Name,
        datagram: QueuedDatagram,
        seen: &mut Seen,
    ) -> Option<QueuedDatagram> {
        let run = self.dispatch.task(id);
        let evicted = run.client;
        self.tell("evicts", &(evicted, newcomer));
        if self.random.one_in(8) {
            seen.add("arrival evicts nobody");
            let full = Arrival::Drop(DropReason::Clients);
            assert_eq!(self.dispatch.after_eviction(self.dispatch.clients()), full);
            self.dropped += 1;
            return None;
        }
        let before = self.dispatch.clients();
        assert!(run.queue.evict());
        seen.add("arrival evicts");
        // What came with the datagram is the newcomer's.
        let ended = self.end(evicted, id, false, seen);
        assert_eq!(
            ended,
            (false, false),
            "one that waits has received, and has nothing queued"
        );
        assert_eq!(self.dispatch.after_eviction(before), Arrival::Start);
        self.start(newcomer, seen);
        self.poll(newcomer, Some(datagram), seen)
    }
}
