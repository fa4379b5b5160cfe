//! Servers on a network that loses, delays, duplicates and changes datagrams, by a seed.
//!
//! `POSTBOX_SIMULATIONS` random scripts are run (300 unless set), from `POSTBOX_SEED` on. A failure
//! prints the seed of its script: with that and `POSTBOX_SIMULATIONS=1` it happens again, each step
//! told.
//!
//! | file | what |
//! |---|---|
//! | `asking.rs` | clients that ask, and a server that handles each question once |
//! | `conditions.rs` | what the network's conditions do that need no clock |
//! | `delays.rs` | what those do that need one, and what a server makes of them |
//! | `script.rs` | one random script: a server, its clients and what they do; what must be true |
//! | `clients.rs` | what the clients send, and what they may receive |
//! | `handler.rs` | what the server's handler does, and what it may receive |
//! | `sessions.rs` | how the server tells the datagrams of an address apart |
//! | `packet.rs` | the datagrams |
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod asking;
mod clients;
mod conditions;
mod delays;
mod handler;
mod packet;
mod script;
mod sessions;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};

use crate::common::HANG;
use script::Script;

/// What scripts are to have come across.
const EVERYTHING: &[&str] = &[
    "an echo answered",
    "a conversation went on",
    "a conversation timed out",
    "a push arrived",
    "a receive in another task",
    "a receive was dropped",
    "a handler panicked",
    "a handler failed",
    "a datagram discarded",
    "over a client's bound",
    "over the total bound",
    "refused at the door",
    "from nowhere",
    "dropped by a shutdown",
    "cut short",
    "not a packet any more",
    "a handler cancelled",
    "a handler evicted",
    "a shutdown with handlers",
    "a drain with handlers",
    "dropped by a drain",
    "a drain cut",
    "a hand over with handlers",
    "a hand over told a receive",
    "sessions side by side",
    "runs of one address side by side",
    "a datagram for itself came late",
    "nothing more for a datagram for itself",
    "refused by the session key",
    "the session key panicked",
    "a question answered again",
    "a repeated question dropped",
    "a serving dropped",
    "the network lost",
    "the network cut",
    "the network duplicated",
    "the network truncated",
    "the network corrupted",
    "the network reordered",
];

#[test]
fn h3_h8_h9_h15_c6_l1_l7_v4_v11_whatever_the_network_does_the_contract_holds() {
    let (seed, scripts) = (
        from_env("POSTBOX_SEED", 1),
        from_env("POSTBOX_SIMULATIONS", 300),
    );
    let tell = scripts == 1;
    let Seen(counts) = for_each(seed..seed + scripts, Seen::default(), move |seed, seen| {
        let told = Script::run(seed, seen);
        if tell {
            told.iter().for_each(|line| println!("{line}"));
        }
    });
    println!("{scripts} scripts from seed {seed}: {counts:?}");
    // Nothing that can happen is left out, unless somebody asked for few scripts.
    if scripts >= 300 {
        for what in EVERYTHING {
            assert!(counts.contains_key(what), "never seen: {what}");
        }
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().unwrap())
}

/// In one program, where hashers are keyed differently and everything is at another address: what a
/// server chooses depends on neither.
#[test]
fn one_seed_replays_all_that_the_network_and_the_server_choose() {
    for_each(1..31, Vec::new(), |seed, all| {
        let [first, second] = [(); 2].map(|()| Script::run(seed, &mut Seen::default()));
        for (one, other) in first.iter().zip(&second) {
            assert_eq!(one, other);
        }
        assert_eq!(first.len(), second.len());
        assert!(!all.contains(&first), "another seed, another script");
        all.push(first);
    });
}

/// Runs a script for each seed. In a thread: should one hang, it is named.
fn for_each<T: Send + 'static>(
    seeds: Range<u64>,
    mut state: T,
    run: impl Fn(u64, &mut T) + Send + 'static,
) -> T {
    let (begun, begins) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        for seed in seeds {
            begun.send(Failing(seed)).unwrap();
            run(seed, &mut state);
        }
        state
    });
    let mut last = None;
    let hangs = loop {
        match begins.recv_timeout(HANG) {
            Ok(seed) => std::mem::forget(last.replace(seed)), // that one was fine
            Err(error) => break error == RecvTimeoutError::Timeout,
        }
    };
    assert!(!hangs, "the script hangs");
    let state = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
    std::mem::forget(last);
    state
}

/// Says how to make it fail again.
struct Failing(u64);

impl Drop for Failing {
    fn drop(&mut self) {
        eprintln!("again: POSTBOX_SEED={} POSTBOX_SIMULATIONS=1", self.0);
    }
}

/// How often what happened, to see that the scripts reach everything.
#[derive(Debug, Default)]
struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    fn add(&mut self, what: &'static str, times: u64) {
        if times > 0 {
            *self.0.entry(what).or_default() += times;
        }
    }
}
