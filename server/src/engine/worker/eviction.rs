//! A handler that waits is ended in favour of a newcomer, as `dispatch/clock.rs` has decided.

use super::Worker;
use super::served::Served;
use crate::engine::current;
use crate::engine::dispatch::SlotId;
use crate::engine::report::Kind;

impl<S: Served> Worker<S> {
    /// Has the handler in a slot told that it is evicted, polls it for that, and cancels it if it
    /// does not end. Where another task has just taken its receive over, it stays.
    ///
    /// This is in the middle of a batch: the handler is offered nothing, neither the newcomer's
    /// datagram nor those that came with it.
    #[cold]
    pub(super) fn evict(&mut self, id: SlotId) {
        if !self.dispatch.task(id).run.queue.evict() {
            return;
        }
        let client = self.dispatch.task(id).run.remote;
        self.report.lost(Kind::Evictions, Some(&client), 1);
        let behind = current::with(|context| std::mem::take(&mut context.delivery.behind));
        self.evicting = true;
        self.poll_slot(id);
        self.evicting = false;
        // A shutdown may have begun, by its own doing or another's: then it has its grace.
        if self.dispatch.is_running(id) && !self.is_closing() {
            self.shared.counters.handlers_evicted.add(1);
            self.cancel(id);
        }
        self.close_if_asked();
        if let Some(behind) = behind {
            current::with(|context| context.delivery.behind = behind);
        }
    }
}
