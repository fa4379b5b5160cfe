//! The questions that are open, and those that were lately: no clock, no socket, no waiting.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::time::{Duration, Instant};

use super::AskStats;
use super::numbers::{ByNumber, Numbers};
use super::rto::{Repetition, Rto};
use super::times::AskTimes;
use crate::UdpRecvError;

/// How many questions that are over are remembered, to know what comes for them. What comes for an
/// older one is taken for a packet that nobody asked for.
const REMEMBERED: usize = 4096;

/// How many packets and errors wait for a receive at most that answer no question.
pub(crate) const UNASKED: usize = 256;

/// How many random numbers are tried for a question before all are looked through.
const RANDOM_TRIES: usize = 8;

/// The questions of a client. `T` is what its way of waiting keeps with each.
#[derive(Debug)]
pub(crate) struct Questions<T> {
    open: HashMap<u64, Question<T>, ByNumber>,
    recent: Recent,
    numbers: Numbers,
    rto: Rto,
    pub(crate) stats: AskStats,
}

#[derive(Debug)]
struct Question<T> {
    state: State,
    /// How often it was sent, or was about to be.
    sendings: u32,
    /// When that was first.
    sent_at: Option<Instant>,
    /// It was sent, and is counted.
    sent: bool,
    /// That of its last sending.
    timeout: Duration,
    kept: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Answered,
    /// Without an answer.
    Over,
}

/// How a question ends that still waits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    TimedOut,
    Refused,
    /// It could not be sent, or the socket has failed.
    Failed,
    Forgotten,
}

/// What a packet is.
#[derive(Debug)]
pub(crate) enum Verdict<'a, T> {
    Answer(&'a mut T),
    Duplicate,
    Unasked,
}

/// A search for a number that can be used.
#[derive(Debug, Default)]
pub(crate) struct Draw {
    tries: usize,
    base: u64,
    /// All numbers have been looked through: those of old questions are used again.
    again: bool,
}

impl<T> Questions<T> {
    pub(crate) fn new() -> Self {
        Self {
            open: HashMap::default(),
            recent: Recent::default(),
            numbers: Numbers::default(),
            rto: Rto::default(),
            stats: AskStats::default(),
        }
    }

    /// The next number to try for a new question. `None` if all are in use.
    pub(crate) fn draw(&mut self, draw: &mut Draw) -> Option<u64> {
        let tries = draw.tries;
        draw.tries += 1;
        if draw.again {
            return self.recent.order.get(tries).copied();
        }
        if tries <= RANDOM_TRIES {
            draw.base = self.numbers.next();
            return Some(draw.base);
        }
        // So many in a row differ from one another: one is free, or the numbers came round.
        let next = tries - RANDOM_TRIES;
        if next <= self.open.len() + self.recent.order.len() {
            return Some(draw.base.wrapping_add(next as u64));
        }
        // Oldest first: what is still under way for it is least likely to arrive.
        (draw.again, draw.tries) = (true, 0);
        self.draw(draw)
    }

    /// Opens a question with this number, if it can be used.
    pub(crate) fn open(&mut self, number: u64, draw: &Draw, kept: T) -> Result<(), T> {
        let remembered = self.recent.answered.contains_key(&number);
        let Entry::Vacant(place) = self.open.entry(number) else {
            return Err(kept);
        };
        if remembered && !draw.again {
            return Err(kept);
        }
        place.insert(Question {
            state: State::Waiting,
            sendings: 0,
            sent_at: None,
            sent: false,
            timeout: Duration::ZERO,
            kept,
        });
        if remembered {
            self.recent.forget(number);
        }
        Ok(())
    }

    /// The timeouts of a question, which is about to be sent.
    pub(crate) fn begin(&mut self, number: u64, now: Instant, times: &AskTimes) -> Repetition {
        let jitter = (self.numbers.next() >> 32) as u32;
        let repetition = Repetition::new(self.rto.timeout(times), jitter, times);
        self.sending(number, now, repetition.timeout());
        repetition
    }

