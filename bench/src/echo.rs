//! The servers that are measured: each answers a request with itself.

use std::time::Duration;

use clap::ValueEnum;
use postbox_codec_json::JsonSerializer;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_protocol::{DatagramProtocol, RawSerializer, Serializer};
use postbox_server::{BoxError, Client, RecvError, Requests, Server, ServerBuilder};

use crate::document::Document;

/// How datagrams are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// The datagram's bytes as they are
    Raw,
    /// JSON of a typed struct
    Json,
    /// Any JSON document
    JsonValue,
    /// MessagePack of the same struct, as a map from its fields' names
    Msgpack,
    /// MessagePack of the same struct, as an array
    MsgpackCompact,
    /// Protobuf of the same struct
    Protobuf,
}

/// How long a handler lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// A handler answers once and returns
    Oneshot,
    /// A handler answers until 30 seconds pass without a request
    Session,
}

/// Makes a server that answers every request with itself.
pub fn server(codec: Codec, style: Style) -> ServerBuilder {
    match codec {
        Codec::Raw => echo(RawSerializer, style),
        Codec::Json => echo(JsonSerializer::<Document>::new(), style),
        Codec::JsonValue => echo(JsonSerializer::<serde_json::Value>::new(), style),
        Codec::Msgpack => echo(MessagePackSerializer::<Document>::new(), style),
        Codec::MsgpackCompact => echo(MessagePackSerializer::<Document>::compact(), style),
        Codec::Protobuf => echo(ProtobufSerializer::<Document>::new(), style),
    }
}

/// Writes a document as a server of this codec reads it; raw ones read anything.
///
/// # Errors
///
/// The serializer's own.
pub fn datagram(codec: Codec, document: &Document) -> Result<Vec<u8>, BoxError> {
    let mut bytes = bytes::BytesMut::new();
    match codec {
        Codec::Raw | Codec::Json | Codec::JsonValue => {
            JsonSerializer::<Document>::new().serialize(document, &mut bytes)?;
        }
        Codec::Msgpack => {
            MessagePackSerializer::<Document>::new().serialize(document, &mut bytes)?;
        }
        Codec::MsgpackCompact => {
            MessagePackSerializer::<Document>::compact().serialize(document, &mut bytes)?;
        }
        Codec::Protobuf => {
            ProtobufSerializer::<Document>::new().serialize(document, &mut bytes)?;
        }
    }
    Ok(bytes.to_vec())
}

fn echo<S, Packet>(serializer: S, style: Style) -> ServerBuilder
where
    S: Serializer<Sent = Packet, Received = Packet>,
    Packet: Send + 'static,
{
    let protocol = DatagramProtocol::new(serializer);
    match style {
        Style::Oneshot => Server::builder_fn(protocol, answer_once::<Packet>),
        Style::Session => Server::builder_fn(protocol, answer_on::<Packet>),
    }
}

async fn answer_once<Packet>(
    client: Client<Packet>,
    mut requests: Requests<Packet>,
) -> Result<(), BoxError> {
    client.send(requests.recv().await?).await?;
    Ok(())
}

async fn answer_on<Packet>(
    client: Client<Packet>,
    mut requests: Requests<Packet>,
) -> Result<(), BoxError> {
    loop {
        // What a handler holds while it waits is its client's memory: not also the `Result`.
        let request = match requests.recv_timeout(Duration::from_secs(30)).await {
            Ok(request) => request,
            Err(RecvError::TimedOut) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        client.send(request).await?;
    }
}
