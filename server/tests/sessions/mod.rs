//! H15: one address is not one user. C6: a question is handled once.

mod answers;
mod each;
mod kept;
mod keys;
mod next;
mod once;
mod questions;
#[cfg(feature = "tower")]
mod service;
mod stopping;
mod strangers;
