//! Who waits for what, and who of them receives for all.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::questions::{Draw, End, Questions, UNASKED, Verdict};
use super::rto::Repetition;
use super::{AskError, AskStats, AskTimes};
use crate::UdpRecvError;

/// The waiting room of the clones of a client. There is no task that receives: whoever waits and is
/// polled does, when something has arrived, and hands out what it finds. The hub is the waker of
/// the arrival, and wakes one who does it.
///
/// No lock is held while user code runs, and wakers and packets are that too.
#[derive(Debug)]
pub(crate) struct Hub<Received> {
    room: Mutex<Room<Received>>,
}

#[derive(Debug)]
struct Room<Received> {
    questions: Questions<Seat<Received>>,
    receives: Vec<(u64, Option<Waker>)>,
    receives_begun: u64,
    unasked: VecDeque<Result<Received, UdpRecvError>>,
    /// Something may have arrived that nobody has received.
    arrived: bool,
    /// Somebody is receiving, and will look again if something arrives.
    receiving: bool,
    /// The question that was polled last, whose asker is the most alive.
    last: Option<u64>,
}

/// A place to wait in for the answer to a question.
#[derive(Debug)]
pub(crate) struct Seat<Received> {
    waker: Option<Waker>,
    outcome: Option<Result<Received, AskError>>,
}

/// What one who waits does now.
pub(crate) enum Turn<T> {
    Ready(T),
    Wait,
    /// Receive for all, and then look again.
    Receive,
}

/// Who is to be woken, once the lock is released.
#[derive(Default)]
#[must_use]
struct Wakers {
    one: Option<Waker>,
    many: Vec<Waker>,
}

impl Wakers {
    fn wake(self) {
        self.one.into_iter().for_each(Waker::wake);
        self.many.into_iter().for_each(Waker::wake);
    }
}

impl<Received> Room<Received> {
    /// Whether this poll has to receive. Then nobody else does until [`Hub::received`].
    fn takes_turn(&mut self) -> bool {
        let takes = self.arrived && !self.receiving;
        if takes {
            (self.arrived, self.receiving) = (false, true);
        }
        takes
    }

    /// Who is to receive, if something has arrived and nobody does: every receive that waits, or
    /// one question. One that is kept but not polled so holds up no receive, and questions until
    /// their own timers at most.
    fn summoned(&mut self) -> Wakers {
        let mut wakers = Wakers::default();
        if !self.arrived || self.receiving {
            return wakers;
        }
        wakers.many = self.waiting_receives();
        if wakers.many.is_empty() {
            let last = self.last.take();
            let seat = last.and_then(|last| self.questions.kept(last));
            wakers.one = seat.and_then(|seat| seat.waker.take());
            if wakers.one.is_none() {
                let mut seats = self.questions.all_kept();
                wakers.one = seats.find_map(|seat| seat.waker.take());
            }
        }
        wakers
    }

    /// Closes a question, and has another receive in its place.
    fn close(&mut self, number: u64, end: End) -> (Option<Seat<Received>>, Wakers) {
        let seat = self.questions.close(number, end);
        if self.last == Some(number) {
            self.last = None;
        }
        (seat, self.summoned())
    }

    fn waiting_receives(&mut self) -> Vec<Waker> {
        let wakers = self.receives.iter_mut();
        wakers.filter_map(|(_, waker)| waker.take()).collect()
    }

    /// Keeps what nobody asked for. What does not fit in comes back.
    fn keep(
        &mut self,
        unasked: Result<Received, UdpRecvError>,
    ) -> (Wakers, Option<Result<Received, UdpRecvError>>) {
        let mut wakers = Wakers::default();
        if self.unasked.len() >= UNASKED {
            self.questions.stats.dropped += 1;
            return (wakers, Some(unasked));
        }
        self.unasked.push_back(unasked);
        wakers.many = self.waiting_receives();
        (wakers, None)
    }

    /// Ends all questions that wait for an answer, and returns how many.
    fn end_all(&mut self, error: impl Fn() -> AskError) -> (Wakers, u64) {
        let (mut wakers, mut ended) = (Wakers::default(), 0);
        for seat in self.questions.end_all() {
            seat.outcome = Some(Err(error()));
            wakers.many.extend(seat.waker.take());
            ended += 1;
        }
        (wakers, ended)
    }
}

