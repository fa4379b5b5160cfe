//! How a run receives: what it is offered, what is queued, or, in time, nothing.

use std::sync::PoisonError;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use postbox_protocol::{DatagramParseError, Protocol};
use tokio::time::Instant;

use crate::engine::current::{self, PollContext};
use crate::engine::delivery::BufferSlice;
use crate::engine::dispatch::{Taken, Told, Waiting};
use crate::engine::inject_queue::{After, Alarm};
use crate::engine::run::Run;
use crate::engine::stamp::Stamp;
use crate::error::RecvError;
use crate::handler::{Arrival, Asked, ClientKey, Receive, Wait, Whose};
use crate::support::panics;
use crate::transport::Addressing;

/// What a receive finds on its own worker's thread.
enum Found {
    Offered(BufferSlice, Box<[u8]>),
    Closed,
    /// Something else than a datagram.
    Told(Told),
    Waits,
    /// Others have their turn first.
    Spent,
    /// Only the queue can tell.
    Nothing,
}

impl<P: Protocol> Receive<P::Received> for Run<P> {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        wait: Wait,
        whose: Whose,
    ) -> Poll<Result<P::Received, RecvError>> {
        let begins = match whose {
            Whose::Same => false,
            Whose::New => {
                self.queue.set_streams(false);
                true
            }
            Whose::Stream => !self.queue.set_streams(true),
        };
        if begins && self.queue.waiting() != Waiting::No {
            self.stop_receive();
        }
        match current::with(|context| self.look_here(context, cx, wait)).unwrap_or(Found::Nothing) {
            Found::Offered(slice, buffer) => {
                let (worker, datagram) = (self.worker(), slice.bytes(&buffer));
                self.last.set(worker.batch_at.get(), datagram.len());
                if worker.informs {
                    self.keep_info(slice);
                }
                let result = self.decode(datagram, slice.truncated, true);
                current::with(|context| context.delivery.put_back(slice, buffer));
                Poll::Ready(result)
            }
            Found::Closed => Poll::Ready(Err(RecvError::Closed)),
            Found::Told(told) => Poll::Ready(Err(error(told))),
            Found::Waits => Poll::Pending,
            Found::Spent => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Found::Nothing => self.look_into_queue(cx, self.timeout(wait)),
        }
    }

    fn stop_receive(&self) {
        match self.queue.waiting() {
            Waiting::No => {}
            Waiting::OnWorker | Waiting::Told => self.queue.set_not_waiting(),
            Waiting::InTask => {
                let waker = {
                    let mut queue = self.queue.lock();
                    self.queue.set_not_waiting();
                    queue.end_receive()
                };
                drop(waker); // foreign code
            }
        }
    }
}

impl<P: Protocol> Asked for Run<P> {
    fn client(&self) -> ClientKey {
        Self::client(self)
    }

    fn arrival(&self) -> Option<Arrival> {
        let (at, len) = self.last.get()?;
        let (worker, client) = (self.worker(), Self::client(self));
        let bound = *worker.bound;
        Some(Arrival {
            at: worker.begun + at.since_start(),
            len,
            local_addr: client.local_addr(bound),
            addressing: match &client.local {
                Some(local) => Some(Addressing::of(local)),
                None => Addressing::of_bound(bound, worker.is_broadcast),
            },
            info: self.queue.info(),
        })
    }
}

