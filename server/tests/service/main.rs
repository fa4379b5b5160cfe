//! The service around the handlers: S1 to S4.

#[path = "../common/mod.rs"]
mod common;

mod background;
mod exits;
mod scope;
