//! H1 to H14: what a handler is given, what it may do, and what its end means.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

#[path = "../common/mod.rs"]
mod common;

mod answering;
mod cancelled;
mod codecs;
mod deadlines;
mod elsewhere;
mod ends;
mod outbox;
mod postboxes;
mod receiving;
mod starts;
