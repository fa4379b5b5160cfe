//! The protocol objects, from outside.

mod common;

mod conformance;
mod converters;
mod flip;
mod protocol_object;
mod raw;
mod tokio_util;
mod wrappers;
