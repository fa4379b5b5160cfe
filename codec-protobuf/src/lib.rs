//! Protocol Buffers for Postbox protocol objects.
//!
//! [`ProtobufSerializer`] turns any [`prost::Message`] into the bytes of one datagram and back. It
//! knows no socket and no handler: it is one part of a
//! [`DatagramProtocol`](postbox_protocol::DatagramProtocol).
//!
//! It takes the messages of prost 0.14. They come from a `.proto` file that a build script compiles
//! (with `prost-build`, and `protox` in place of an installed `protoc`), or from prost's derives as
//! below. Where a handler shall not know them, a [converter](postbox_protocol::Converter) stands in
//! between.
//!
//! # Examples
//!
//! ```
//! use bytes::BytesMut;
//! use postbox_codec_protobuf::ProtobufSerializer;
//! use postbox_protocol::{DatagramProtocol, Flip, Protocol};
//!
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct Ask {
//!     #[prost(string, tag = "1")]
//!     city: String,
//! }
//!
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct Weather {
//!     #[prost(double, tag = "1")]
//!     celsius: f64,
//! }
//!
//! // The server sends `Weather` and receives `Ask`; its clients hold the other side.
//! let server = DatagramProtocol::new(ProtobufSerializer::<Weather, Ask>::new());
//! let client = server.flip();
//!
//! let mut request = BytesMut::new();
//! client.make_datagram(Ask { city: "Lyon".to_owned() }, &mut request)?;
//! assert_eq!(&request[..], b"\x0a\x04Lyon");
//! assert_eq!(server.build_packet(&request)?, Ask { city: "Lyon".to_owned() });
//!
//! let mut answer = BytesMut::new();
//! server.make_datagram(Weather { celsius: 21.5 }, &mut answer)?;
//! assert_eq!(client.build_packet(&answer)?, Weather { celsius: 21.5 });
//! # Ok::<(), postbox_protocol::BoxError>(())
//! ```

mod serializer;

mod error;

// The public interface is:
pub use error::ProtobufError;
pub use serializer::ProtobufSerializer;

/// The code in the package's README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
