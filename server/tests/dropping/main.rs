//! Serving that does not end by a shutdown, but is dropped: V10.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

#[path = "../common/mod.rs"]
mod common;

mod exits;
mod future;
mod runtimes;
