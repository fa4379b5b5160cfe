//! A running handler in its slot: its future, which is polled in place, and what belongs to it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_protocol::{BoxError, Protocol};

use super::timers::{NEVER, Tick};
use super::wakeup::Wakeup;
use crate::context::Values;
use crate::dispatch::{Postbox, Run, SlotId};
use crate::panics;
use crate::peer::{ClientKey, Peer, Port};
use crate::turn::{self, Parked};

/// A handler, or the place of one. The future does not move; its memory is used again.
pub(super) struct Running<Fut, P> {
    future: Pin<Box<Option<Fut>>>,
    /// What the handler shares with its `Client` and `Requests`.
    pub(super) peer: Arc<Peer<P>>,
    /// The waker that a handler of this slot has kept. Late wake-ups by it, of one that has ended,
    /// poll its successor once more, which every future has to expect.
    own_wakeup: Option<Box<Wakeup>>,
    pub(super) context: Values,
    /// When the waiting receive times out.
    pub(super) deadline: Tick,
    /// This slot's entry in the timers.
    pub(super) entry: Tick,
    /// The number of the receive in another task that the deadline belongs to; 0: the handler's
    /// own.
    pub(super) receive: u32,
    /// A receive began to wait in this turn, and has no deadline yet.
    pub(super) begun: bool,
    /// The deadline has passed, and the handler's receive has not yet been told.
    pub(super) expired: bool,
    /// The handler waits for its own server to shut down.
    pub(super) awaits_shutdown: bool,
}

impl<Fut, P: Protocol> Run for Running<Fut, P> {
    type Client = ClientKey;

    #[inline]
    fn begin(&mut self, client: &ClientKey) {
        match Arc::get_mut(&mut self.peer) {
            Some(peer) => peer.set_client(client),
            None => {
                let port = Arc::clone(&self.peer.port);
                self.peer = Arc::new(Peer::new(port, client, self.peer.slot));
            }
        }
    }

    fn client(&self) -> ClientKey {
        self.peer.client()
    }

    fn postbox(&self) -> &Postbox {
        &self.peer.postbox
    }

    fn is_unshared(&self) -> bool {
        let unshared = Arc::strong_count(&self.peer) == 1;
        fence(Ordering::Acquire); // the other side of what dropping a reference releases
        unshared
    }

    fn unshared(&mut self) -> Option<&mut Postbox> {
        Some(&mut Arc::get_mut(&mut self.peer)?.postbox)
    }
}

/// Slots without a handler that keep their memory, at most: a batch of datagrams and many more.
const KEPT_SLOTS: usize = 1024;

/// The memory that they keep, at most: handlers may be large.
const KEPT_BYTES: usize = 4 << 20;

impl<Fut: Future<Output = Result<(), BoxError>>, P: Protocol> Running<Fut, P> {
    /// How many slots without a handler keep their memory: at least one.
    pub(super) const KEPT: usize =
        match KEPT_BYTES / (size_of::<Fut>() + size_of::<Self>() + size_of::<Peer<P>>()) {
            0 => 1,
            KEPT_SLOTS.. => KEPT_SLOTS,
            fit => fit,
        };

    pub(super) fn new(port: &Arc<Port<P>>, client: &ClientKey, slot: SlotId) -> Self {
        Self {
            future: Box::pin(None),
            peer: Arc::new(Peer::new(Arc::clone(port), client, slot)),
            own_wakeup: None,
            context: Values::none(),
            deadline: NEVER,
            entry: NEVER,
            receive: 0,
            begun: false,
            expired: false,
            awaits_shutdown: false,
        }
    }

    /// A handler is about to start: its context begins with clones of these values, which is user
    /// code.
    #[inline]
    pub(super) fn prepare(&mut self, context: &Values) -> Result<(), String> {
        if !context.is_empty() {
            self.context = panics::catch(|| context.copy())?;
        }
        Ok(())
    }

