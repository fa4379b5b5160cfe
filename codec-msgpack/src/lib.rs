//! MessagePack for Postbox protocol objects.
//!
//! [`MessagePackSerializer`] turns any type with serde's derives into one MessagePack value a
//! datagram and back. It knows no socket and no handler: it is one part of a
//! [`DatagramProtocol`](postbox_protocol::DatagramProtocol).
//!
//! What serde has no word for has a type here: [`Timestamp`], and [`Extension`] for every other
//! extension of MessagePack.
//!
//! # Examples
//!
//! ```
//! use bytes::BytesMut;
//! use postbox_codec_msgpack::MessagePackSerializer;
//! use postbox_protocol::{DatagramProtocol, Flip, Protocol};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Ask {
//!     city: String,
//! }
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Weather {
//!     celsius: f64,
//! }
//!
//! // The server sends `Weather` and receives `Ask`; its clients hold the other side.
//! let server = DatagramProtocol::new(MessagePackSerializer::<Weather, Ask>::new());
//! let client = server.flip();
//!
//! let mut request = BytesMut::new();
//! client.make_datagram(Ask { city: "Lyon".to_owned() }, &mut request)?;
//! assert_eq!(&request[..], b"\x81\xa4city\xa4Lyon");
//! assert_eq!(server.build_packet(&request)?, Ask { city: "Lyon".to_owned() });
//!
//! let mut answer = BytesMut::new();
//! server.make_datagram(Weather { celsius: 21.5 }, &mut answer)?;
//! assert_eq!(client.build_packet(&answer)?, Weather { celsius: 21.5 });
//! # Ok::<(), postbox_protocol::BoxError>(())
//! ```

mod serializer;

mod check;

mod extension;
mod timestamp;

mod error;

// The public interface is:
pub use error::MessagePackError;
pub use extension::Extension;
pub use serializer::MessagePackSerializer;
pub use timestamp::Timestamp;

/// The code in the package's README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
