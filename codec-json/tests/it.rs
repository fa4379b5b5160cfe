//! JSON, from outside.

mod common;

mod allocations;
mod conformance;
mod hostile;
mod received;
mod round_trip;
mod sent;
mod sides;
mod suite;