impl<P: Protocol> Run<P> {
    /// How long a receive waits; `None` is for ever.
    #[inline(always)] // on the path of every conversation
    fn timeout(&self, wait: Wait) -> Option<Duration> {
        match wait {
            Wait::Idle => self.worker().limits.idle_timeout(),
            Wait::AtMost(timeout) => Some(timeout),
            Wait::Until(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
            Wait::ForEver => None,
        }
    }

    /// Looks for what there is while this handler is being polled by its worker, on this thread.
    #[inline]
    fn look_here(&self, context: &mut PollContext, cx: &Context<'_>, wait: Wait) -> Found {
        if context.poll.run != self.address() {
            return Found::Nothing;
        }
        if context.poll.is_spent() {
            return Found::Spent;
        }
        if self.worker().inject.is_closing() {
            return Found::Closed;
        }
        let waiting = self.queue.waiting();
        if waiting == Waiting::InTask || self.queue.is_filled() {
            return Found::Nothing;
        }
        if let Some((slice, buffer)) = context.delivery.take() {
            context.poll.steps = 0; // as if it were polled for this one alone
            self.queue.set_received();
            self.queue.set_not_waiting();
            return Found::Offered(slice, buffer);
        }
        if self.is_spent() {
            self.queue.set_not_waiting();
            return Found::Closed;
        }
        if waiting == Waiting::Told {
            let told = self.queue.told();
            self.queue.set_not_waiting();
            return Found::Told(told);
        }
        if self.worker().inject.is_handing_over() {
            self.queue.set_not_waiting();
            return Found::Closed;
        }
        let timeout = self.timeout(wait);
        if timeout == Some(Duration::ZERO) {
            self.queue.set_not_waiting();
            return Found::Told(Told::TimedOut);
        }
        if cx.waker().data().addr() != context.poll.waker {
            // Not the handler's own: it has to wait like a receive from elsewhere.
            return Found::Nothing;
        }
        self.wait_here(context, timeout);
        Found::Waits
    }

    /// The server asks for more than the time.
    #[cold]
    fn keep_info(&self, slice: BufferSlice) {
        let info = current::with(|context| context.delivery.info(slice).copied());
        self.queue.lock().info = info.flatten().unwrap_or_default();
    }

    /// The handler's own receive has found nothing.
    #[inline]
    fn wait_here(&self, context: &mut PollContext, timeout: Option<Duration>) {
        if self.queue.waiting() != Waiting::OnWorker {
            self.queue.set_on_worker();
            context.poll.waits = Some(timeout);
        }
    }

    /// Receives from the queue: in another task or thread, or where something is queued.
    fn look_into_queue(
        &self,
        cx: &mut Context<'_>,
        timeout: Option<Duration>,
    ) -> Poll<Result<P::Received, RecvError>> {
        let (here, own) = self.polled_here(cx);
        if !here {
            ready!(current::poll_proceed(cx));
        }
        if self.worker().inject.is_closing() {
            return Poll::Ready(Err(RecvError::Closed));
        }
        let waker = cx.waker().clone(); // user code: before the lock
        let mut queue = self.queue.lock();
        let waiting = self.queue.waiting();
        let result = match (queue.take(&self.worker().totals), waiting) {
            (Taken::Datagram(datagram), _) => Ok(datagram),
            (Taken::Closed, _) => Err(RecvError::Closed),
            (Taken::Empty, _) if self.is_spent() => Err(RecvError::Closed),
            (Taken::Empty, Waiting::Told) => Err(error(self.queue.told())),
            (Taken::Empty, _) if self.worker().inject.is_handing_over() => Err(RecvError::Closed),
            // From elsewhere, the datagram that the handler was started for may not be here yet:
            // then the worker has to say whether there is one.
            (Taken::Empty, _)
                if timeout == Some(Duration::ZERO) && (here || self.queue.has_received()) =>
            {
                Err(RecvError::TimedOut)
            }
            (Taken::Empty, Waiting::No | Waiting::OnWorker) if own => {
                drop(queue);
                self.queue.set_empty();
                current::with(|context| self.wait_here(context, timeout));
                return Poll::Pending;
            }
            (Taken::Empty, _) => {
                let began = (waiting != Waiting::InTask).then(|| queue.begin_receive());
                self.queue.set_in_task();
                let replaced = queue.set_waker(waker);
                drop(queue);
                drop(replaced); // foreign code
                if let Some(receive) = began {
                    self.set_alarm(receive, timeout, waiting == Waiting::OnWorker);
                }
                return Poll::Pending;
            }
        };
        let ended = (waiting == Waiting::InTask).then(|| queue.end_receive());
        self.queue.set_not_waiting();
        if let Ok(datagram) = &result {
            self.queue.set_received();
            self.last.set(datagram.at.unpack(), datagram.bytes.len());
            if let Some(info) = &datagram.info {
                queue.info = **info;
            }
        }
        drop(queue);
        drop(ended); // foreign code
        let datagram = result?;
        let counters = &self.worker().counters;
        counters.handed_out_elsewhere.add_shared(1);
        if counters.measured.is_on() {
            self.measure_wait(datagram.at.unpack(), here);
        }
        Poll::Ready(self.decode(&datagram.bytes, datagram.truncated, here))
    }

    /// How long a queued datagram waited: by the worker's clock, read in this turn, where it can be.
    fn measure_wait(&self, arrived: Stamp, here: bool) {
        let worker = self.worker();
        let now = match here {
            true => worker.batch_at.get().since_start(),
            false => worker.begun.elapsed(),
        };
        let waited = now.saturating_sub(arrived.since_start());
        worker.counters.measured.datagram_waited(waited);
    }

    /// Whether the handler is being polled by its worker, on this thread, and whether with its own
    /// waker.
    fn polled_here(&self, cx: &Context<'_>) -> (bool, bool) {
        let (run, waker) = (self.address(), cx.waker().data().addr());
        current::with(|context| {
            let here = context.poll.run == run;
            (here, here && context.poll.waker == waker)
        })
        .unwrap_or_default()
    }

    /// Tells the worker when a receive in another task ends. One that waited here before keeps its
    /// deadline.
    fn set_alarm(&self, receive: u32, timeout: Option<Duration>, waited: bool) {
        let Some(timeout) = timeout else { return };
        let after = if waited {
            After::Unchanged
        } else {
            After::Duration(timeout)
        };
        let alarm = Alarm {
            slot: self.slot,
            receive,
            after,
        };
        // If the worker has ended, the queue is closed and has woken this receive.
        let _ = self.worker().inject.push(|requests| {
            requests.alarms.insert(self.address(), alarm);
        });
    }

    /// `here`: the worker is polling the handler, on this thread.
    #[inline(always)] // on every datagram's path
    fn decode(
        &self,
        datagram: &[u8],
        truncated: bool,
        here: bool,
    ) -> Result<P::Received, RecvError> {
        if truncated {
            return Err(RecvError::Truncated {
                received: datagram.len(),
            });
        }
        match panics::catch(|| self.worker().protocol.build_packet(datagram)) {
            Ok(Ok(packet)) => Ok(packet),
            Ok(Err(error)) => Err(self.malformed(error, here)),
            Err(message) => Err(self.crashed(message)),
        }
    }

    #[cold]
    fn crashed(&self, message: String) -> RecvError {
        self.worker().counters.crashed.add_shared(1);
        RecvError::Crashed { message }
    }

    /// The worker tells it, which looks before it sleeps.
    #[cold]
    fn malformed(&self, error: DatagramParseError, here: bool) -> RecvError {
        let worker = self.worker();
        let last = &worker.malformed;
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.remote);
        worker.counters.malformed.add_shared(1);
        if !here {
            let _ = worker.inject.push(|_| {});
        }
        RecvError::Parse(error)
    }
}

