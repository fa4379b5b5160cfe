//! MessagePack, from outside.

mod common;

mod allocations;
mod conformance;
mod forms;
mod golden;
mod hostile;
mod received;
mod round_trip;
mod sent;
mod serde_types;
mod sides;
mod suite;
