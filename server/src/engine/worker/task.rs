//! A handler in its slot: its future, which is polled in place, and what belongs to it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::{Context, Poll};

use postbox_protocol::{BoxError, Protocol};

use super::observed::Observed;
use super::timers::{NEVER, Tick};
use super::waker::TaskWaker;
use crate::engine::dispatch::{RunQueue, SlotId, Task};
use crate::engine::report::{Kind, Report};
use crate::engine::run::Run;
use crate::engine::worker_shared::Local;
use crate::handler::ClientKey;
use crate::handler::context::{self, Values, in_context};
use crate::support::panics;

/// A handler, or the place of one. The future does not move; its memory is used again.
pub(super) struct HandlerTask<Fut, P> {
    future: Pin<Box<Option<Fut>>>,
    /// What the handler shares with its `Client` and `Requests`.
    pub(super) run: Arc<Run<P>>,
    /// Boxed, since each waiting client pays for the size of a slot.
    extras: Option<Box<Extras>>,
    /// When the waiting receive times out.
    pub(super) deadline: Tick,
    /// This slot's entry in the timers.
    pub(super) entry: Tick,
}

/// What few handlers need.
#[derive(Default)]
struct Extras {
    /// The waker that a handler of this slot has kept. Late wake-ups by it, of one that has ended,
    /// poll its successor once more, which every future has to expect.
    waker: Option<TaskWaker>,
    context: Values,
    /// The handler waits for its own server to shut down.
    awaits_shutdown: bool,
    /// Between polls.
    observed: Option<Observed>,
}

impl<Fut, P: Protocol> Task for HandlerTask<Fut, P> {
    type Client = ClientKey;

    fn client(&self) -> ClientKey {
        self.run.client()
    }

    #[inline]
    fn is_of(&self, client: &ClientKey) -> bool {
        self.run.is_of(client) // without the copy
    }

    #[inline]
    fn queue(&self) -> &RunQueue {
        &self.run.queue
    }

    #[inline]
    fn is_unshared(&self) -> bool {
        let unshared = Arc::strong_count(&self.run) == 1;
        fence(Ordering::Acquire); // the other side of what dropping a reference releases
        unshared
    }

    fn renew(&mut self) {
        match Arc::get_mut(&mut self.run) {
            Some(run) => run.reset(),
            None => self.run = Arc::new(self.run.next()),
        }
    }
}

/// Slots without a handler that keep their memory, at most: a batch of datagrams and many more.
const KEPT_SLOTS: usize = 1024;

/// The memory that they keep, at most: handlers may be large.
const KEPT_BYTES: usize = 4 << 20;

impl<Fut: Future<Output = Result<(), BoxError>>, P: Protocol> HandlerTask<Fut, P> {
    /// How many slots without a handler keep their memory: at least one.
    pub(super) const KEPT: usize =
        match KEPT_BYTES / (size_of::<Fut>() + size_of::<Self>() + size_of::<Run<P>>()) {
            0 => 1,
            KEPT_SLOTS.. => KEPT_SLOTS,
            fit => fit,
        };

    pub(super) fn new(local: &Arc<Local<P>>, client: &ClientKey, slot: SlotId) -> Self {
        Self {
            future: Box::pin(None),
            run: Arc::new(Run::new(local, client, slot)),
            extras: None,
            deadline: NEVER,
            entry: NEVER,
        }
    }

    /// Another client's handler is about to begin in this place.
    #[inline]
    pub(super) fn begin(&mut self, local: &Arc<Local<P>>, client: &ClientKey) {
        match Arc::get_mut(&mut self.run) {
            Some(run) => run.begin(local, client),
            None => self.run = Arc::new(Run::new(local, client, self.run.slot)),
        }
    }

    #[cold]
    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// The values of the context variables that the handler begins with.
    pub(super) fn set_context(&mut self, values: Values) {
        self.extras().context = values;
    }

    /// The run goes on.
    pub(super) fn keep_observed(&mut self, observed: Observed) {
        self.extras().observed = Some(observed);
    }

    #[inline]
    pub(super) fn is_observed(&self) -> bool {
        let extras = self.extras.as_ref();
        extras.is_some_and(|extras| extras.observed.is_some())
    }

    pub(super) fn take_observed(&mut self) -> Option<Observed> {
        self.extras.as_mut()?.observed.take()
    }

    /// Runs what belongs to the handler with its context variables in force.
    #[inline]
    pub(super) fn in_context<T>(&mut self, code: impl FnOnce(&mut Self) -> T) -> T {
        // Most handlers set nothing, and then there is nothing to put in force.
        if self.extras.is_none() && context::none_in_force() {
            let result = code(self);
            if !context::none_in_force() {
                self.keep_context(context::take());
            }
            return result;
        }
        self.in_own_context(code)
    }

