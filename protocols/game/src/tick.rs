//! The loop: 60 times a second a step of the world, and a snapshot of it to everybody.

use std::time::Duration;

use game::wire::ToPlayer;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::state::{Shared, State};

pub const TICK: Duration = Duration::from_nanos(16_666_667);

/// The loop, which ends with the serving.
pub async fn run(shared: Shared) {
    let mut ticks = interval(TICK);
    // A burst of old snapshots would help nobody.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let first = ticks.tick().await;
    loop {
        let due = ticks.tick().await;
        let now = Instant::now();
        let late = now - due;
        // That of now, also where some were missed.
        let tick = ((now - first).as_nanos() / TICK.as_nanos()) as u32;
        let (snapshot, players) = shared.with(|State { world, counts }| {
            counts.skipped += tick.saturating_sub(counts.ticks + 1);
            counts.ticks = tick;
            counts.late += late;
            counts.latest = counts.latest.max(late);
            world.step_to(tick);
            (world.snapshot(), world.links())
        });
        let mut unsent = 0;
        for player in players {
            // One that waits is old when it leaves.
            if player
                .try_send(ToPlayer::Snapshot(snapshot.clone()))
                .is_err()
            {
                unsent += 1;
            }
        }
        shared.with(|state| state.counts.unsent += unsent);
    }
}
