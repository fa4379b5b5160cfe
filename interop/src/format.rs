//! The formats that the peers can speak, each with both sides of its protocol.

use std::str::FromStr;
use std::sync::Arc;

use postbox_codec_json::JsonSerializer;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_protocol::{
    Base64Serializer, BoxError, DatagramProtocol, Flip, Protocol, SignedSerializer, SigningKey,
    TryFromConverter, ZlibSerializer,
};

use crate::{Answer, Ask, protobuf};

/// The key of [`Format::SignedMessagePack`]; `wire.py` has the same.
pub const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A protocol object, whatever its format.
pub type Shared<Sent, Received> = Arc<dyn Protocol<Sent = Sent, Received = Received>>;

/// What datagrams look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `json`
    Json,
    /// `msgpack`
    MessagePack,
    /// `msgpack.base64`: signed, and in URL-safe base64.
    SignedMessagePack,
    /// `msgpack.zlib`
    CompressedMessagePack,
    /// `protobuf`: the messages of `wire.proto`.
    Protobuf,
}

impl FromStr for Format {
    type Err = BoxError;

    fn from_str(name: &str) -> Result<Self, BoxError> {
        Ok(match name {
            "json" => Self::Json,
            "msgpack" => Self::MessagePack,
            "msgpack.base64" => Self::SignedMessagePack,
            "msgpack.zlib" => Self::CompressedMessagePack,
            "protobuf" => Self::Protobuf,
            _ => return Err(format!("no format {name}").into()),
        })
    }
}

type MessagePack = MessagePackSerializer<Answer, Ask>;
type ProtobufConverter = TryFromConverter<Answer, protobuf::Answer, Ask, protobuf::Ask>;

/// Runs the expression with the server's protocol object of a format.
macro_rules! with_protocol {
    ($format:expr, $protocol:ident => $result:expr) => {
        match $format {
            Format::Json => {
                let $protocol = DatagramProtocol::new(JsonSerializer::<Answer, Ask>::new());
                $result
            }
            Format::MessagePack => {
                let $protocol = DatagramProtocol::new(MessagePack::new());
                $result
            }
            Format::SignedMessagePack => {
                let key = SigningKey::from_base64(KEY).expect("a key of 32 bytes");
                let signed = SignedSerializer::new(MessagePack::new(), key);
                let $protocol = DatagramProtocol::new(Base64Serializer::url_safe(signed));
                $result
            }
            Format::CompressedMessagePack => {
                let $protocol = DatagramProtocol::new(ZlibSerializer::new(MessagePack::new()));
                $result
            }
            Format::Protobuf => {
                let serializer = ProtobufSerializer::<protobuf::Answer, protobuf::Ask>::new();
                let $protocol =
                    DatagramProtocol::new(serializer).with_converter(ProtobufConverter::new());
                $result
            }
        }
    };
}

impl Format {
    /// Returns what a server speaks.
    pub fn server(self) -> Shared<Answer, Ask> {
        with_protocol!(self, protocol => Arc::new(protocol))
    }

    /// Returns what a client speaks.
    pub fn client(self) -> Shared<Ask, Answer> {
        with_protocol!(self, protocol => Arc::new(protocol.flip()))
    }
}
