//! What a handler receives from its client.

#[cfg(test)]
mod tests;
mod wait;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use postbox_protocol::Protocol;

use crate::dispatch::Taken;
use crate::error::RecvError;
use crate::inbox::{After, Alarm};
use crate::panics;
use crate::peer::Peer;
use crate::turn::{self, Place};
use wait::{Patience, Wait};

/// The requests of one client, in the order in which they arrived, for one run of its handler.
///
/// The first is there when the handler starts, and is parsed when it is received. What the client
/// sends meanwhile waits in its bounded postbox. A `Requests` that is kept after its handler has
/// ended only ever answers [`RecvError::Closed`].
///
/// It is also a [`Stream`] of `Result<Request, RecvError>`. It goes on after errors, also after
/// *timed out*, and ends where `recv` would answer closed.
pub struct Requests<Request> {
    run: Arc<dyn Receive<Request>>,
}

impl<Request> Requests<Request> {
    pub(crate) fn new<P>(run: Arc<Peer<P>>) -> Self
    where
        P: Protocol<Received = Request>,
    {
        Self { run }
    }

    /// Receives and parses the next request, waiting for it at most the idle limit
    /// ([`Limits::idle`](crate::Limits::idle), 5 minutes by default).
    ///
    /// # Errors
    ///
    /// [`RecvError`] says what was wrong with this datagram, or that none came. The handler may go
    /// on receiving after each, except after [`RecvError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no datagram.
    pub fn recv(&mut self) -> Recv<'_, Request> {
        self.begin(Patience::Idle)
    }

    /// Receives and parses the next request, waiting for it at most `timeout`.
    ///
    /// The timeout does not matter for a datagram that is there already. Zero answers
    /// [`RecvError::TimedOut`] at once if nothing is queued; [`Duration::MAX`] waits for ever. The
    /// answer never comes early, and late by at most 2 milliseconds and one turn of the worker.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no datagram.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Recv<'_, Request> {
        self.begin(match timeout {
            Duration::MAX => Patience::Endless,
            timeout => Patience::Timeout(timeout),
        })
    }

    fn begin(&mut self, patience: Patience) -> Recv<'_, Request> {
        Recv {
            requests: self,
            patience,
            wait: Wait::default(),
        }
    }
}

impl<Request> Drop for Requests<Request> {
    fn drop(&mut self) {
        self.run.stop_stream();
    }
}

impl<Request> fmt::Debug for Requests<Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl<Request> Stream for Requests<Request> {
    type Item = Result<Request, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match ready!(self.run.poll_stream(cx)) {
            Err(RecvError::Closed) => Poll::Ready(None),
            result => Poll::Ready(Some(result)),
        }
    }
}

/// The future of [`Requests::recv`] and [`Requests::recv_timeout`].
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a, Request> {
    requests: &'a mut Requests<Request>,
    patience: Patience,
    wait: Wait,
}

impl<Request> fmt::Debug for Recv<'_, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl<Request> Future for Recv<'_, Request> {
    type Output = Result<Request, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.requests
            .run
            .poll_recv(cx, this.patience, &mut this.wait)
    }
}

impl<Request> Drop for Recv<'_, Request> {
    fn drop(&mut self) {
        self.wait.stop(&*self.requests.run);
    }
}

/// The half of a handler run that receives: decode only.
trait Receive<Request>: Send + Sync {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        patience: Patience,
        wait: &mut Wait,
    ) -> Poll<Result<Request, RecvError>>;
    /// A receive that waited is over, or dropped.
    fn stop(&self, wait: &Wait);
    /// A receive of the stream, which lasts over several polls.
    fn poll_stream(&self, cx: &mut Context<'_>) -> Poll<Result<Request, RecvError>>;
    /// The receive of the stream is over, if there is one.
    fn stop_stream(&self);
}

/// What a receive finds on its own worker's thread.
enum Here {
    Lent(Place, Box<[u8]>),
    Closed,
    TimedOut,
    Parked,
    /// Others have their turn first.
    Spent,
    /// Only the mailbox can tell.
    Nothing,
}

impl<P: Protocol> Receive<P::Received> for Peer<P> {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        patience: Patience,
        wait: &mut Wait,
    ) -> Poll<Result<P::Received, RecvError>> {
        if wait.is_over() {
            self.stop_stream(); // two cannot wait
        }
        match self.look_here(cx, patience, wait) {
            Here::Lent(place, buffer) => {
                let result = self.decode(place.bytes(&buffer), place.truncated);
                turn::with(|turn| turn.put_back(place, buffer));
                Poll::Ready(result)
            }
            Here::Closed => Poll::Ready(Err(RecvError::Closed)),
            Here::TimedOut => Poll::Ready(Err(RecvError::TimedOut)),
            Here::Parked => Poll::Pending,
            Here::Spent => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Here::Nothing => self.recv_elsewhere(cx, self.timeout(patience), wait),
        }
    }

    fn stop(&self, wait: &Wait) {
        if wait.number != 0 {
            let waker = self.postbox.lock().stop_waiting(wait.number);
            drop(waker);
        }
        if wait.parked {
            turn::with(|turn| {
                if turn.poll.run == self.address() {
                    turn.poll.parked = None;
                }
            });
        }
    }

    fn poll_stream(&self, cx: &mut Context<'_>) -> Poll<Result<P::Received, RecvError>> {
        let mut wait = Wait::unpack(self.stream.load(Ordering::Relaxed));
        let result = self.poll_recv(cx, Patience::Idle, &mut wait);
        self.stream.store(wait.pack(), Ordering::Relaxed);
        if result.is_ready() {
            self.stop_stream();
        }
        result
    }

    fn stop_stream(&self) {
        let wait = Wait::unpack(self.stream.load(Ordering::Relaxed));
        if !wait.is_over() {
            self.stream.store(0, Ordering::Relaxed);
            self.stop(&wait);
        }
    }
}

