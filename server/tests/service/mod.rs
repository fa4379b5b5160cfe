//! The service around the handlers: S1 to S4.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod background;
mod client_tasks;
mod destructors;
mod exits;
mod first;
mod scope;
