//! How packets become datagrams and back: the protocol objects of Postbox.
//!
//! This crate knows no socket, no runtime and no format. It holds the traits that a codec and a
//! user implement, and the one object, [`DatagramProtocol`], that puts them together.
//!
//! ```text
//!   packet ──convert_to_dto──▶ DTO ──serialize────▶ datagram      (what this end sends)
//!   packet ◀─create_from_dto── DTO ◀──deserialize── datagram      (what this end receives)
//!           └── Converter ──┘      └─ Serializer ─┘
//! ```
//!
//! - A [`Serializer`] knows the format: a DTO (a plain data type) and the bytes of one datagram.
//! - A [`Converter`] is optional. It makes business objects from DTOs and refuses those that make
//!   no sense: *this is JSON, but it is not a valid person*.
//! - A [`Protocol`] is what servers and clients ask for. [`DatagramProtocol`] implements it.
//!
//! *Sent* and *Received* are seen from the end that holds the object: a server sends answers and
//! receives requests. The other side holds the same pieces, [flipped](Flip).
//!
//! # Examples
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use postbox_protocol::{DatagramProtocol, Protocol, RawSerializer};
//!
//! let protocol = DatagramProtocol::new(RawSerializer);
//!
//! let mut datagram = BytesMut::new();
//! protocol.make_datagram(Bytes::from_static(b"ping"), &mut datagram)?;
//! assert_eq!(protocol.build_packet(&datagram)?, "ping");
//! # Ok::<(), postbox_protocol::BoxError>(())
//! ```
//!
//! # Features
//!
//! None is on by default.
//!
//! - `conformance`: the rules that every serializer keeps, as a suite for the tests of a codec.
//!
//! - `tokio-util`: `CodecSerializer`, any tokio-util encoder and decoder as a serializer, and
//!   `ProtocolCodec`, any protocol object as a codec for its `UdpFramed`.
//!
//! The others are serializers that wrap a serializer. They nest in any order and flip, and so does
//! [`NumberedSerializer`], which needs no feature and takes 9 bytes: a number that ties an answer
//! to its question.
//!
//! | feature | serializer | more bytes in a datagram |
//! |---|---|---|
//! | `base64` | `Base64Serializer`: bytes as text | a third, rounded up to a multiple of 4 |
//! | `checksum` | `ChecksumSerializer`: SHA-256, against accidents | 32 |
//! | `encryption` | `EncryptedSerializer`: XChaCha20-Poly1305, against readers and forgery | 41 |
//! | `prefix` | `PrefixedSerializer`: a magic number, a version | the prefix |
//! | `signature` | `SignedSerializer`: HMAC-SHA-256, against forgery | 32 |
//! | `zlib` | `ZlibSerializer`: smaller, read everywhere; pure Rust | at most 11 up to 31 KiB, 21 (70 at level 1) up to 64 KiB |
//! | `zstd` | `ZstdSerializer`: smaller, faster; needs a C compiler | at most 12 up to 128 KiB |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod protocol;

mod datagram_protocol;

mod converter;
mod serializer;

mod wrapper;

#[cfg(feature = "tokio-util")]
mod tokio_util;

mod flip;

mod error;

#[doc(hidden)]
pub mod panics;

#[cfg(feature = "conformance")]
pub mod conformance;

// The public interface is:
pub use converter::{
    Converter, FnConverter, IdentityConverter, StapledConverter, TryFromConverter,
};
pub use datagram_protocol::DatagramProtocol;
pub use error::{BoxError, DatagramMakeError, DatagramParseError};
pub use flip::Flip;
pub use protocol::Protocol;
pub use serializer::{Append, RawSerializer, Serializer, StapledSerializer};
#[cfg(feature = "tokio-util")]
pub use tokio_util::{CodecError, CodecSerializer, ProtocolCodec, ProtocolCodecError};
#[cfg(feature = "base64")]
pub use wrapper::base64::{Base64Error, Base64Serializer};
#[cfg(feature = "checksum")]
pub use wrapper::checksum::{ChecksumError, ChecksumSerializer};
#[cfg(any(feature = "zlib", feature = "zstd"))]
pub use wrapper::compression::CompressionError;
#[cfg(feature = "encryption")]
pub use wrapper::encryption::{
    EncryptedSerializer, EncryptionError, EncryptionKeyError, EncryptionKeys,
};
pub use wrapper::numbered::{Numbered, NumberedConverter, NumberedError, NumberedSerializer};
#[cfg(feature = "prefix")]
pub use wrapper::prefix::{PrefixError, PrefixedSerializer};
#[cfg(all(feature = "signature", feature = "base64"))]
pub use wrapper::signature::InvalidKey;
#[cfg(feature = "signature")]
pub use wrapper::signature::{SignatureError, SignedSerializer, SigningKey};
#[cfg(feature = "zlib")]
pub use wrapper::zlib::ZlibSerializer;
#[cfg(feature = "zstd")]
pub use wrapper::zstd::ZstdSerializer;

/// The code in the package's README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
