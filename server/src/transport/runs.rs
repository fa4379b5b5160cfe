//! How many answers to one client leave as one message, which the kernel cuts into datagrams.
//!
//! As few messages as possible take the least CPU. But a client whose requests are limited by a
//! window goes on when it is answered: with the first part of the answers while the next is under
//! way, or, if all come at once, when the server has nothing left to do and waits for it in turn.
//! So answers leave as one only where more is waiting to be done.

use super::Meta;

/// How the answers to the last receive leave.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// So many of them are still to leave; 0 where they leave as one.
    answers: usize,
    /// At most so many of them as one.
    longest: usize,
}

impl Runs {
    /// A part of what came as one is not smaller. Below that what a message costs outweighs it.
    const SMALLEST_PART: usize = 8;

    /// How the answers to these leave, which filled so many slots.
    pub(super) fn answering(received: &[Meta], slots: usize) -> Self {
        match received {
            _ if received.len() == slots => Self::default(), // CPU is scarce
            // In two parts. One client in bursts of 64: 0.75 of the bare loop as one message, 1.1 in
            // parts, for the same CPU, since the server has no time to sleep.
            [alone] if alone.is_coalesced() => {
                let answers = alone.datagrams();
                let longest = answers.div_ceil(2).max(Self::SMALLEST_PART);
                Self { answers, longest }
            }
            _ if received.iter().any(Meta::is_coalesced) => Self::default(),
            // One by one, as they came. One client with a window of 32: 0.93 of the bare loop as one
            // message, 0.97 one by one, which takes 10 % more CPU.
            _ => Self {
                answers: received.len(),
                longest: 1,
            },
        }
    }

    /// How many may leave as one where so many wait. If there are more than answers, all may.
    pub(super) fn longest(&self, waiting: usize) -> usize {
        if waiting <= self.answers {
            self.longest
        } else {
            usize::MAX
        }
    }

    /// So many have left.
    pub(super) fn left(&mut self, count: usize) {
        self.answers = self.answers.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// What `longest` says of the answers to messages of so many datagrams each, in ten slots.
    fn longest(messages: &[usize]) -> usize {
        let metas: Vec<_> = messages.iter().map(|count| meta(*count)).collect();
        let answers = messages.iter().sum();
        let mut runs = Runs::answering(&metas, 10);
        assert_eq!(runs.longest(answers + 1), usize::MAX, "not only answers");
        let longest = runs.longest(answers);
        assert_eq!(runs.longest(1), longest);
        runs.left(answers);
        assert_eq!(runs.longest(1), usize::MAX, "the answers are gone");
        longest
    }

    fn meta(count: usize) -> Meta {
        Meta {
            remote: (Ipv4Addr::LOCALHOST, 7).into(),
            local: None,
            len: 5 * count,
            segment: 5,
            truncated: false,
        }
    }

    #[test]
    fn what_came_one_by_one_is_answered_one_by_one() {
        assert_eq!(longest(&[1]), 1);
        assert_eq!(longest(&[1; 9]), 1);
    }

    #[test]
    fn what_came_alone_as_one_is_answered_in_two_parts_that_are_not_too_small() {
        assert_eq!(longest(&[64]), 32);
        assert_eq!(longest(&[63]), 32);
        assert_eq!(longest(&[17]), 9);
        assert_eq!(longest(&[16]), 8);
        assert_eq!(longest(&[15]), 8);
        assert_eq!(longest(&[9]), 8);
        assert_eq!(longest(&[2]), 8);
    }

    #[test]
    fn where_more_is_there_answers_leave_as_one() {
        assert_eq!(longest(&[1; 10]), usize::MAX, "all slots are filled");
        assert_eq!(longest(&[64; 10]), usize::MAX);
        assert_eq!(longest(&[32, 32]), usize::MAX);
        assert_eq!(longest(&[1, 2]), usize::MAX);
    }
}
