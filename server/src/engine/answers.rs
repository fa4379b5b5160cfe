//! The answers that are kept, so that a repeated question is answered and not handled again.
//!
//! Bounded by number, bytes and time; what was kept longest goes first. Decided by plain functions:
//! the time comes in as an argument.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashTable;
use tokio::time::Instant;

use crate::config::{ANSWER_OVERHEAD, Limits};
use crate::handler::ClientKey;
use crate::support::clock;

/// Room for this many is kept.
const KEPT_ROOM: usize = 1024;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy)]
struct AnswerLimits {
    answers: usize,
    bytes: usize,
    time: Duration,
}

/// The questions that were answered, the first one first.
pub(crate) struct Answers {
    limits: AnswerLimits,
    kept: VecDeque<Kept>,
    /// Their numbers. Clients are chosen by strangers, so the hasher is keyed at random.
    numbers: HashTable<u64>,
    hasher: RandomState,
    /// The number of the first one: they are numbered in order.
    first: u64,
    bytes: usize,
}

struct Kept {
    question: ClientKey,
    /// `None` for no answer, so far.
    answer: Option<Box<[u8]>>,
    until: Instant,
}

impl Kept {
    fn cost(&self) -> usize {
        ANSWER_OVERHEAD + self.answer.as_deref().map_or(0, <[u8]>::len)
    }
}

impl Answers {
    /// As many answers, and for as long, as a server's limits say.
    pub(crate) fn of_server(limits: &Limits) -> Self {
        Self::new(AnswerLimits {
            answers: limits.max_answers(),
            bytes: limits.max_answer_bytes(),
            time: limits.max_answer_time(),
        })
    }

    fn new(limits: AnswerLimits) -> Self {
        Self {
            limits,
            kept: VecDeque::new(),
            numbers: HashTable::new(),
            hasher: RandomState::new(),
            first: 0,
            bytes: 0,
        }
    }

    /// What a question was answered, if it was handled: `Some(None)` for not at all.
    pub(crate) fn get(&mut self, question: &ClientKey, now: Instant) -> Option<Option<&[u8]>> {
        self.forget_old(now);
        let at = self.find(question)?;
        Some(self.kept[at].answer.as_deref())
    }

    /// A question has been handled. Returns how many others had to be forgotten early.
    pub(crate) fn handled(&mut self, question: &ClientKey, now: Instant) -> u64 {
        self.keep(question, None, now)
    }

    /// A question is answered: the first answer is kept. Returns how many others had to be forgotten
    /// early.
    pub(crate) fn answered(&mut self, question: &ClientKey, answer: &[u8], now: Instant) -> u64 {
        self.keep(question, Some(answer), now)
    }

    fn keep(&mut self, question: &ClientKey, answer: Option<&[u8]>, now: Instant) -> u64 {
        self.forget_old(now);
        let mut early = 0;
        match (self.find(question), answer) {
            (Some(at), Some(answer)) if self.kept[at].answer.is_none() => {
                self.kept[at].answer = Some(answer.into());
                self.bytes += answer.len();
            }
            (Some(_), _) => {}
            (None, answer) => {
                if self.kept.len() == self.limits.answers {
                    self.forget_first();
                    early += 1;
                }
                self.add(Kept {
                    question: *question,
                    answer: answer.map(Into::into),
                    until: clock::deadline(now, self.limits.time),
                });
            }
        }
        while self.bytes > self.limits.bytes {
            self.forget_first();
            early += 1;
        }
        early
    }

    fn add(&mut self, kept: Kept) {
        let number = self.first + self.kept.len() as u64;
        let hash = self.hasher.hash_one(kept.question);
        self.bytes += kept.cost();
        self.kept.push_back(kept);
        let (first, kept, hasher) = (self.first, &self.kept, &self.hasher);
        self.numbers.insert_unique(hash, number, |number| {
            hasher.hash_one(kept[(number - first) as usize].question)
        });
    }

    fn find(&self, question: &ClientKey) -> Option<usize> {
        if self.kept.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(question);
        let at = |number: &u64| (number - self.first) as usize;
        self.numbers
            .find(hash, |number| self.kept[at(number)].question == *question)
            .map(at)
    }

    fn forget_old(&mut self, now: Instant) {
        while self.kept.front().is_some_and(|first| first.until <= now) {
            self.forget_first();
        }
        if self.kept.is_empty() && self.kept.capacity() > KEPT_ROOM {
            (self.kept, self.numbers) = (VecDeque::new(), HashTable::new());
        }
    }

    fn forget_first(&mut self) {
        let Some(kept) = self.kept.pop_front() else {
            return;
        };
        self.bytes -= kept.cost();
        let hash = self.hasher.hash_one(kept.question);
        if let Ok(entry) = self
            .numbers
            .find_entry(hash, |number| *number == self.first)
        {
            entry.remove();
        }
        self.first += 1;
    }
}
