//! Random scripts: clients send, handlers are polled, receive here and in other tasks, end, are
//! closed; and after each step the dispatcher agrees with a model that knows nothing of tables,
//! slots and locks.
//!
//! `POSTBOX_SCRIPTS` scripts are run (2,000 unless set), from `POSTBOX_SEED` on. A failure prints
//! the seed of its script: with that and `POSTBOX_SCRIPTS=1` it happens again, each step told.

mod elsewhere;
mod eviction;
mod handler;
mod script;

use std::collections::{BTreeMap, VecDeque};

use super::*;
use script::Script;

#[test]
fn l7_random_scripts_agree_with_the_model() {
    let from_env = |name, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let (seed, scripts) = (
        from_env("POSTBOX_SEED", 1),
        from_env("POSTBOX_SCRIPTS", 2_000),
    );
    let mut seen = Seen::default();
    for seed in seed..seed + scripts {
        let failing = Failing(seed);
        Script::new(seed, scripts == 1).run(&mut seen);
        std::mem::forget(failing);
    }
    println!("{scripts} scripts from seed {seed}: {seen:?}");
    // Nothing that can happen is left out, unless somebody asked for few scripts.
    if scripts >= 1000 {
        let Seen(counts) = seen;
        for what in script::EVERYTHING {
            assert!(counts.contains_key(what), "never seen: {what}");
        }
    }
}

/// Says how to make it fail again.
struct Failing(u64);

impl Drop for Failing {
    fn drop(&mut self) {
        eprintln!("again: POSTBOX_SEED={} POSTBOX_SCRIPTS=1", self.0);
    }
}

/// How often what happened, to see that the scripts reach everything.
#[derive(Debug, Default)]
struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

/// Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len().max(1))).copied()
    }
}

/// The model of one client with a running handler, and all that is decided about it.
#[derive(Debug, Default)]
struct Model {
    /// The numbers of the datagrams that wait.
    queue: VecDeque<u32>,
    /// Its own receive waits.
    parked: bool,
    /// It has received.
    received: bool,
    /// Its client has sent more than its first datagram since the hand came by.
    marked: bool,
}

impl Model {
    /// What its end comes to, with or without a datagram that it was offered and left: whether one
    /// is discarded, and whether another handler starts.
    fn end(&mut self, offered: bool) -> (bool, bool) {
        let discarded = !self.received && (offered || !self.queue.is_empty());
        if discarded {
            self.queue.pop_front(); // what is offered comes last
        }
        let next = !self.queue.is_empty();
        (self.parked, self.received) = (false, false);
        (discarded, next)
    }
}
