//! JSON for Postbox protocol objects.
//!
//! [`JsonSerializer`] turns any type with serde's derives into one compact JSON document a datagram
//! and back, and [`serde_json::Value`] where no type is known. It knows no socket and no handler:
//! it is one part of a [`DatagramProtocol`](postbox_protocol::DatagramProtocol).
//!
//! # Examples
//!
//! ```
//! use bytes::BytesMut;
//! use postbox_codec_json::JsonSerializer;
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
//! let server = DatagramProtocol::new(JsonSerializer::<Weather, Ask>::new());
//! let client = server.flip();
//!
//! let mut request = BytesMut::new();
//! client.make_datagram(Ask { city: "Lyon".to_owned() }, &mut request)?;
//! assert_eq!(request, r#"{"city":"Lyon"}"#);
//! assert_eq!(server.build_packet(&request)?, Ask { city: "Lyon".to_owned() });
//!
//! let mut answer = BytesMut::new();
//! server.make_datagram(Weather { celsius: 21.5 }, &mut answer)?;
//! assert_eq!(client.build_packet(&answer)?, Weather { celsius: 21.5 });
//! # Ok::<(), postbox_protocol::BoxError>(())
//! ```

mod serializer;

mod finite;

mod kept_keys;

mod error;

// The public interface is:
pub use error::JsonError;
pub use serializer::JsonSerializer;

/// The code in the package's README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
