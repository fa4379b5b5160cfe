//! Questions and their answers.

mod client;
mod core;
mod hub;
mod link;

pub(crate) mod questions;

mod matching;
mod numbers;
mod rto;

mod error;
mod stats;
mod times;

#[cfg(test)]
mod tests;

pub use client::AskingClient;
pub use error::AskError;
pub use matching::{FnMatching, Matching, NumberedMatching, matching};
pub(crate) use questions::UNASKED;
pub use stats::AskStats;
pub use times::AskTimes;
