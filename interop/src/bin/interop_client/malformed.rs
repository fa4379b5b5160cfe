//! Datagrams that are no request, in every format.

use bytes::BytesMut;
use postbox_codec_json::JsonSerializer;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_interop::{Ask, Format, KEY};
use postbox_protocol::{
    Base64Serializer, BoxError, RawSerializer, Serializer, SignedSerializer, SigningKey,
    ZlibSerializer,
};
use serde_json::{Value, json};

/// Returns what a server has to refuse, and be none the worse for it.
pub(crate) fn malformed(format: Format) -> Result<Vec<Vec<u8>>, BoxError> {
    let mut datagrams: Vec<Vec<u8>> = vec![b"hello".into(), vec![0; 16]];
    if format == Format::Protobuf {
        datagrams.extend([
            b"".into(),                       // no request at all
            b"\x0a".into(),                   // cut short
            b"\x0a\x05\x0a\x05hel".into(),    // the same, within
            b"\x0a\x03\x0a\x01\xe9".into(),   // text that is not UTF-8
            b"\x0b".into(),                   // a group that does not end
            b"\x7a\x02hi".into(),             // an unknown op
            b"\x0a\x04\x0a\x02hi\x00".into(), // followed by more
        ]);
        return Ok(datagrams);
    }

    let mut echo = BytesMut::new();
    let text = "hello".to_owned();
    format
        .client()
        .make_datagram(Ask::Echo { text }, &mut echo)?;
    datagrams.extend([Vec::new(), echo[..echo.len() - 1].into()]);
    datagrams.extend(match format {
        // What follows the padding of base64 is left out by Python.
        Format::SignedMessagePack => vec![[b"bbbb", &echo[..]].concat()],
        _ => vec![[&echo[..], b"b"].concat(), [&echo[..], &echo[..]].concat()],
    });
    let not_utf8: &[u8] = match format {
        Format::Json => b"{\"op\": \"echo\", \"text\": \"\xe9\"}",
        _ => b"\x82\xa2op\xa4echo\xa4text\xa1\xe9",
    };
    datagrams.push(wrapped(format, RawSerializer, &not_utf8.into())?);
    for packet in [
        json!([]),
        json!(null),
        json!({"op": "fly"}),
        json!({"text": "a"}),
        json!({"op": "echo"}),
        json!({"op": "echo", "text": 1}),
    ] {
        datagrams.push(match format {
            Format::Json => wrapped(format, JsonSerializer::<Value>::new(), &packet)?,
            _ => wrapped(format, MessagePackSerializer::<Value>::new(), &packet)?,
        });
    }
    Ok(datagrams)
}

/// Writes the packet with what the format has around its serializer.
fn wrapped<S: Serializer>(
    format: Format,
    serializer: S,
    packet: &S::Sent,
) -> Result<Vec<u8>, BoxError> {
    let mut datagram = BytesMut::new();
    match format {
        Format::SignedMessagePack => {
            let signed = SignedSerializer::new(serializer, SigningKey::from_base64(KEY)?);
            Base64Serializer::url_safe(signed).serialize(packet, &mut datagram)?;
        }
        Format::CompressedMessagePack => {
            ZlibSerializer::new(serializer).serialize(packet, &mut datagram)?;
        }
        _ => serializer.serialize(packet, &mut datagram)?,
    }
    Ok(datagram.into())
}
