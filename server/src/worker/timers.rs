//! The deadlines of one worker's waiting receives.
//!
//! A clock that is read once a turn and counts milliseconds. A tokio timer for each receive costs
//! 120 ns; moving a deadline here costs a store, since an entry that comes due early is only moved
//! on.
//!
//! So a far deadline needs no tick of its own: it is entered up to an eighth of its time too early,
//! in one set with its neighbours. However many wait, the sets are few, and a waiting
//! client costs 8 bytes in one of them (32 in a tree of single deadlines).

use std::collections::{BTreeMap, HashSet, btree_map};
use std::time::Duration;

use ahash::RandomState;
use tokio::time::Instant;

use crate::dispatch::SlotId;

/// Milliseconds since the worker started.
pub(super) type Tick = u64;

/// A deadline that has passed already.
pub(super) const NOW: Tick = 0;

/// No deadline.
pub(super) const NEVER: Tick = Tick::MAX;

/// In place of a deadline: the receive began to wait in this turn, and gets one at its end.
pub(super) const BEGUN: Tick = Tick::MAX - 1;

/// In place of a deadline: it has passed, and the receive has not yet been told.
pub(super) const PASSED: Tick = Tick::MAX - 2;

/// The last tick that is one, in some 580 million years.
const LAST: Tick = PASSED - 1;

/// Slots that come due together.
pub(super) type Due = HashSet<SlotId, RandomState>;

#[derive(Debug)]
pub(super) struct Timers {
    start: Instant,
    now: Instant,
    /// From `start` to `now`: worked out once a turn, not for each deadline.
    since_start: Duration,
    /// At most one entry for each slot. No set is empty.
    entries: BTreeMap<Tick, Due>,
}

