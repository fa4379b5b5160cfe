//! The deadlines of one worker's waiting receives.
//!
//! A clock that is read once a turn and counts milliseconds. A tokio timer for each receive costs
//! 120 ns; moving a deadline here costs a store, since an entry that comes due early is only moved on.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::dispatch::SlotId;

/// Milliseconds since the worker started.
pub(super) type Tick = u64;

/// No deadline.
pub(super) const NEVER: Tick = Tick::MAX;

#[derive(Debug)]
pub(super) struct Timers {
    start: Instant,
    now: Instant,
    /// At most one entry for each slot.
    entries: BTreeSet<(Tick, SlotId)>,
}

impl Timers {
    pub(super) fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            entries: BTreeSet::new(),
        }
    }

    /// Reads the clock.
    pub(super) fn read_clock(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// The first tick that is not before `delay` from now: never early, late by one tick.
    pub(super) fn tick_after(&self, delay: Duration) -> Tick {
        let Some(since_start) = self.now.duration_since(self.start).checked_add(delay) else {
            return NEVER;
        };
        Tick::try_from(since_start.as_millis()).map_or(NEVER, |tick| tick.saturating_add(1))
    }

    /// Makes sure that `slot` comes due at `deadline` or before. `entry` is the slot's present entry.
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
