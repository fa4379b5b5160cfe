//! Serializers that wrap a serializer.
#![allow(clippy::unwrap_used, reason = "a part of the tests")]

mod support;

mod allocations;
mod base64;
mod checksum;
mod damage;
mod encryption;
mod nesting;
mod numbered;
mod prefix;
mod signature;
mod zlib;
mod zstd;