    /// A question is about to be sent. From then on it can be answered.
    pub(crate) fn sending(&mut self, number: u64, now: Instant, timeout: Duration) {
        if let Some(question) = self.open.get_mut(&number) {
            question.sendings = question.sendings.saturating_add(1);
            question.sent_at.get_or_insert(now);
            question.timeout = timeout;
        }
    }

    /// It was sent.
    pub(crate) fn sent(&mut self, number: u64) {
        if let Some(question) = self.open.get_mut(&number) {
            match std::mem::replace(&mut question.sent, true) {
                false => self.stats.sent += 1,
                true => self.stats.repeated += 1,
            }
        }
    }

    /// Says what a packet with this number is, and counts it.
    pub(crate) fn verdict(&mut self, number: Option<u64>, now: Instant) -> Verdict<'_, T> {
        let Some(number) = number else {
            return Verdict::Unasked;
        };
        let Some(question) = self.open.get_mut(&number) else {
            match self.recent.answered.get(&number) {
                Some(true) => {
                    self.stats.duplicates += 1;
                    return Verdict::Duplicate;
                }
                Some(false) => self.stats.late += 1,
                None => {}
            }
            return Verdict::Unasked;
        };
        match (question.state, question.sent_at) {
            (State::Waiting, Some(sent_at)) => {
                question.state = State::Answered;
                self.stats.answered += 1;
                if question.sendings == 1 {
                    self.rto.sample(now.saturating_duration_since(sent_at));
                } else {
                    self.rto.answered_with(question.timeout);
                }
                Verdict::Answer(&mut question.kept)
            }
            // It was not asked yet, so this cannot be its answer.
            (State::Waiting, None) => Verdict::Unasked,
            (State::Answered, _) => {
                self.stats.duplicates += 1;
                Verdict::Duplicate
            }
            (State::Over, _) => {
                self.stats.late += 1;
                Verdict::Unasked
            }
        }
    }

    /// Ends all questions that have been sent and wait, and returns what is kept of them.
    pub(crate) fn end_all(&mut self) -> impl Iterator<Item = &mut T> {
        let waiting = self
            .open
            .values_mut()
            .filter(|question| question.state == State::Waiting && question.sent);
        waiting.map(|question| {
            question.state = State::Over;
            &mut question.kept
        })
    }

    /// Nobody waits for this question any longer. Returns what was kept.
    pub(crate) fn close(&mut self, number: u64, end: End) -> Option<T> {
        let question = self.open.remove(&number)?;
        if question.sent {
            let answered = question.state == State::Answered;
            self.recent.remember(number, answered);
            if question.state == State::Waiting {
                match end {
                    End::TimedOut => self.stats.timed_out += 1,
                    End::Refused => self.stats.refused += 1,
                    End::Failed => self.stats.failed += 1,
                    End::Forgotten => self.stats.forgotten += 1,
                }
            }
        }
        Some(question.kept)
    }

    pub(crate) fn count_malformed(&mut self, error: &UdpRecvError) {
        let is_malformed = matches!(error, UdpRecvError::Parse(_) | UdpRecvError::Crashed { .. });
        self.stats.malformed += u64::from(is_malformed);
    }

    pub(crate) fn kept(&mut self, number: u64) -> Option<&mut T> {
        self.open
            .get_mut(&number)
            .map(|question| &mut question.kept)
    }

    pub(crate) fn all_kept(&mut self) -> impl Iterator<Item = &mut T> {
        self.open.values_mut().map(|question| &mut question.kept)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn stats(&self) -> AskStats {
        AskStats {
            open: self.open.len(),
            ..self.stats
        }
    }
}

/// The numbers of questions that are over, and whether each was answered.
#[derive(Debug, Default)]
struct Recent {
    answered: HashMap<u64, bool, ByNumber>,
    /// The same numbers, the oldest first.
    order: VecDeque<u64>,
}

impl Recent {
    fn remember(&mut self, number: u64, answered: bool) {
        self.answered.insert(number, answered);
        self.order.push_back(number);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.answered.remove(&oldest);
        }
    }

    fn forget(&mut self, number: u64) {
        if self.answered.remove(&number).is_some() {
            self.order.retain(|remembered| *remembered != number);
        }
    }
}
