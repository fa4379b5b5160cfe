//! Serving that does not end by a shutdown, but is dropped: V10.

#[path = "../common/mod.rs"]
mod common;

mod future;
mod runtimes;
