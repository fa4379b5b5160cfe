//! The messages that the protobuf codec is tested with: see `everything.proto`.
//!
//! It is a crate of its own so that only tests wait for a compiler of `.proto` files.
#![allow(missing_docs, clippy::use_self, reason = "it is made by prost-build")]

include!(concat!(env!("OUT_DIR"), "/postbox.schema.rs"));

/// The schema as a `FileDescriptorSet`, for implementations that load it.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