    /// Takes the shared waker if the poll that has just been made with it has kept it.
    #[inline]
    pub(super) fn own_if_kept(&mut self, shared: &mut Box<Wakeup>) {
        if self.own_wakeup.is_none() && shared.is_kept() {
            let next = Wakeup::new(&self.peer.port.inbox);
            self.own_wakeup = Some(std::mem::replace(shared, next));
        }
    }

    /// Polls the handler, and drops it where it is done. `make` is the user's `handle`, for a new
    /// one. Its context is in force.
    #[inline]
    pub(super) fn poll(
        &mut self,
        make: Option<impl FnOnce(&Arc<Peer<P>>) -> Fut>,
        shared: &Wakeup,
    ) -> Polled {
        let wakeup = self.own_wakeup.as_deref().unwrap_or(shared);
        let (mut future, waker) = (self.future.as_mut(), wakeup.polling(self.peer.slot));
        let mut result = None;
        let panic = panics::catch(|| {
            if let Some(make) = make {
                future.set(Some(make(&self.peer)));
            }
            let Some(running) = future.as_mut().as_pin_mut() else {
                return;
            };
            if let Poll::Ready(ready) = running.poll(&mut Context::from_waker(waker)) {
                result = Some(ready);
                future.set(None);
            }
        });
        match (result, panic.err()) {
            (None, None) => Polled::Waits,
            (Some(result), panic) => Polled::Returned { result, panic },
            (None, Some(message)) => Polled::Panicked(message),
        }
    }

    /// A receive of the handler's own waits. Answers after how long it needs a deadline, if it is a
    /// new one.
    pub(super) fn waits(&mut self, parked: Parked) -> Option<Duration> {
        self.expired = false;
        let timeout = match parked {
            Parked::Still => return None,
            Parked::ForEver => None,
            Parked::For(timeout) => Some(timeout),
        };
        // The deadline of the receive before may pass before this one has its own.
        (self.deadline, self.receive) = (NEVER, 0);
        self.begun = timeout.is_some();
        timeout
    }

    /// Runs what belongs to the handler, but is done by the worker: its error's text and end are
    /// the user's.
    pub(super) fn in_context<T>(&mut self, code: impl FnOnce() -> T) -> T {
        turn::in_context(&mut self.context, code)
    }

    /// Drops the handler, then its context. Both are the user's, and may panic: `panicked` gets the
    /// messages.
    #[inline]
    pub(super) fn clear(&mut self, mut panicked: impl FnMut(String)) {
        (self.expired, self.awaits_shutdown) = (false, false);
        (self.deadline, self.begun, self.receive) = (NEVER, false, 0);
        let mut context = std::mem::take(&mut self.context);
        if self.future.is_some() {
            let future = self.future.as_mut();
            let dropped = panics::catch(|| turn::in_context(&mut context, || drop_future(future)));
            dropped.err().into_iter().for_each(&mut panicked);
        }
        if !context.is_empty() {
            context.into_dropped().for_each(panicked);
        }
    }

    /// The address of what the handler is woken by, when it is polled next.
    pub(super) fn waker_address(&self, shared: &Wakeup) -> usize {
        self.own_wakeup.as_deref().unwrap_or(shared).address()
    }
}

/// What a poll of a handler did.
pub(super) enum Polled {
    Waits,
    /// It returned, and was dropped: perhaps with a panic of its destructor.
    Returned {
        result: Result<(), BoxError>,
        panic: Option<String>,
    },
    Panicked(String),
}

/// Drops a future in place. Where its destructor panics the place is empty all the same.
fn drop_future<Fut>(mut place: Pin<&mut Option<Fut>>) {
    place.set(None);
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
        const { assert!(Running::<Ready<Result<(), BoxError>>, Raw>::KEPT == KEPT_SLOTS) };
        const { assert!(Running::<Large, Raw>::KEPT == 3) };
    }
}
