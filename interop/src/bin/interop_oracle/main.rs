//! Writes and reads datagrams for an implementation that compares: one line asks, one line answers.
//!
//! `write WHAT NODE` is answered with the datagram in hex, `read WHAT HEX` with the node that it
//! says, both with `refused WHY` where there is none. See `node.rs` for how a node is written.
//!
//! With the argument `descriptors` it writes the schemas of the protobuf messages, as a
//! `FileDescriptorSet`, and ends.

mod node;

mod everything;
mod record;
mod value;

use std::io::{self, BufRead, Write};

use bytes::BytesMut;
use postbox_codec_json::JsonSerializer;
use postbox_codec_msgpack::{Extension, MessagePackSerializer, Timestamp};
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_codec_protobuf_schema::{Everything, NewerPerson, Person};
use postbox_protocol::{BoxError, Serializer};

use node::{Canon, Node};
use record::Record;

fn main() -> Result<(), BoxError> {
    let mut output = io::stdout().lock();
    if std::env::args().nth(1).as_deref() == Some("descriptors") {
        // Two messages one after the other are the two merged: all files of both.
        output.write_all(postbox_codec_protobuf_schema::DESCRIPTORS)?;
        output.write_all(postbox_interop::protobuf::DESCRIPTORS)?;
        return Ok(output.flush()?);
    }
    for line in io::stdin().lock().lines() {
        writeln!(output, "{}", answer(&line?)?)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(line: &str) -> Result<String, BoxError> {
    let mut words = line.splitn(3, ' ');
    let (Some(verb), Some(what), Some(rest)) = (words.next(), words.next(), words.next()) else {
        return Err("not three words".into());
    };
    let ask = match verb {
        "write" => Ask::Write(Node::parse(rest)?),
        "read" => Ask::Read(node::from_hex(rest)?),
        _ => return Err(format!("cannot {verb}").into()),
    };
    let (format, kind) = what.split_once('-').unwrap_or((what, ""));
    match format {
        "json" => json(kind, ask),
        "msgpack" => msgpack(kind, ask),
        "protobuf" => protobuf(kind, ask),
        _ => Err(format!("no format {format}").into()),
    }
}

enum Ask {
    Write(Node),
    Read(Vec<u8>),
}

fn json(kind: &str, ask: Ask) -> Result<String, BoxError> {
    match kind {
        "value" => run(&JsonSerializer::<serde_json::Value>::new(), ask),
        "record" => run(&JsonSerializer::<Record>::new(), ask),
        "u64" => run(&JsonSerializer::<u64>::new(), ask),
        "i64" => run(&JsonSerializer::<i64>::new(), ask),
        "u128" => run(&JsonSerializer::<u128>::new(), ask),
        "i128" => run(&JsonSerializer::<i128>::new(), ask),
        "f32" => run(&JsonSerializer::<f32>::new(), ask),
        "f64" => run(&JsonSerializer::<f64>::new(), ask),
        "text" => run(&JsonSerializer::<String>::new(), ask),
        _ => Err(format!("no JSON {kind}").into()),
    }
}

fn msgpack(kind: &str, ask: Ask) -> Result<String, BoxError> {
    match kind {
        "value" => run(&MessagePackSerializer::<rmpv::Value>::new(), ask),
        "record" => run(&MessagePackSerializer::<Record>::new(), ask),
        "compact" => run(&MessagePackSerializer::<Record>::compact(), ask),
        "u64" => run(&MessagePackSerializer::<u64>::new(), ask),
        "i64" => run(&MessagePackSerializer::<i64>::new(), ask),
        "f32" => run(&MessagePackSerializer::<f32>::new(), ask),
        "f64" => run(&MessagePackSerializer::<f64>::new(), ask),
        "text" => run(&MessagePackSerializer::<String>::new(), ask),
        "timestamp" => run(&MessagePackSerializer::<Timestamp>::new(), ask),
        "extension" => run(&MessagePackSerializer::<Extension>::new(), ask),
        _ => Err(format!("no MessagePack {kind}").into()),
    }
}

fn protobuf(kind: &str, ask: Ask) -> Result<String, BoxError> {
    match kind {
        "Everything" => run(&ProtobufSerializer::<Everything>::new(), ask),
        "NewerPerson" => run(&ProtobufSerializer::<NewerPerson>::new(), ask),
        "Person" => run(&ProtobufSerializer::<Person>::new(), ask),
        _ => Err(format!("no message {kind}").into()),
    }
}

fn run<S>(serializer: &S, ask: Ask) -> Result<String, BoxError>
where
    S: Serializer<Sent: Canon, Received: Canon>,
{
    let done = match ask {
        Ask::Write(node) => {
            // What does not fit the type is a mistake of whoever asks.
            let packet = S::Sent::from_node(node)?;
            let mut datagram = BytesMut::new();
            serializer
                .serialize(&packet, &mut datagram)
                .map(|()| node::hex(&datagram))
        }
        Ask::Read(datagram) => serializer
            .deserialize(&datagram)
            .map(|packet| packet.to_node().to_string()),
    };
    Ok(done.unwrap_or_else(|error| format!("refused {}", error.to_string().escape_default())))
}
