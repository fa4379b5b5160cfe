//! A handler that waits is ended in favour of a newcomer, as `dispatch/clock.rs` has decided.

use super::Worker;
use super::served::Served;
use crate::engine::current;
use crate::engine::dispatch::SlotId;
use crate::engine::report::Kind;

impl<S: Served> Worker<S> {
    /// Has the handler in a slot told that it is evicted, polls it for that, and cancels it if it
    /// does not end. It stays where it does not itself wait in that receive.
    ///
    /// This is in the middle of a batch: the handler is offered nothing, neither the newcomer's
    /// datagram nor those that came with it.
    #[cold]
    pub(super) fn evict(&mut self, id: SlotId) {
        if !self.dispatch.task(id).run.queue.evict() {
            return;
        }
        let client = self.dispatch.task(id).run.remote;
        let behind = current::with(|context| std::mem::take(&mut context.delivery.behind));
        self.evicting = true;
        self.poll_slot(id);
        self.evicting = false;
        let runs = self.dispatch.is_running(id);
        if !(runs && self.stays(id)) {
            self.report.lost(Kind::Evictions, Some(&client), 1);
            if runs {
                self.shared.counters.handlers_evicted.add(1);
                self.cancel(id, "evicted");
            }
        }
        self.close_if_asked();
        if let Some(behind) = behind {
            current::with(|context| context.delivery.behind = behind);
        }
    }

    /// Whether the handler may go on that was told. A shutdown may have begun, by its own doing or
    /// another's: then it has its grace. And one that did not hear it waits for something else: a
    /// stream's receive outlives its polls.
    fn stays(&self, id: SlotId) -> bool {
        self.is_closing() || self.dispatch.task(id).run.queue.take_back_eviction()
    }
}
