//! The client, from outside.

mod common;

mod asking;
mod blocking;
mod connect;
mod crashes;
mod light;
mod memory;
mod refused;
mod root;
mod sizes;
mod talk;
mod waiting;
