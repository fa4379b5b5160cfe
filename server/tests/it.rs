//! The contract, on every transport and runtime: each row by its tests.

mod common;

mod binding;
mod closing;
mod dropping;
mod errors;
mod handler;
mod load;
mod log;
mod protocol;
mod service;
mod serving;
mod sessions;
mod shutdown;
mod simulated;
