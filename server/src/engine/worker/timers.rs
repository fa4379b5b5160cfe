//! The deadlines of one worker's waiting receives.
//!
//! A clock that is read once a turn and counts milliseconds: a tokio timer for each receive costs
//! more than all the rest of it. Only deadlines of the next second are sorted; those further away,
//! which most never reach, are only looked through once a second. So a waiting client costs nothing
//! here until its deadline is near.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::dispatch::SlotId;
use crate::engine::stamp::Stamp;

/// Milliseconds since the worker started.
pub(super) type Tick = u64;

/// No deadline.
pub(super) const NEVER: Tick = Tick::MAX;

/// In place of a deadline: the receive began to wait in this turn, and gets one at its end.
pub(super) const BEGUN: Tick = Tick::MAX - 1;

/// The last tick that is one, in some 580 million years.
const LAST: Tick = BEGUN - 1;

/// How long before it a deadline is sorted.
const NEAR: Tick = 1000;

#[derive(Debug)]
pub(super) struct Timers {
    start: Instant,
    now: Instant,
    /// From `start` to `now`: worked out once a turn, not for each deadline.
    since_start: Duration,
    /// At most one entry for each slot.
    near: BTreeSet<(Tick, SlotId)>,
    /// Deadlines from this tick on are not in `near` yet.
    far_from: Tick,
    /// There is such a deadline.
    any_far: bool,
}

impl Timers {
    /// From `start` on.
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            now: start,
            since_start: Duration::ZERO,
            near: BTreeSet::new(),
            far_from: NEAR,
            any_far: false,
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

    /// The same, in few bytes.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp::new(self.since_start)
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
    #[inline]
    pub(super) fn arm(&mut self, slot: SlotId, deadline: Tick, entry: &mut Tick) {
        // The entry that there is comes due early, and is moved on then.
        if deadline > LAST || deadline >= *entry {
            return;
        }
        if deadline >= self.far_from {
            self.any_far = true;
            return;
        }
        self.disarm(slot, entry);
        *entry = deadline;
        self.near.insert((deadline, slot));
    }

    /// Removes a slot's entry.
    #[inline]
    pub(super) fn disarm(&mut self, slot: SlotId, entry: &mut Tick) {
        if *entry != NEVER {
            self.near.remove(&(std::mem::replace(entry, NEVER), slot));
        }
    }

    /// The next slot whose entry is due.
    pub(super) fn pop_due(&mut self) -> Option<SlotId> {
        let (tick, _) = self.near.first()?;
        if self.instant(*tick)? > self.now {
            return None;
        }
        self.near.pop_first().map(|(_, slot)| slot)
    }

    /// Whether it is time to look through all deadlines, and [`arm`](Self::arm) them again: some may
    /// be near now.
    pub(super) fn far_come_near(&mut self) -> bool {
        if !self.any_far || !self.is_past(self.far_from) {
            return false;
        }
        let now = Tick::try_from(self.since_start.as_millis()).unwrap_or(LAST);
        self.far_from = now.saturating_add(NEAR);
        self.any_far = false;
        true
    }

    /// Whether a deadline has passed.
    pub(super) fn is_past(&self, deadline: Tick) -> bool {
        self.instant(deadline).is_some_and(|at| at <= self.now)
    }

    /// When something has to be done next.
    pub(super) fn next(&self) -> Option<Instant> {
        let near = self.near.first().map(|(tick, _)| *tick);
        let far = self.any_far.then_some(self.far_from);
        self.instant(near.into_iter().chain(far).min()?)
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
    use super::*;

    #[test]
    fn l2_when_no_deadline_is_left_nothing_is_looked_through_any_more() {
        let (mut timers, mut entry) = (Timers::new(Instant::now()), NEVER);
        timers.arm(0, 5_000, &mut entry);
        assert!(timers.next().is_some());
        timers.since_start = Duration::from_secs(5);
        timers.now = timers.start + timers.since_start;
        assert!(timers.far_come_near());
        // Its receive is over: it is not armed again.
        assert!(timers.next().is_none());
        assert!(!timers.far_come_near());
    }
}
