//! What the examples print, and what can be composed of all the crates.

mod composition;
mod run;
