//! The whole path of a datagram: bytes become a script of datagrams from good clients, strangers
//! and forged addresses, which go through admission, dispatch, a codec and a handler to answers, on
//! a network in memory with a clock that stands still. Some servers have wide bounds, some narrow ones;
//! one has a session key, and one answers each datagram for itself.
//!
//! What has to hold: nothing panics but handlers that are told to, the counters add up whenever
//! nothing runs, memory and log stay in proportion to what was sent and nothing is kept, and the
//! good client is answered.
#![no_main]

mod handler;
mod log;
mod script;
mod servers;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;

use servers::Servers;

thread_local! {
    /// They serve for as long as the program lives, and are idle between two inputs.
    static SERVERS: RefCell<Option<&'static mut Servers>> = const { RefCell::new(None) };
}

fuzz_target!(|script: &[u8]| {
    SERVERS.with_borrow_mut(|servers| servers.get_or_insert_with(Servers::start).run(script));
});
