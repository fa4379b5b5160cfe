//! A running handler in its slot: its future, which is polled in place, and what belongs to it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_protocol::{BoxError, Protocol};

use super::timers::{BEGUN, NEVER, Tick};
use super::wakeup::Wakeup;
use crate::client_key::ClientKey;
use crate::context::Values;
use crate::dispatch::{Postbox, Run, SlotId};
use crate::panics;
use crate::peer::Peer;
use crate::port::Local;
use crate::report;
use crate::turn::{self, Parked, Turn};

/// A handler, or the place of one. The future does not move; its memory is used again.
pub(super) struct Running<Fut, P> {
    future: Pin<Box<Option<Fut>>>,
    /// What the handler shares with its `Client` and `Requests`.
    pub(super) peer: Arc<Peer<P>>,
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
    wakeup: Option<Wakeup>,
    context: Values,
    /// The number of the receive in another task that the deadline belongs to; 0: the handler's
    /// own.
    receive: u32,
    /// The handler waits for its own server to shut down.
    awaits_shutdown: bool,
}

impl<Fut, P: Protocol> Run for Running<Fut, P> {
    type Client = ClientKey;

    fn renew(&mut self) {
        let peer = &self.peer;
        self.peer = Arc::new(Peer::new(peer.local(), peer.remote, peer.slot));
    }

    fn client(&self) -> ClientKey {
        self.peer.client()
    }

    #[inline]
    fn is_of(&self, client: &ClientKey) -> bool {
        self.peer.is_of(client) // without the copy
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

    pub(super) fn new(local: &Arc<Local<P>>, remote: SocketAddr, slot: SlotId) -> Self {
        Self {
            future: Box::pin(None),
            peer: Arc::new(Peer::new(local, remote, slot)),
            extras: None,
            deadline: NEVER,
            entry: NEVER,
        }
    }

    /// Another client's handler is about to begin in this place.
    #[inline]
    pub(super) fn begin(&mut self, local: &Arc<Local<P>>, remote: SocketAddr) {
        match Arc::get_mut(&mut self.peer) {
            Some(peer) => peer.set_client(local, remote),
            None => self.peer = Arc::new(Peer::new(local, remote, self.peer.slot)),
        }
    }

    /// A handler is about to start: its context begins with clones of these values, which is user
    /// code.
    #[inline]
    pub(super) fn prepare(&mut self, context: &Values) -> Result<(), String> {
        if !context.is_empty() {
            self.extras().context = panics::catch(|| context.copy())?;
        }
        Ok(())
    }

    #[cold]
    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Puts the handler's context variables in force, or those that were in force before.
    #[inline]
    pub(super) fn swap_context(&mut self, turn: &mut Turn) {
        // Most handlers set nothing.
        if self.extras.is_some() || !turn.context.is_empty() {
            std::mem::swap(&mut turn.context, &mut self.extras().context);
        }
    }

    fn take_context(&mut self) -> Values {
        let extras = self.extras.as_deref_mut();
        extras.map_or(Values::none(), |extras| std::mem::take(&mut extras.context))
    }

    /// The address of what the handler is woken by, when it is polled next.
    #[inline]
    pub(super) fn waker_address(&self, shared: &Wakeup) -> usize {
        wakeup(&self.extras, shared).address()
    }

    /// Takes the shared waker if the poll that has just been made with it has kept it.
    #[inline]
    pub(super) fn own_if_kept(&mut self, shared: &mut Wakeup) {
        if shared.is_kept() {
            self.own(shared);
        }
    }

    #[cold]
    fn own(&mut self, shared: &mut Wakeup) {
        let next = Wakeup::new(&self.peer.port().inbox);
        self.extras().wakeup = Some(std::mem::replace(shared, next));
    }

    /// Polls the handler, and drops it where it is done. `make` is the user's `handle`, for a new
    /// one. Its context is in force.
    #[inline]
    pub(super) fn poll(
        &mut self,
        make: Option<impl FnOnce(&Arc<Peer<P>>) -> Fut>,
        shared: &Wakeup,
    ) -> Polled {
        let waker = wakeup(&self.extras, shared).polling(self.peer.slot);
        let mut future = self.future.as_mut();
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
        match (result, panic) {
            (None, Ok(())) => Polled::Waits,
            (None, Err(message)) => Polled::Panicked(message),
            (Some(result), panic) => Polled::Returned(result, panic),
        }
    }

    /// A receive of the handler's own waits. Answers after how long it needs a deadline, if it is a
    /// new one.
    pub(super) fn waits(&mut self, parked: Parked) -> Option<Duration> {
        let timeout = match parked {
            Parked::Still => return None,
            Parked::ForEver => None,
            Parked::For(timeout) => Some(timeout),
        };
        // The deadline of the receive before may pass before this one has its own.
        self.deadline = if timeout.is_some() { BEGUN } else { NEVER };
        self.set_receive(0);
        timeout
    }

    /// The number of the receive in another task that the deadline belongs to; 0: the handler's
    /// own.
    pub(super) fn receive(&self) -> u32 {
        self.extras.as_ref().map_or(0, |extras| extras.receive)
    }

    pub(super) fn set_receive(&mut self, number: u32) {
        if number != self.receive() {
            self.extras().receive = number;
        }
    }

    /// Whether the handler waits for its own server to shut down.
    pub(super) fn awaits_shutdown(&self) -> bool {
        self.extras
            .as_ref()
            .is_some_and(|extras| extras.awaits_shutdown)
    }

    pub(super) fn set_awaits_shutdown(&mut self, awaits: bool) {
        if awaits != self.awaits_shutdown() {
            self.extras().awaits_shutdown = awaits;
        }
    }

    /// Runs what belongs to the handler, but is done by the worker: its error's text and end are
    /// the user's.
    pub(super) fn in_context<T>(&mut self, code: impl FnOnce() -> T) -> T {
        let mut context = self.take_context();
        let done = turn::in_context(&mut context, code);
        if !context.is_empty() {
            self.extras().context = context;
        }
        done
    }

    /// Drops the handler, then its context. Both are the user's, and may panic.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.deadline = NEVER;
        // One that has returned is gone already, and most have no context.
        if self.future.is_some() || self.extras.is_some() {
            self.clear_all();
        }
    }

    #[cold]
    fn clear_all(&mut self) {
        let client = self.peer.remote;
        let panicked = |message: String| report::handler_panicked(client, &message);
        let mut context = self.take_context();
        if let Some(extras) = &mut self.extras {
            (extras.receive, extras.awaits_shutdown) = (0, false);
        }
        if self.future.is_some() {
            let future = self.future.as_mut();
            let dropped = panics::catch(|| turn::in_context(&mut context, || drop_future(future)));
            dropped.err().into_iter().for_each(panicked);
        }
        if !context.is_empty() {
            context.into_dropped().for_each(panicked);
        }
    }
}

/// What a handler is woken by: a waker of its own, or the one that it is lent.
#[inline]
fn wakeup<'a>(extras: &'a Option<Box<Extras>>, shared: &'a Wakeup) -> &'a Wakeup {
    let own = extras.as_deref().and_then(|extras| extras.wakeup.as_ref());
    own.unwrap_or(shared)
}

/// What a poll of a handler did.
pub(super) enum Polled {
    Waits,
    /// It returned, and was dropped: perhaps with a panic of its destructor.
    Returned(Result<(), BoxError>, Result<(), String>),
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
