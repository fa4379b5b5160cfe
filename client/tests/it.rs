//! The client, from outside.

mod common;

mod connect;
mod crashes;
mod light;
mod memory;
mod refused;
mod root;
mod sizes;
mod talk;
mod waiting;
