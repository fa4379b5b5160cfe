//! tokio-util both ways: its codecs as serializers, protocol objects as its codecs.

mod codec;
mod serializer;

pub use codec::{ProtocolCodec, ProtocolCodecError};
pub use serializer::{CodecError, CodecSerializer};
