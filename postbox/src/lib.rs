#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// Whole crates: what one of them brings is here without another word. Where two bring the same
// name, the compiler warns (`ambiguous_glob_reexports`).
#[doc(inline)]
pub use postbox_protocol::*;

#[cfg(feature = "server")]
#[doc(inline)]
pub use postbox_server::*;

#[cfg(feature = "client")]
#[doc(inline)]
pub use postbox_client::*;

#[cfg(feature = "json")]
#[doc(inline)]
pub use postbox_codec_json::*;

#[cfg(feature = "msgpack")]
#[doc(inline)]
pub use postbox_codec_msgpack::*;

#[cfg(feature = "protobuf")]
#[doc(inline)]
pub use postbox_codec_protobuf::*;