/// What a receive answers where it is told this.
#[cold]
fn error(told: Told) -> RecvError {
    match told {
        Told::TimedOut => RecvError::TimedOut,
        Told::Evicted => RecvError::Evicted,
        Told::HandedOver => RecvError::Closed,
        Told::Unreachable(error) => {
            RecvError::Unreachable(std::io::Error::from_raw_os_error(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Waker;

    use bytes::Bytes;

    use super::*;
    use crate::config::SessionTag;
    use crate::engine::inject_queue::Injected;
    use crate::engine::worker_shared::Locals;
    use crate::engine::worker_shared::tests::worker;
    use crate::handler::Requests;

    #[test]
    fn l1_receives_that_a_task_begins_and_drops_leave_one_alarm() {
        let worker = worker("127.0.0.1:7");
        let inject = Arc::clone(&worker.inject);
        let client = |port| ClientKey {
            remote: ([192, 0, 2, 1], port).into(),
            local: None,
            session: SessionTag::ADDRESS,
        };
        let mut locals = Locals::new(worker);
        let runs = [1, 2].map(|port| Arc::new(Run::new(locals.at(None), &client(port), 0)));
        let mut requests = runs.clone().map(|run| Requests::<Bytes>::new(run));
        let mut cx = Context::from_waker(Waker::noop());
        // Meanwhile their worker is held, and takes nothing out.
        for requests in &mut requests {
            for _ in 0..1000 {
                assert!(pin!(requests.recv()).poll(&mut cx).is_pending());
            }
        }
        let mut last = requests.each_mut().map(Requests::recv);
        for receive in &mut last {
            assert!(pin!(receive).poll(&mut cx).is_pending());
        }
        let mut injected = Injected::default();
        inject.take(&mut injected);
        assert_eq!(injected.alarms.len(), 2);
        for run in &runs {
            let alarm = &injected.alarms[&run.address()];
            let mut queue = run.queue.lock();
            assert!(queue.arm(alarm.receive), "its last receive's");
        }
    }
}
