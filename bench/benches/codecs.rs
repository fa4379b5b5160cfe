//! What reading and writing a document takes in each codec:
//! `cargo bench -p postbox-bench --bench codecs`.

use bytes::{Bytes, BytesMut};
use divan::Bencher;
use divan::counter::BytesCount;
use postbox_bench::document::Document;
use postbox_codec_json::JsonSerializer;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_protocol::{RawSerializer, Serializer};

fn main() {
    divan::main();
}

/// The document by its size in JSON.
fn document(bytes: usize) -> Document {
    if bytes == 114 {
        Document::small()
    } else {
        Document::large()
    }
}

const SIZES: [usize; 2] = [114, 1_048];

fn encode<S: Serializer>(bencher: Bencher<'_, '_>, serializer: &S, packet: &S::Sent) {
    let mut datagram = BytesMut::with_capacity(4_096);
    assert!(serializer.serialize(packet, &mut datagram).is_ok());
    let len = BytesCount::new(datagram.len());
    bencher.counter(len).bench_local(|| {
        datagram.clear();
        serializer.serialize(divan::black_box(packet), &mut datagram)
    });
}

fn decode<S: Serializer>(bencher: Bencher<'_, '_>, serializer: &S, packet: &S::Sent) {
    let mut datagram = BytesMut::new();
    assert!(serializer.serialize(packet, &mut datagram).is_ok());
    assert!(serializer.deserialize(&datagram).is_ok());
    bencher
        .counter(BytesCount::new(datagram.len()))
        .bench_local(|| serializer.deserialize(divan::black_box(&datagram)));
}

macro_rules! codecs {
    ($($name:ident: $serializer:expr, $packet:expr;)*) => {$(
        mod $name {
            use super::*;

            #[divan::bench(args = SIZES)]
            fn encode(bencher: Bencher<'_, '_>, bytes: usize) {
                super::encode(bencher, &$serializer, &$packet(bytes));
            }

            #[divan::bench(args = SIZES)]
            fn decode(bencher: Bencher<'_, '_>, bytes: usize) {
                super::decode(bencher, &$serializer, &$packet(bytes));
            }
        }
    )*};
}

codecs! {
    raw: RawSerializer, |len| Bytes::from(vec![b'x'; len]);
    json: JsonSerializer::<Document>::new(), document;
    msgpack: MessagePackSerializer::<Document>::new(), document;
    msgpack_compact: MessagePackSerializer::<Document>::compact(), document;
    protobuf: ProtobufSerializer::<Document>::new(), document;
}
