use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::NONCE_LEN;
use super::nonces::SENDER_LEN;
use super::serializer::Cause;

/// How many words of a window, of which one may be only partly in use.
const WORDS: u64 = 16;

/// How far a datagram may come behind the newest of its sender, who counts its datagrams to all
/// clients: a server with many of them overtakes itself by hundreds.
const WIDTH: u64 = (WORDS - 1) * 64;

/// Who has been heard with one key, and which of their datagrams.
pub(super) struct Senders(Mutex<HashMap<[u8; SENDER_LEN], Box<Window>>>);

impl Senders {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes down that the datagram with this nonce came, if it is the first time.
    ///
    /// It has to be authentic: else strangers could fill the table.
    pub(super) fn hear(&self, nonce: &[u8; NONCE_LEN], max_senders: usize) -> Result<(), Cause> {
        let (sender, number) = split(nonce);
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = senders.len() >= max_senders;
        let window = match senders.get_mut(&sender) {
            Some(window) => window,
            None if full => return Err(Cause::TooManySenders),
            None => senders.entry(sender).or_default(),
        };
        match window.first_time(number) {
            true => Ok(()),
            false => Err(Cause::Replayed),
        }
    }
}

fn split(nonce: &[u8; NONCE_LEN]) -> ([u8; SENDER_LEN], u64) {
    let mut sender = [0; SENDER_LEN];
    let mut number = [0; NONCE_LEN - SENDER_LEN];
    sender.copy_from_slice(&nonce[..SENDER_LEN]);
    number.copy_from_slice(&nonce[SENDER_LEN..]);
    (sender, u64::from_be_bytes(number))
}

/// Which numbers came, of the newest and those up to `WIDTH` before it (RFC 6479).
#[derive(Default)]
struct Window {
    newest: u64,
    /// One bit a number, in a ring of words.
    came: [u64; WORDS as usize],
}

impl Window {
    fn first_time(&mut self, number: u64) -> bool {
        if number > self.newest {
            // Words that were used by numbers which are now too old.
            let words = (number / 64 - self.newest / 64).min(WORDS);
            for word in 1..=words {
                self.came[((self.newest / 64 + word) % WORDS) as usize] = 0;
            }
            self.newest = number;
        } else if self.newest - number >= WIDTH {
            return false;
        }
        let word = &mut self.came[(number / 64 % WORDS) as usize];
        let bit = 1 << (number % 64);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn nonce(sender: u8, number: u64) -> [u8; NONCE_LEN] {
        let mut nonce = [sender; NONCE_LEN];
        nonce[SENDER_LEN..].copy_from_slice(&number.to_be_bytes());
        nonce
    }

    #[test]
    fn replays_are_found_for_each_sender() {
        let senders = Senders::new();
        for sender in 0..3 {
            for number in [0, 1, 5, 3, u64::MAX, u64::MAX - 1] {
                assert!(senders.hear(&nonce(sender, number), 3).is_ok());
                let again = senders.hear(&nonce(sender, number), 3);
                assert!(matches!(again, Err(Cause::Replayed)));
            }
        }
        assert_eq!(senders.len(), 3);
    }

    #[test]
    fn replays_of_numbers_just_before_a_new_word_are_found_however_many_came() {
        let senders = Senders::new();
        for number in (0..100 * WIDTH).step_by(64) {
            assert!(senders.hear(&nonce(1, number), 1).is_ok());
            let newest = senders.hear(&nonce(1, number), 1);
            assert!(matches!(newest, Err(Cause::Replayed)));
            if let Some(before) = number.checked_sub(64) {
                let before = senders.hear(&nonce(1, before), 1);
                assert!(matches!(before, Err(Cause::Replayed)));
            }
        }
    }

    #[test]
    fn replays_of_more_senders_than_are_allowed_are_refused_before_they_are_known() {
        let senders = Senders::new();
        assert!(senders.hear(&nonce(1, 0), 2).is_ok());
        assert!(senders.hear(&nonce(2, 0), 2).is_ok());
        let third = senders.hear(&nonce(3, 0), 2);
        assert!(matches!(third, Err(Cause::TooManySenders)));
        assert_eq!(senders.len(), 2);
        // Who is known goes on.
        assert!(senders.hear(&nonce(1, 1), 2).is_ok());
        assert!(senders.hear(&nonce(1, 1), 2).is_err());
    }

    #[test]
    fn replays_too_old_to_know_are_refused() {
        let mut window = Window::default();
        assert!(window.first_time(5000));
        assert!(!window.first_time(5000 - WIDTH));
        assert!(window.first_time(5000 - WIDTH + 1));
        assert!(!window.first_time(0));
    }

    proptest! {
        #[test]
        fn replays_are_what_a_plain_set_says(
            start in prop_oneof![Just(0), any::<u64>()],
            steps in prop::collection::vec((any::<bool>(), 0..2_500_u64), 0..200),
        ) {
            let mut window = Window::default();
            let mut came = HashSet::new();
            let mut newest = 0;
            let mut number = start;
            for (up, step) in steps {
                number = if up { number.saturating_add(step) } else { number.saturating_sub(step) };
                let old = number < newest && newest - number >= WIDTH;
                let first = !old && came.insert(number);
                prop_assert_eq!(window.first_time(number), first);
                newest = newest.max(number);
            }
        }
    }
}
