//! Serving that does not end by a shutdown, but is dropped: V10.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod exits;
mod future;
mod runtimes;
