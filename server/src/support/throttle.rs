//! How often something is told: at once, then once in a while with how often it was not.

use std::time::Duration;

use tokio::time::Instant;

/// Lets one thing through in each pause, and counts the others, of which it keeps an example.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Throttle<E> {
    /// Nothing is told before.
    next: Option<Instant>,
    left_out: u64,
    /// Of what was left out, the first.
    example: Option<E>,
}

impl<E: Copy> Throttle<E> {
    pub(crate) const NEW: Self = Self {
        next: None,
        left_out: 0,
        example: None,
    };

    /// It has happened so many times more. If that is to be told now: how many times since it was
    /// told last, these included.
    #[inline]
    pub(crate) fn pass(
        &mut self,
        now: Instant,
        pause: Duration,
        count: u64,
        example: E,
    ) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.left_out += count;
            self.example.get_or_insert(example);
            return None;
        }
        self.next = Some(now + pause);
        self.example = None;
        Some(std::mem::take(&mut self.left_out) + count)
    }

    /// Counts so many more where something was left out already, and says whether it was: it needs
    /// no clock where what may be told is told in each turn.
    #[inline]
    pub(crate) fn leave_out_more(&mut self, count: u64) -> bool {
        let some = self.left_out > 0;
        if some {
            self.left_out += count;
        }
        some
    }

    /// When something that was left out may be told.
    pub(crate) fn may_be_told(&self) -> Option<Instant> {
        self.next.filter(|_| self.left_out > 0)
    }

    /// Tells what was left out: how many times, and an example.
    pub(crate) fn take_left_out(&mut self, now: Instant, pause: Duration) -> Option<(u64, E)> {
        let example = self.example.take()?;
        self.next = Some(now + pause);
        Some((std::mem::take(&mut self.left_out), example))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn h11_what_repeats_passes_once_in_a_pause_and_the_others_are_counted() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut throttle = Throttle::NEW;
        let mut pass = |millis, count| throttle.pass(at(millis), SECOND, count, ());
        assert_eq!(pass(0, 1), Some(1));
        assert_eq!(pass(0, 1), None);
        assert_eq!(pass(999, 5), None);
        assert_eq!(pass(1000, 1), Some(7));
        assert_eq!(pass(1999, 1), None);
        assert_eq!(pass(5000, 3), Some(4));
        assert_eq!(pass(7000, 1), Some(1));
    }

    #[test]
    fn h11_what_was_left_out_is_told_with_its_first_example_and_once() {
        let now = Instant::now();
        let mut throttle = Throttle::NEW;
        assert_eq!(throttle.pass(now, SECOND, 1, 'a'), Some(1));
        assert_eq!(throttle.may_be_told(), None);
        assert_eq!(throttle.take_left_out(now, SECOND), None);
        for example in ['b', 'c'] {
            assert_eq!(throttle.pass(now, SECOND, 10, example), None);
        }
        assert_eq!(throttle.may_be_told(), Some(now + SECOND));
        let later = now + 3 * SECOND;
        assert_eq!(throttle.take_left_out(later, SECOND), Some((20, 'b')));
        assert_eq!(throttle.may_be_told(), None);
        assert_eq!(throttle.take_left_out(later, SECOND), None);
        assert_eq!(
            throttle.pass(later, SECOND, 1, 'd'),
            None,
            "it counts as told"
        );
    }
}
