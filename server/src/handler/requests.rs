//! What a handler receives from its client.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::Instant;

use super::Arrival;
use super::question::Asked;
use crate::error::RecvError;

/// The requests of one client, in the order in which they arrived, for one run of its handler.
///
/// The first is there when the handler starts, and is parsed when it is received. What the client
/// sends meanwhile waits in its bounded queue. A `Requests` that is kept after its handler has
/// ended only ever answers [`RecvError::Closed`].
///
/// It is also a [`Stream`] of `Result<Request, RecvError>`. It goes on after errors, also after
/// *timed out*, and ends where `recv` would answer closed.
///
/// ```
/// use std::time::Duration;
///
/// use postbox_server::{BoxError, Client, RecvError, Requests};
///
/// /// Adds numbers, until the client sends no more for a second.
/// async fn add(client: Client<i64>, mut numbers: Requests<i64>) -> Result<(), BoxError> {
///     let mut sum = 0;
///     loop {
///         match numbers.recv_timeout(Duration::from_secs(1)).await {
///             Ok(number) => sum += number,
///             Err(RecvError::TimedOut) => break,
///             Err(error) => return Err(error.into()),
///         }
///     }
///     client.send(sum).await?;
///     Ok(())
/// }
/// ```
pub struct Requests<Request> {
    run: Arc<dyn Receive<Request>>,
}

impl<Request> Requests<Request> {
    pub(crate) fn new(run: Arc<dyn Receive<Request>>) -> Self {
        Self { run }
    }

    /// Receives and parses the next request, waiting for it at most the idle limit
    /// ([`Limits::idle`](crate::Limits::idle), 5 minutes by default).
    ///
    /// # Errors
    ///
    /// [`RecvError`] says what was wrong with this datagram, or that none came. The handler may go
    /// on receiving after each, except after [`RecvError::Evicted`] and [`RecvError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no datagram.
    pub fn recv(&mut self) -> Recv<'_, Request> {
        self.begin(Wait::Idle)
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
            Duration::MAX => Wait::ForEver,
            timeout => Wait::AtMost(timeout),
        })
    }

    /// Receives and parses the next request, waiting for it until `deadline`: one deadline for
    /// several receives, which what else arrives meanwhile does not move. So a handler that sends
    /// again after a time does it at that time, however much its client says.
    ///
    /// The deadline does not matter for a datagram that is there already. One that has passed
    /// answers [`RecvError::TimedOut`] at once if nothing is queued. The answer never comes early,
    /// and late by at most 2 milliseconds and one turn of the worker.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use postbox_server::{BoxError, Client, RecvError, Requests};
    /// use tokio::time::Instant;
    ///
    /// /// Sends a block again each second, three times, until its number is acknowledged.
    /// async fn send_block(
    ///     client: &Client<(u16, String)>,
    ///     acknowledged: &mut Requests<u16>,
    ///     number: u16,
    ///     block: String,
    /// ) -> Result<(), BoxError> {
    ///     for _ in 0..3 {
    ///         client.send((number, block.clone())).await?;
    ///         let again = Instant::now() + Duration::from_secs(1);
    ///         loop {
    ///             match acknowledged.recv_until(again).await {
    ///                 Ok(acknowledged) if acknowledged == number => return Ok(()),
    ///                 Ok(_) => {} // of an earlier block: it does not move the deadline
    ///                 Err(RecvError::TimedOut) => break,
    ///                 Err(error) => return Err(error.into()),
    ///             }
    ///         }
    ///     }
    ///     Err("no acknowledgement, three times".into())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no datagram.
    pub fn recv_until(&mut self, deadline: Instant) -> Recv<'_, Request> {
        self.begin(Wait::Until(deadline))
    }

    /// When and how the datagram arrived that was received last, also where that gave an error that
    /// is about a datagram: one that cannot be parsed, or was cut short. `None` before the first.
    ///
    /// What else a receive answers, such as *timed out*, leaves it as it was.
    pub fn arrival(&self) -> Option<Arrival> {
        self.run.arrival()
    }

    /// What a question keeps of its run.
    #[inline]
    pub(super) fn asked(&self) -> Arc<dyn Asked> {
        Arc::clone(&self.run) as _
    }

    fn begin(&mut self, wait: Wait) -> Recv<'_, Request> {
        let began = false;
        Recv {
            requests: self,
            wait,
            began,
        }
    }
}

impl<Request> Drop for Requests<Request> {
    fn drop(&mut self) {
        self.run.stop_receive(); // the stream's
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
        match ready!(self.run.poll_recv(cx, Wait::Idle, Whose::Stream)) {
            Err(RecvError::Closed) => Poll::Ready(None),
            result => Poll::Ready(Some(result)),
        }
    }
}

/// The future of [`Requests::recv`], [`Requests::recv_timeout`] and [`Requests::recv_until`].
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a, Request> {
    requests: &'a mut Requests<Request>,
    wait: Wait,
    /// It waits, as far as it knows.
    began: bool,
}

impl<Request> fmt::Debug for Recv<'_, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv")
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl<Request> Future for Recv<'_, Request> {
    type Output = Result<Request, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let whose = if this.began { Whose::Same } else { Whose::New };
        let result = this.requests.run.poll_recv(cx, this.wait, whose);
        this.began = result.is_pending();
        result
    }
}

impl<Request> Drop for Recv<'_, Request> {
    fn drop(&mut self) {
        if self.began {
            self.requests.run.stop_receive();
        }
    }
}

/// How long a receive is willing to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// As long as a client may be silent: the server's limit.
    Idle,
    AtMost(Duration),
    Until(Instant),
    ForEver,
}

/// Whose receive is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// That of a new [`Recv`]: one that still waits is over, as it was forgotten, or is the stream's.
    New,
    /// That of the same [`Recv`] as last time.
    Same,
    Stream,
}

/// The half of a handler run that receives: decode only.
///
/// There is one receive of a run at a time. That it waits is known to the run, and lasts until it is
/// ready or stopped, over any number of polls.
pub(crate) trait Receive<Request>: Asked {
    /// Polls the receive that waits, and begins one if none does.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        wait: Wait,
        whose: Whose,
    ) -> Poll<Result<Request, RecvError>>;
    /// The receive that waits, if one does, was dropped.
    fn stop_receive(&self);
}