impl<Received> Hub<Received> {
    pub(crate) fn new() -> Self {
        Self {
            room: Mutex::new(Room {
                questions: Questions::new(),
                receives: Vec::new(),
                receives_begun: 0,
                unasked: VecDeque::new(),
                arrived: true, // nobody has looked
                receiving: false,
                last: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Room<Received>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self) -> AskStats {
        self.lock().questions.stats()
    }

    pub(crate) fn draw(&self, draw: &mut Draw) -> Option<u64> {
        self.lock().questions.draw(draw)
    }

    /// Opens a question, if its number can be used.
    pub(crate) fn open(&self, number: u64, draw: &Draw) -> bool {
        let seat = Seat {
            waker: None,
            outcome: None,
        };
        self.lock().questions.open(number, draw, seat).is_ok()
    }

    pub(crate) fn begin(&self, number: u64, now: Instant, times: &AskTimes) -> Repetition {
        self.lock().questions.begin(number, now, times)
    }

    pub(crate) fn sending(&self, number: u64, now: Instant, timeout: Duration) {
        self.lock().questions.sending(number, now, timeout);
    }

    pub(crate) fn sent(&self, number: u64) {
        self.lock().questions.sent(number);
    }

    /// Nobody waits for this question any longer.
    pub(crate) fn close(&self, number: u64, end: End) {
        let mut room = self.lock();
        let (seat, wakers) = room.close(number, end);
        drop(room);
        wakers.wake();
        drop(seat);
    }

    /// Polls a question: its outcome, and it is closed; or a seat until there is one.
    pub(crate) fn poll_question(
        &self,
        number: u64,
        waker: &Waker,
        may_receive: bool,
    ) -> Turn<Result<Received, AskError>> {
        let waker = waker.clone();
        let mut room = self.lock();
        let Some(seat) = room.questions.kept(number) else {
            return Turn::Wait; // it is open as long as it is polled
        };
        if let Some(outcome) = seat.outcome.take() {
            let (seat, wakers) = room.close(number, End::Forgotten); // its end is counted
            drop(room);
            wakers.wake();
            drop(seat);
            return Turn::Ready(outcome);
        }
        let old = seat.waker.replace(waker);
        room.last = Some(number);
        let receives = may_receive && room.takes_turn();
        drop(room);
        drop(old);
        if receives { Turn::Receive } else { Turn::Wait }
    }

    /// A new receive, which waits for what nobody asked for.
    pub(crate) fn begin_receive(&self) -> u64 {
        let mut room = self.lock();
        room.receives_begun += 1;
        let id = room.receives_begun;
        room.receives.push((id, None));
        id
    }

    pub(crate) fn end_receive(&self, id: u64) {
        let mut room = self.lock();
        let at = room.receives.iter().position(|(other, _)| *other == id);
        let receive = at.map(|at| room.receives.swap_remove(at));
        let wakers = room.summoned(); // in its place
        drop(room);
        wakers.wake();
        drop(receive);
    }

    pub(crate) fn poll_receive(
        &self,
        id: u64,
        waker: &Waker,
        may_receive: bool,
    ) -> Turn<Result<Received, UdpRecvError>> {
        let waker = waker.clone();
        let mut room = self.lock();
        if let Some(unasked) = room.unasked.pop_front() {
            drop(room);
            return Turn::Ready(unasked);
        }
        let mut receives = room.receives.iter_mut();
        let place = receives.find(|(other, _)| *other == id);
        let old = place.and_then(|(_, place)| place.replace(waker));
        let receives = may_receive && room.takes_turn();
        drop(room);
        drop(old);
        if receives { Turn::Receive } else { Turn::Wait }
    }

    /// What nobody asked for and is there already.
    pub(crate) fn take_unasked(&self) -> Option<Result<Received, UdpRecvError>> {
        self.lock().unasked.pop_front()
    }

    /// Begins to receive, whatever has arrived, unless somebody does.
    pub(crate) fn begin_receiving(&self, only_unless_asked: bool) -> bool {
        let mut room = self.lock();
        if room.receiving || only_unless_asked && !room.questions.is_empty() {
            return false;
        }
        (room.arrived, room.receiving) = (false, true);
        true
    }

    /// Receiving has ended; there may be `more`.
    pub(crate) fn received(&self, more: bool) {
        let mut room = self.lock();
        room.receiving = false;
        room.arrived |= more;
        let wakers = room.summoned();
        drop(room);
        wakers.wake();
    }

    /// Hands out a packet by the number that it has.
    pub(crate) fn deliver(&self, number: Option<u64>, packet: Received, now: Instant) {
        let mut room = self.lock();
        let (wakers, dropped) = match room.questions.verdict(number, now) {
            Verdict::Answer(seat) => {
                seat.outcome = Some(Ok(packet));
                let one = seat.waker.take();
                let many = Vec::new();
                (Wakers { one, many }, None)
            }
            Verdict::Duplicate => (Wakers::default(), Some(Ok(packet))),
            Verdict::Unasked => room.keep(Ok(packet)),
        };
        drop(room);
        wakers.wake();
        drop(dropped);
    }

    /// Hands out what a receive met instead of a packet.
    pub(crate) fn deliver_error(&self, error: UdpRecvError) {
        let mut room = self.lock();
        room.questions.count_malformed(&error);
        let (wakers, dropped) = room.keep(Err(error));
        drop(room);
        wakers.wake();
        drop(dropped);
    }

    /// Nobody listens at the server's address: every question is told, or else a receive.
    pub(crate) fn refused(&self) {
        let mut room = self.lock();
        let (mut wakers, told) = room.end_all(|| AskError::Refused);
        room.questions.stats.refused += told;
        if told == 0 {
            wakers = room.keep(Err(UdpRecvError::Refused)).0;
        }
        drop(room);
        wakers.wake();
    }

    /// The socket has failed: every question is told, and a receive if one waits or no question is
    /// open.
    pub(crate) fn failed(&self, error: io::Error) {
        let mut room = self.lock();
        let (mut wakers, told) = room.end_all(|| AskError::Io(copy(&error)));
        room.questions.stats.failed += told;
        if told == 0 || !room.receives.is_empty() {
            wakers
                .many
                .extend(room.keep(Err(UdpRecvError::Io(error))).0.many);
        }
        drop(room);
        wakers.wake();
    }
}

fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}

impl<Received: Send + 'static> Wake for Hub<Received> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// Something may have arrived.
    fn wake_by_ref(self: &Arc<Self>) {
        let mut room = self.lock();
        room.arrived = true;
        let wakers = room.summoned();
        drop(room);
        wakers.wake();
    }
}
