//! One serving, from its start to its end.

mod application;
mod drain;
mod serve;

pub(crate) use application::{App, Application};
pub(crate) use serve::serve;