impl Timers {
    pub(super) fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            since_start: Duration::ZERO,
            entries: BTreeMap::new(),
        }
    }

    /// Reads the clock.
    pub(super) fn read_clock(&mut self) {
        self.now = Instant::now();
        self.since_start = self.now.duration_since(self.start);
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// A tick that is not before `delay` from now, and not more than one tick after it.
    pub(super) fn tick_after(&self, delay: Duration) -> Tick {
        let Some(at) = self.since_start.checked_add(delay) else {
            return NEVER;
        };
        match Tick::try_from(at.as_millis()) {
            Ok(tick) if tick < LAST => tick + 1,
            _ => NEVER,
        }
    }

    /// Makes sure that `slot` comes due at `deadline` or before. `entry` is the slot's present
    /// entry.
    pub(super) fn arm(&mut self, slot: SlotId, deadline: Tick, entry: &mut Tick) {
        // The entry that there is comes due early, and is moved on then.
        if deadline > LAST || deadline >= *entry {
            return;
        }
        self.disarm(slot, entry);
        *entry = self.early(slot, deadline);
        self.entries.entry(*entry).or_default().insert(slot);
    }

    /// The tick at which a deadline is looked at next, if only to be moved on: after seven eighths
    /// of the time that is left, or more.
    fn early(&self, slot: SlotId, deadline: Tick) -> Tick {
        let now = Tick::try_from(self.since_start.as_millis()).unwrap_or(NEVER);
        let left = deadline.saturating_sub(now);
        let Some(bits) = (left / 8).checked_ilog2() else {
            return deadline;
        };
        // Sixteen sets instead of one, so that a crowd is not moved on in one turn.
        let shift = Tick::from(slot) % 16 * (1 << bits) / 16;
        ((deadline - shift) >> bits << bits) + shift
    }

    /// Removes a slot's entry.
    #[inline]
    pub(super) fn disarm(&mut self, slot: SlotId, entry: &mut Tick) {
        if *entry != NEVER {
            self.remove(slot, std::mem::replace(entry, NEVER));
        }
    }

    fn remove(&mut self, slot: SlotId, entry: Tick) {
        if let btree_map::Entry::Occupied(mut due) = self.entries.entry(entry) {
            let slots = due.get_mut();
            slots.remove(&slot);
            if slots.is_empty() {
                due.remove();
            } else if slots.len() < slots.capacity() / 4 {
                slots.shrink_to(2 * slots.len()); // who stays does not keep the room of all
            }
        }
    }

    /// The next slots whose entries are due.
    pub(super) fn pop_due(&mut self) -> Option<Due> {
        let (tick, _) = self.entries.first_key_value()?;
        if self.instant(*tick)? > self.now {
            return None;
        }
        self.entries.pop_first().map(|(_, due)| due)
    }

    /// Whether a deadline has passed.
    pub(super) fn is_past(&self, deadline: Tick) -> bool {
        self.instant(deadline).is_some_and(|at| at <= self.now)
    }

    /// When the first entry comes due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.instant(*self.entries.first_key_value()?.0)
    }

    fn instant(&self, tick: Tick) -> Option<Instant> {
        if tick > LAST {
            return None;
        }
        self.start.checked_add(Duration::from_millis(tick))
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

    /// Slots that wait, each with its deadline and its entry.
    type Waiting = BTreeMap<SlotId, (Tick, Tick)>;

    /// Does what is due, and returns the slots whose deadline has passed.
    fn expire(timers: &mut Timers, waiting: &mut Waiting) -> Vec<SlotId> {
        let mut expired = Vec::new();
        while let Some(due) = timers.pop_due() {
            assert!(!due.is_empty());
            for slot in due {
                let (deadline, entry) = waiting.get_mut(&slot).unwrap();
                assert!(timers.is_past(std::mem::replace(entry, NEVER)));
                if timers.is_past(*deadline) {
                    expired.push(slot);
                } else {
                    timers.arm(slot, *deadline, entry);
                }
            }
        }
        expired
    }

    /// Delays of all sizes, up to an hour, for slots in no order.
    fn wait(timers: &mut Timers, count: u32) -> Waiting {
        (0..count)
            .map(|i| {
                let delay = i.wrapping_mul(2_654_435_761) % (1 << (i % 22)) * MS;
                let deadline = timers.tick_after(delay);
                let mut entry = NEVER;
                timers.arm(i, deadline, &mut entry);
                (i, (deadline, entry))
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn h7_a_deadline_is_told_when_it_has_passed_and_not_before() {
        let mut timers = Timers::new();
        pass(&mut timers, Duration::from_micros(1_234_567)).await;
        let mut waiting = wait(&mut timers, 3_000);
        let mut left = waiting.len();
        while let Some(next) = timers.next() {
            let rest = next - timers.now();
            pass(&mut timers, rest - Duration::from_nanos(1)).await;
            assert_eq!(timers.pop_due(), None);
            pass(&mut timers, Duration::from_nanos(1)).await;
            for slot in expire(&mut timers, &mut waiting) {
                let at = timers.instant(waiting[&slot].0);
                assert_eq!(at, Some(timers.now()), "in time, to the tick");
                left -= 1;
            }
        }
        assert_eq!(left, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn h7_a_worker_that_slept_too_long_misses_no_deadline() {
        let mut timers = Timers::new();
        let mut waiting = wait(&mut timers, 3_000);
        pass(&mut timers, Duration::from_secs(600)).await;
        let mut expired = expire(&mut timers, &mut waiting);
        expired.sort_unstable();
        let past: Vec<SlotId> = waiting
            .iter()
            .filter(|(_, (deadline, _))| timers.is_past(*deadline))
            .map(|(slot, _)| *slot)
            .collect();
        assert_eq!(expired, past);
    }

    #[tokio::test(start_paused = true)]
    async fn l2_many_deadlines_share_few_sets_of_which_none_holds_up_a_turn() {
        let mut timers = Timers::new();
        for slot in 0..16_000 {
            let deadline = timers.tick_after(Duration::from_secs(300) + slot % 1_000 * MS);
            timers.arm(slot, deadline, &mut NEVER.clone());
        }
        let sizes: Vec<usize> = timers.entries.values().map(Due::len).collect();
        assert_eq!(sizes, [1_000; 16]);
    }

    #[tokio::test(start_paused = true)]
    async fn l2_who_stays_longer_than_a_crowd_does_not_keep_its_room() {
        let mut timers = Timers::new();
        let deadline = timers.tick_after(Duration::from_secs(300));
        let mut entries = [NEVER; 16_000];
        for (slot, entry) in (0..).zip(&mut entries) {
            timers.arm(slot, deadline, entry);
        }
        for (slot, entry) in (0..).zip(&mut entries).skip(16) {
            timers.disarm(slot, entry);
        }
        let sizes: Vec<usize> = timers.entries.values().map(Due::len).collect();
        assert_eq!(sizes, [1; 16]);
        assert!(timers.entries.values().all(|due| due.capacity() < 8));
    }

    #[tokio::test(start_paused = true)]
    async fn h7_a_deadline_is_moved_on_a_few_times_only() {
        let mut timers = Timers::new();
        let (deadline, mut entry) = (timers.tick_after(Duration::from_secs(3_600)), NEVER);
        timers.arm(1, deadline, &mut entry);
        let mut waiting = Waiting::from([(1, (deadline, entry))]);
        let mut looks = 0;
        while let Some(next) = timers.next() {
            let rest = next - timers.now();
            pass(&mut timers, rest).await;
            expire(&mut timers, &mut waiting);
            looks += 1;
        }
        assert!(looks <= 9, "{looks}");
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
        for millis in u64::MAX - 8..=u64::MAX {
            let tick = timers.tick_after(Duration::from_millis(millis));
            assert!(tick <= LAST || tick == NEVER, "{tick} means something else");
        }
        for none in [NEVER, BEGUN, PASSED] {
            timers.arm(1, none, &mut entry);
            assert_eq!((entry, timers.entries.len()), (NEVER, 0));
            assert!(!timers.is_past(none));
        }
        let tick = timers.tick_after(Duration::from_millis(u64::MAX / 2));
        timers.arm(1, tick, &mut entry);
        assert!(!timers.is_past(tick));
        assert_eq!(timers.pop_due(), None);
        assert!(!timers.is_past(NEVER));
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