    fn in_own_context<T>(&mut self, code: impl FnOnce(&mut Self) -> T) -> T {
        let extras = self.extras.as_mut();
        let mut context = extras.map_or(Values::none(), |one| std::mem::take(&mut one.context));
        let result = in_context(&mut context, || code(self));
        self.keep_context(context);
        result
    }

    #[cold]
    fn keep_context(&mut self, context: Values) {
        if !context.is_empty() {
            self.extras().context = context;
        }
    }

    /// What the handler is woken by: a waker of its own, or the one that all share.
    #[inline]
    pub(super) fn waker<'a>(&'a self, shared: &'a TaskWaker) -> &'a TaskWaker {
        waker(&self.extras, shared)
    }

    /// Takes the shared waker if the poll that has just been made with it has kept it.
    #[inline]
    pub(super) fn own_if_kept(&mut self, shared: &mut TaskWaker) {
        if shared.is_kept() {
            let next = TaskWaker::new(&self.run.worker().inject);
            self.extras().waker = Some(std::mem::replace(shared, next));
        }
    }

    /// Polls the handler, and drops it where it is done. `make` is the user's `handle`, for a new
    /// one.
    #[inline]
    pub(super) fn poll(
        &mut self,
        make: Option<impl FnOnce(&Arc<Run<P>>) -> Fut>,
        shared: &TaskWaker,
    ) -> Polled {
        let waker = waker(&self.extras, shared).polling(self.run.slot);
        let mut future = self.future.as_mut();
        let mut result = None;
        let panic = panics::catch(|| {
            if let Some(make) = make {
                future.set(Some(make(&self.run)));
            }
            let Some(running) = future.as_mut().as_pin_mut() else {
                return;
            };
            if let Poll::Ready(ready) = running.poll(&mut Context::from_waker(waker)) {
                result = Some(ready);
                future.set(None);
            }
        });
        match (result, panic) {
            (None, Ok(())) => Polled::Waits,
            (None, Err(message)) => Polled::Panicked(message),
            (Some(result), panic) => Polled::Returned(result, panic),
        }
    }

    /// Whether the handler waits for its own server to shut down.
    pub(super) fn awaits_shutdown(&self) -> bool {
        let extras = self.extras.as_ref();
        extras.is_some_and(|extras| extras.awaits_shutdown)
    }

    pub(super) fn set_awaits_shutdown(&mut self, awaits: bool) {
        if awaits != self.awaits_shutdown() {
            self.extras().awaits_shutdown = awaits;
        }
    }

    /// Drops the handler, then its context. Both are the user's, and may panic.
    #[inline]
    pub(super) fn clear(&mut self, report: &mut Report) {
        self.deadline = NEVER;
        // One that has returned is gone already, and most have no context.
        if self.future.is_some() || self.extras.is_some() {
            self.clear_all(report);
        }
    }

    #[cold]
    fn clear_all(&mut self, report: &mut Report) {
        let client = self.run.remote;
        let dropped = self.in_context(|task| panics::catch(|| task.future.set(None)));
        if let Err(message) = dropped {
            report.panicked(Kind::DropPanicked, client, &message);
        }
        if let Some(extras) = &mut self.extras {
            let context = std::mem::take(&mut extras.context);
            for message in context.into_dropped() {
                report.panicked(Kind::VariablePanicked, client, &message);
            }
        }
    }
}

#[inline]
fn waker<'a>(extras: &'a Option<Box<Extras>>, shared: &'a TaskWaker) -> &'a TaskWaker {
    let own = extras.as_deref().and_then(|extras| extras.waker.as_ref());
    own.unwrap_or(shared)
}

/// What a poll of a handler did.
pub(super) enum Polled {
    Waits,
    /// It returned, and was dropped: perhaps with a panic of its destructor.
    Returned(Result<(), BoxError>, Result<(), String>),
    Panicked(String),
}

#[cfg(test)]
mod tests {
    use std::future::Ready;

    use postbox_protocol::{DatagramProtocol, RawSerializer};

    use super::*;

    type Raw = DatagramProtocol<RawSerializer>;

    /// A handler that needs much memory.
    struct Large(#[allow(dead_code)] [u8; 1 << 20]);

    impl Future for Large {
        type Output = Result<(), BoxError>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn l2_large_handlers_leave_little_memory_behind_too() {
        const { assert!(HandlerTask::<Ready<Result<(), BoxError>>, Raw>::KEPT == KEPT_SLOTS) };
        const { assert!(HandlerTask::<Large, Raw>::KEPT == 3) };
    }
}
