//! From a client's address to the slot of its running handler.

use std::hash::Hash;

use ahash::RandomState;
use hashbrown::HashTable;

use super::SlotId;

/// Four bytes a client: the addresses themselves stay in the slots. Addresses are chosen by
/// strangers, so the hasher is keyed at random (as SipHash, which takes 9 ns more). It decides
/// nothing that anybody sees: the table is never gone through.
pub(super) struct Table {
    slots: HashTable<SlotId>,
    hasher: RandomState,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            slots: HashTable::new(),
            hasher: RandomState::new(),
        }
    }

    #[inline(always)] // on every datagram's path, and mostly there is nothing to find
    pub(super) fn find<A: Hash>(
        &self,
        client: &A,
        is_its: impl Fn(SlotId) -> bool,
    ) -> Option<SlotId> {
        if self.slots.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(client);
        self.slots.find(hash, |id| is_its(*id)).copied()
    }

    pub(super) fn insert<A: Hash>(&mut self, id: SlotId, client_of: impl Fn(SlotId) -> A) {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(client_of(id));
        self.slots
            .insert_unique(hash, id, |id| hasher.hash_one(client_of(*id)));
    }

    pub(super) fn remove<A: Hash>(&mut self, id: SlotId, client: &A) {
        let hash = self.hasher.hash_one(client);
        if let Ok(entry) = self.slots.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
    }

    /// How many clients are in it.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}
