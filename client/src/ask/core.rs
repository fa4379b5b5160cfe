//! Asking and receiving, on whatever sends and receives.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use postbox_protocol::panics;
use tokio::task::coop;
use tokio::time::{Instant, sleep_until};

use super::hub::{Hub, Turn};
use super::link::{Arrival, Link};
use super::questions::{Draw, End};
use super::{AskError, AskStats, AskTimes, Matching};
use crate::{UdpRecvError, UdpSendError};

/// How much one poll receives for all before others have their turn.
const BATCH: usize = 64;

/// A socket that fails so often in a row, with nothing between, has failed for good. ICMP tells its
/// errors one by one.
const FAILURES: usize = 3;

/// What the clones of a client that asks share.
pub(crate) struct Core<L: Link> {
    pub(crate) link: Arc<L>,
    matching: Box<dyn Matching<L::Sent, L::Received>>,
    hub: Arc<Hub<L::Received>>,
    /// The hub, to be told of what arrives.
    waker: Waker,
    /// The wait for it, of whoever receives for all. It has no reference to the hub but as its
    /// waker, so this is no circle.
    arrival: Mutex<Option<Arrival>>,
}

/// One question of a client. Dropped, it is forgotten.
struct Asked<'a, L: Link> {
    core: &'a Core<L>,
    number: u64,
    /// `None` when it is closed.
    end: Option<End>,
}

impl<L: Link> Drop for Asked<'_, L> {
    fn drop(&mut self) {
        if let Some(end) = self.end {
            self.core.hub.close(self.number, end);
        }
    }
}

/// One receive of what nobody asked for.
struct Receive<'a, L: Link> {
    core: &'a Core<L>,
    id: u64,
}

impl<L: Link> Drop for Receive<'_, L> {
    fn drop(&mut self) {
        self.core.hub.end_receive(self.id);
    }
}

/// Whoever receives for all. Also where it panics others go on.
struct Receiving<'a, L: Link> {
    core: &'a Core<L>,
    /// Nobody has seen yet that nothing more is there.
    more: bool,
}

impl<L: Link> Drop for Receiving<'_, L> {
    fn drop(&mut self) {
        self.core.hub.received(self.more);
    }
}

impl<L: Link> Core<L> {
    pub(crate) fn new(link: Arc<L>, matching: Box<dyn Matching<L::Sent, L::Received>>) -> Self {
        let hub = Arc::new(Hub::new());
        Self {
            link,
            matching,
            waker: Waker::from(Arc::clone(&hub)),
            hub,
            arrival: Mutex::default(),
        }
    }

    pub(crate) fn stats(&self) -> AskStats {
        self.hub.stats()
    }

