//! JSON, from outside.

mod common;

mod allocations;
mod conformance;
mod hostile;
mod received;
mod round_trip;
mod sent;
mod serde_types;
mod sides;
mod suite;
mod unified;