impl<P: Protocol> Peer<P> {
    /// How long a receive waits; `None` is for ever.
    fn timeout(&self, patience: Patience) -> Option<Duration> {
        match patience {
            Patience::Idle => self.port().limits.idle,
            Patience::Timeout(timeout) => Some(timeout),
            Patience::Endless => None,
        }
    }

    /// Looks for what there is while this handler is being polled by its worker, on this thread.
    #[inline]
    fn look_here(&self, cx: &Context<'_>, patience: Patience, wait: &mut Wait) -> Here {
        turn::with(|turn| {
            if turn.poll.run != self.address() {
                return Here::Nothing;
            }
            if turn.poll.is_spent() {
                return Here::Spent;
            }
            if turn.closing.load(Ordering::Acquire) {
                return Here::Closed;
            }
            if let Some((place, buffer)) = turn.take_lent() {
                return Here::Lent(place, buffer);
            }
            let poll = &mut turn.poll;
            if poll.queued || wait.number != 0 {
                // The mailbox answers whoever asks. Its own mutex is no user code.
                return Here::Nothing;
            }
            let timeout = self.timeout(patience);
            if timeout == Some(Duration::ZERO) || wait.parked && poll.expired {
                return Here::TimedOut;
            }
            if cx.waker().data().addr() != poll.waker {
                // Not the handler's own: it has to wait like a receive from elsewhere.
                return Here::Nothing;
            }
            wait.park(poll, timeout)
        })
        .unwrap_or(Here::Nothing)
    }

    /// Receives through the mailbox: from another task or thread, or where something is queued.
    fn recv_elsewhere(
        &self,
        cx: &mut Context<'_>,
        timeout: Option<Duration>,
        wait: &mut Wait,
    ) -> Poll<Result<P::Received, RecvError>> {
        let (here, own) = self.polled_here(cx);
        if !here {
            ready!(turn::poll_proceed(cx));
        }
        if self.port().inbox.is_closing() {
            return Poll::Ready(Err(RecvError::Closed));
        }
        let own = own && wait.number == 0;
        let waker = cx.waker().clone(); // user code: before the lock
        let mut mailbox = self.postbox.lock();
        let taken = mailbox.take(wait.number, &self.port().totals);
        // From elsewhere, the datagram that the handler was started for may not be here yet: then
        // the worker has to say whether there is one.
        let at_once = timeout == Some(Duration::ZERO) && (here || !mailbox.is_unused());
        let waits = taken == Taken::Empty && !at_once;
        let mut begins = false;
        let mut replaced = None;
        if waits && !own {
            if wait.number == 0 {
                wait.number = mailbox.begin_receive();
                begins = true;
            }
            replaced = mailbox.wait(waker);
        }
        drop(mailbox);
        drop(replaced);
        match taken {
            Taken::Datagram(datagram) => {
                self.port().counters.handed_out_elsewhere.add_shared(1);
                Poll::Ready(self.decode(&datagram.bytes, datagram.truncated))
            }
            Taken::Closed => Poll::Ready(Err(RecvError::Closed)),
            Taken::TimedOut => Poll::Ready(Err(RecvError::TimedOut)),
            Taken::Empty if !waits => Poll::Ready(Err(RecvError::TimedOut)),
            Taken::Empty if own => self.park_after_looking(timeout, wait),
            Taken::Empty => {
                if begins {
                    self.set_alarm(timeout, wait);
                }
                Poll::Pending
            }
        }
    }

    /// Whether the handler is being polled by its worker, on this thread, and whether with its own
    /// waker.
    fn polled_here(&self, cx: &Context<'_>) -> (bool, bool) {
        let (run, waker) = (self.address(), cx.waker().data().addr());
        turn::with(|turn| {
            let here = turn.poll.run == run;
            (here, here && turn.poll.waker == waker)
        })
        .unwrap_or_default()
    }

    /// The handler's own receive found the mailbox empty: now it can wait without it.
    fn park_after_looking(
        &self,
        timeout: Option<Duration>,
        wait: &mut Wait,
    ) -> Poll<Result<P::Received, RecvError>> {
        let here = turn::with(|turn| {
            turn.poll.queued = false;
            wait.park(&mut turn.poll, timeout)
        });
        match here {
            Some(Here::TimedOut) => Poll::Ready(Err(RecvError::TimedOut)),
            _ => Poll::Pending,
        }
    }

    fn set_alarm(&self, timeout: Option<Duration>, wait: &Wait) {
        let Some(timeout) = timeout else { return };
        let after = if wait.parked {
            After::Unchanged
        } else {
            After::Duration(timeout)
        };
        let alarm = Alarm {
            slot: self.slot,
            receive: wait.number,
            after,
        };
        // If the worker has ended, the mailbox is closed and has woken this receive.
        let _ = self.port().inbox.post(|mail| {
            mail.alarms.insert(self.address(), alarm);
        });
    }

    fn decode(&self, datagram: &[u8], truncated: bool) -> Result<P::Received, RecvError> {
        if truncated {
            return Err(RecvError::Truncated {
                received: datagram.len(),
            });
        }
        match panics::catch(|| self.port().protocol.build_packet(datagram)) {
            Ok(result) => result.map_err(RecvError::Parse),
            Err(message) => Err(RecvError::Crashed { message }),
        }
    }
}
