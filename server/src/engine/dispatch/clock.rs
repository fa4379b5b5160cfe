//! Who makes room for a newcomer where too many clients wait: one clock hand over the slots.
//!
//! It goes round, and takes the first handler that waits in its own receive and whose client has
//! sent nothing since it came by last, or ever but its first datagram. So a flood of forged first
//! datagrams drives out itself before it drives out conversations: n a second leave each client
//! that is silent about (bound / n) seconds, and others longer. All that takes one bit a run and
//! a few steps a newcomer.

use super::{Arrival, Dispatch, DropReason, SlotId, Task};
use crate::config::WhenFull;

/// The slots that are looked at for one newcomer: with half of all clients in mid-conversation, one
/// eviction in 65,536 finds no other.
pub(super) const LOOKS: usize = 16;

impl<T: Task> Dispatch<T> {
    /// There is no room for one more client.
    #[cold]
    pub(super) fn make_room(&mut self) -> Arrival {
        let full = Arrival::Drop(DropReason::Clients);
        if self.when_full == WhenFull::Refuse {
            return full;
        }
        let mut last = None;
        for _ in 0..LOOKS.min(self.slots.len()) {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            let Some(slot) = self.slots[at].as_mut().filter(|slot| slot.listed) else {
                continue;
            };
            let marked = std::mem::take(&mut slot.marked);
            if slot.task.queue().waits_on_worker() {
                last = Some(at);
                if !marked {
                    break;
                }
            }
        }
        last.map_or(full, |at| Arrival::Evict(at as SlotId))
    }

    /// The handler that was to make room has been told so; `before` it so many clients were here.
    /// What becomes of the datagram that needs it: a handler may shut the server down, or stay, as
    /// another task has just taken its receive over.
    pub(crate) fn after_eviction(&self, before: usize) -> Arrival {
        if self.closing {
            Arrival::Drop(DropReason::Shutdown)
        } else if self.clients() < before {
            Arrival::Start
        } else {
            Arrival::Drop(DropReason::Clients)
        }
    }

    /// How many handlers here wait: one for each client, or one for each datagram.
    pub(crate) fn clients(&self) -> usize {
        self.table.len() + self.groups.runs()
    }
}