    pub(crate) async fn ask(
        &self,
        request: L::Sent,
        limit: usize,
        times: &AskTimes,
    ) -> Result<L::Received, AskError> {
        // What the network says of earlier packets does not concern this question.
        if self.hub.begin_receiving(true) {
            self.receive(true);
        }
        let (mut asked, datagram) = self.open(request, limit)?;
        let number = asked.number;
        let mut sending = pin!(self.send(number, &datagram, times));
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = self.poll_question(number, cx) {
                asked.end = None;
                return Poll::Ready(outcome);
            }
            sending.as_mut().poll(cx).map(|error| {
                asked.end = Some(match error {
                    AskError::TimedOut => End::TimedOut,
                    _ => End::Failed,
                });
                Err(error)
            })
        })
        .await
    }

    /// Opens a question and encodes it, with a number that no other has.
    fn open(
        &self,
        mut request: L::Sent,
        limit: usize,
    ) -> Result<(Asked<'_, L>, Box<[u8]>), AskError> {
        let mut draw = Draw::default();
        loop {
            let fresh = self.hub.draw(&mut draw).ok_or(AskError::NoNumber)?;
            let number = panics::catch(|| self.matching.number(&mut request, fresh));
            let number = number.map_err(|message| AskError::Crashed { message })?;
            if self.hub.open(number, &draw) {
                let asked = Asked {
                    core: self,
                    number,
                    end: Some(End::Forgotten),
                };
                return Ok((asked, self.link.encode(request, limit)?));
            }
        }
    }

    /// Sends a question until its deadline.
    async fn send(&self, number: u64, datagram: &[u8], times: &AskTimes) -> AskError {
        let mut now = Instant::now();
        let deadline = after(now, times.deadline);
        let mut repetition = self.hub.begin(number, now.into_std(), times);
        let mut timer = pin!(sleep_until(deadline));
        loop {
            {
                let mut sending = pin!(self.link.send(datagram));
                let sent = poll_fn(|cx| match sending.as_mut().poll(cx) {
                    Poll::Ready(sent) => Poll::Ready(Some(sent)),
                    Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
                });
                match sent.await {
                    Some(Ok(())) => self.hub.sent(number),
                    Some(Err(error)) => return UdpSendError::Io(error).into(),
                    None => return AskError::TimedOut,
                }
            }
            let again = after(Instant::now(), repetition.timeout());
            // Not reset: that would reach for the runtime's timers, and most sendings need none.
            timer.set(sleep_until(again.min(deadline)));
            timer.as_mut().await;
            now = Instant::now();
            if now >= deadline {
                return AskError::TimedOut;
            }
            timer.set(sleep_until(deadline));
            repetition.back_off();
            let timeout = repetition.timeout();
            self.hub.sending(number, now.into_std(), timeout);
        }
    }

    fn poll_question(
        &self,
        number: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<L::Received, AskError>> {
        self.poll_turns(|first| self.hub.poll_question(number, cx.waker(), first))
    }

    pub(crate) async fn recv(&self) -> Result<L::Received, UdpRecvError> {
        // A server that sends without a pause must not keep the other tasks from running.
        coop::consume_budget().await;
        let receive = Receive {
            core: self,
            id: self.hub.begin_receive(),
        };
        poll_fn(|cx| self.poll_turns(|first| self.hub.poll_receive(receive.id, cx.waker(), first)))
            .await
    }

    pub(crate) fn try_recv(&self) -> Option<Result<L::Received, UdpRecvError>> {
        let unasked = self.hub.take_unasked();
        if unasked.is_some() || !self.hub.begin_receiving(false) {
            return unasked;
        }
        self.receive(true);
        self.hub.take_unasked()
    }

    /// Polls, and receives for all if it is its turn, once.
    fn poll_turns<T>(&self, mut poll: impl FnMut(bool) -> Turn<T>) -> Poll<T> {
        let mut turn = poll(true);
        if matches!(turn, Turn::Receive) {
            self.receive(false);
            turn = poll(false);
        }
        match turn {
            Turn::Ready(outcome) => Poll::Ready(outcome),
            Turn::Wait | Turn::Receive => Poll::Pending,
        }
    }

    /// Receives what is there for all, and then waits for more with the hub's waker. `at_once` does
    /// not believe the runtime that nothing has arrived.
    fn receive(&self, mut at_once: bool) {
        let mut receiving = Receiving {
            core: self,
            more: true,
        };
        let mut arrival = self.arrival.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now().into_std();
        let mut failures = 0;
        for _ in 0..BATCH {
            if let Some(waiting) = arrival.as_mut().filter(|_| !at_once) {
                let mut cx = Context::from_waker(&self.waker);
                match waiting.as_mut().poll(&mut cx) {
                    Poll::Pending => {
                        receiving.more = false;
                        return;
                    }
                    Poll::Ready(Ok(())) => *arrival = None,
                    Poll::Ready(Err(error)) => {
                        *arrival = None;
                        return self.fail(error); // and so is the next one told
                    }
                }
            }
            at_once = false;
            match self.link.try_recv() {
                None => {
                    failures = 0;
                    arrival.get_or_insert_with(|| Arc::clone(&self.link).arrival());
                }
                Some(Err(error @ UdpRecvError::Io(_))) => {
                    failures += 1;
                    if failures == FAILURES {
                        return self.fail(error);
                    }
                    self.hub.deliver_error(error);
                }
                Some(Err(UdpRecvError::Refused)) => self.hub.refused(),
                Some(Err(error)) => self.hub.deliver_error(error),
                Some(Ok(packet)) => {
                    failures = 0;
                    match panics::catch(|| self.matching.number_of(&packet)) {
                        Ok(number) => self.hub.deliver(number, packet, now),
                        Err(message) => {
                            self.hub.deliver_error(UdpRecvError::Crashed { message });
                        }
                    }
                }
            }
        }
    }

    fn fail(&self, error: UdpRecvError) {
        match error {
            UdpRecvError::Io(error) => self.hub.failed(error),
            error => self.hub.deliver_error(error),
        }
    }
}

/// So far away that nobody waits for it: 30 years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now + FAR).min(now + FAR)
}
