//! Serializers that wrap a serializer: each changes the bytes of the datagram, and no packet but
//! that one puts a number beside it.
//!
//! To send, the serializer within writes its datagram first, and the wrapper works on those bytes
//! where they stand. To receive, the wrapper takes its own part off first, so that the serializer
//! within sees only what passed.

#[cfg(feature = "base64")]
pub(crate) mod base64;
#[cfg(feature = "checksum")]
pub(crate) mod checksum;
#[cfg(any(feature = "zlib", feature = "zstd"))]
pub(crate) mod compression;
#[cfg(feature = "encryption")]
pub(crate) mod encryption;
pub(crate) mod numbered;
#[cfg(feature = "prefix")]
pub(crate) mod prefix;
#[cfg(feature = "signature")]
pub(crate) mod signature;
#[cfg(feature = "zlib")]
pub(crate) mod zlib;
#[cfg(feature = "zstd")]
pub(crate) mod zstd;

#[cfg(any(feature = "zlib", feature = "zstd"))]
mod pool;
#[cfg(any(feature = "base64", feature = "zlib", feature = "zstd"))]
mod replace;
