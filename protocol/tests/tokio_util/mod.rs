//! tokio-util both ways.
#![allow(clippy::unwrap_used, reason = "a part of the tests")]

mod allocations;
mod codec;
mod serializer;
