//! The client, from outside.

mod common;

mod asking;
mod blocking;
mod connect;
mod crashes;
mod refused;
mod root;
mod sizes;
mod talk;
mod waiting;
