//! The deadlines of one worker's waiting receives.
//!
//! A clock that is read once a turn and counts milliseconds. A tokio timer for each receive costs
//! 120 ns; moving a deadline here costs a store, since an entry that comes due early is only moved
//! on.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::dispatch::SlotId;

/// Milliseconds since the worker started.
pub(super) type Tick = u64;

/// A deadline that has passed.
pub(super) const NOW: Tick = 0;

/// No deadline.
pub(super) const NEVER: Tick = Tick::MAX;

#[derive(Debug)]
pub(super) struct Timers {
    start: Instant,
    now: Instant,
    /// From `start` to `now`: worked out once a turn, not for each deadline.
    since_start: Duration,
    /// At most one entry for each slot.
    entries: BTreeSet<(Tick, SlotId)>,
}

impl Timers {
    pub(super) fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            since_start: Duration::ZERO,
            entries: BTreeSet::new(),
        }
    }

    /// Reads the clock.
    pub(super) fn read_clock(&mut self) -> Instant {
        self.now = Instant::now();
        self.since_start = self.now.duration_since(self.start);
        self.now
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// A tick that is not before `delay` from now, and not more than one tick after it.
    pub(super) fn tick_after(&self, delay: Duration) -> Tick {
        let Some(at) = self.since_start.checked_add(delay) else {
            return NEVER;
        };
        Tick::try_from(at.as_millis()).map_or(NEVER, |tick| tick.saturating_add(1))
    }

    /// Makes sure that `slot` comes due at `deadline` or before. `entry` is the slot's present
    /// entry.
    pub(super) fn arm(&mut self, slot: SlotId, deadline: Tick, entry: &mut Tick) {
        if deadline >= *entry {
            return; // it comes due early, and is moved on then
        }
        if *entry != NEVER {
            self.entries.remove(&(*entry, slot));
        }
        self.entries.insert((deadline, slot));
        *entry = deadline;
    }

    /// Removes a slot's entry.
    pub(super) fn disarm(&mut self, slot: SlotId, entry: &mut Tick) {
        if *entry != NEVER {
            self.entries.remove(&(*entry, slot));
            *entry = NEVER;
        }
    }

    /// The next slot whose entry is due.
    pub(super) fn pop_due(&mut self) -> Option<SlotId> {
        let (tick, _) = *self.entries.first()?;
        if self.instant(tick)? > self.now {
            return None;
        }
        self.entries.pop_first().map(|(_, slot)| slot)
    }

    /// Whether a deadline has passed.
    pub(super) fn is_past(&self, deadline: Tick) -> bool {
        self.instant(deadline).is_some_and(|at| at <= self.now)
    }

    /// When the first entry comes due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.instant(self.entries.first()?.0)
    }

    fn instant(&self, tick: Tick) -> Option<Instant> {
        if tick == NEVER {
            None
        } else {
            self.start.checked_add(Duration::from_millis(tick))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    async fn pass(timers: &mut Timers, time: Duration) {
        advance(time).await;
        timers.read_clock();
    }

    #[tokio::test(start_paused = true)]
    async fn h7_a_deadline_never_comes_early_and_at_most_a_tick_late() {
        let mut timers = Timers::new();
        let odd = [
            0, 1, 999, 1_000, 1_000_000, 1_000_001, 1_999_999, 20_000_000,
        ]
        .map(Duration::from_nanos);
        for since_start in odd {
            pass(&mut timers, since_start).await;
            for delay in odd {
                let tick = timers.tick_after(delay);
                let at = timers.instant(tick).unwrap();
                let asked = timers.now() + delay;
                assert!(asked <= at && at <= asked + MS, "{since_start:?} {delay:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn h7_a_deadline_is_told_when_it_has_passed_and_not_before() {
        let mut timers = Timers::new();
        let mut entry = NEVER;
        let deadline = timers.tick_after(5 * MS);
        timers.arm(7, deadline, &mut entry);
        let at = timers.next().unwrap();
        let left = at - timers.now();
        pass(&mut timers, left - Duration::from_nanos(1)).await;
        assert!(!timers.is_past(deadline));
        assert_eq!(timers.pop_due(), None);
        pass(&mut timers, Duration::from_nanos(1)).await;
        assert!(timers.is_past(deadline));
        assert_eq!(timers.pop_due(), Some(7));
        assert_eq!((timers.pop_due(), timers.next()), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn h7_the_largest_durations_mean_never() {
        let mut timers = Timers::new();
        pass(&mut timers, MS).await;
        let mut entry = NEVER;
        for delay in [
            Duration::MAX,
            Duration::MAX - MS,
            Duration::from_millis(u64::MAX - 1),
        ] {
            assert_eq!(timers.tick_after(delay), NEVER, "{delay:?}");
        }
        timers.arm(1, NEVER, &mut entry);
        assert_eq!((timers.pop_due(), timers.next()), (None, None));
        let tick = timers.tick_after(Duration::from_millis(u64::MAX / 2));
        timers.arm(1, tick, &mut entry);
        assert!(!timers.is_past(tick));
        assert_eq!(timers.pop_due(), None);
        assert!(!timers.is_past(NEVER));
    }

    #[tokio::test(start_paused = true)]
    async fn h7_deadlines_come_due_in_their_order() {
        let mut timers = Timers::new();
        for (slot, delay) in [(1, 30), (2, 10), (3, 20), (4, 10), (5, 40)] {
            let deadline = timers.tick_after(delay * MS);
            let mut entry = NEVER;
            timers.arm(slot, deadline, &mut entry);
        }
        pass(&mut timers, 35 * MS).await;
        let due: Vec<SlotId> = std::iter::from_fn(|| timers.pop_due()).collect();
        assert_eq!(due, [2, 4, 3, 1]);
        assert_eq!(timers.entries.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn l2_a_slot_has_one_entry_which_is_never_late_and_goes_with_it() {
        let mut timers = Timers::new();
        let mut entry = NEVER;
        let (early, late) = (timers.tick_after(10 * MS), timers.tick_after(20 * MS));
        timers.arm(1, late, &mut entry);
        timers.arm(1, early, &mut entry);
        assert_eq!((entry, timers.entries.len()), (early, 1), "moved forward");
        timers.arm(1, late, &mut entry);
        assert_eq!(
            (entry, timers.entries.len()),
            (early, 1),
            "moved on only when it is due"
        );
        timers.arm(1, NEVER, &mut entry);
        assert_eq!((entry, timers.entries.len()), (early, 1));
        timers.disarm(1, &mut entry);
        assert_eq!((entry, timers.entries.len()), (NEVER, 0));
        timers.disarm(1, &mut entry);
        timers.arm(1, NEVER, &mut entry);
        assert_eq!(
            (entry, timers.entries.len()),
            (NEVER, 0),
            "nothing to wait for"
        );
    }
}
