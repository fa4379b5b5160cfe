use prost::DecodeError;

/// Why a datagram is not the message that was expected.
///
/// It is the [`source`](std::error::Error::source) of the protocol's error. The message names the
/// field, and quotes nothing of what the peer sent. There is no telling whether the datagram is no
/// protobuf or protobuf of another type: the format does not know.
///
/// # Examples
///
/// ```
/// use std::error::Error;
///
/// use postbox_codec_protobuf::{ProtobufError, ProtobufSerializer};
/// use postbox_protocol::{DatagramProtocol, Protocol};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Person {
///     #[prost(string, tag = "1")]
///     name: String,
/// }
///
/// let protocol = DatagramProtocol::new(ProtobufSerializer::<Person>::new());
/// let error = protocol.build_packet(b"\x0a\x01\xff").unwrap_err();
///
/// let cause = error.source().unwrap();
/// assert_eq!(
///     cause.to_string(),
///     "failed to decode Protobuf message: Person.name: \
///      invalid string value: data is not UTF-8 encoded",
/// );
/// assert!(cause.is::<ProtobufError>());
/// ```
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ProtobufError {
    cause: DecodeError,
}

impl ProtobufError {
    pub(crate) fn read(cause: DecodeError) -> Self {
        Self { cause }
    }
}
