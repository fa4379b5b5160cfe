//! tokio-util both ways.
#![allow(clippy::unwrap_used, reason = "a part of the tests")]

#[path = "../common/mod.rs"]
mod common;

mod allocations;
mod codec;
mod serializer;
