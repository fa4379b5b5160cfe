//! How often a datagram takes memory: what the docs promise.

use std::hint::black_box;

use allocation_counter::measure;
use bytes::{Bytes, BytesMut};
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_codec_protobuf_schema::everything::Shape;
use postbox_codec_protobuf_schema::{Everything, Line, Person};
use postbox_protocol::Serializer;
use prost::Message;

use crate::common::{datagram, everything, person, read};

/// Returns how often sending takes memory, into a buffer that is large enough.
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn sending<T: Message + Default + 'static>(packet: &T) -> u64 {
    let serializer = ProtobufSerializer::<T>::new();
    let mut datagram = BytesMut::with_capacity(2048);
    measure(|| serializer.serialize(packet, &mut datagram).unwrap()).count_total
}

/// Returns how often receiving what was sent takes memory.
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn receiving<T: Message + Default + 'static>(packet: &T) -> u64 {
    let datagram = datagram(packet);
    let serializer = ProtobufSerializer::<T>::new();
    let received = measure(|| drop(black_box(serializer.deserialize(&datagram).unwrap())));
    received.count_total
}

fn numbers() -> Everything {
    Everything {
        a_double: 0.1,
        an_int64: -1,
        a_sint32: 5,
        a_fixed32: 7,
        a_bool: true,
        color: 2,
        shape: Some(Shape::Line(Line { from: 1.0, to: 2.0 })),
        maybe_number: Some(0),
        ..Everything::default()
    }
}

#[test]
fn p3_sending_takes_no_memory() {
    assert_eq!(sending(&numbers()), 0);
    assert_eq!(sending(&person()), 0);
    assert_eq!(sending(&everything()), 0);
}

#[test]
fn p3_receiving_numbers_takes_no_memory() {
    assert_eq!(receiving(&numbers()), 0);
    assert_eq!(receiving(&Person::default()), 0);
}

#[test]
fn p3_receiving_takes_what_the_message_owns() {
    assert_eq!(receiving(&person()), 1);
    let list = Everything {
        people: vec![person(); 4],
        ..Everything::default()
    };
    // The list at once, since it begins with room for four.
    assert_eq!(receiving(&list), 5);
    let strings = Everything {
        strings: vec!["a".repeat(100); 4],
        ..Everything::default()
    };
    assert_eq!(receiving(&strings), 5);
}

#[test]
fn p3_receiving_a_byte_string_takes_memory_twice_as_a_vec_and_once_as_bytes() {
    #[derive(Clone, PartialEq, Message)]
    struct Blob {
        #[prost(bytes = "bytes", tag = "15")]
        some_bytes: Bytes,
    }

    let blob = Blob {
        some_bytes: Bytes::from_static(&[1; 1000]),
    };
    assert_eq!(receiving(&blob), 1);
    let vec = Everything {
        some_bytes: vec![1; 1000],
        ..Everything::default()
    };
    assert_eq!(receiving(&vec), 2);
    assert_eq!(datagram(&vec), datagram(&blob));
}

#[test]
fn p5_an_error_takes_little() {
    for datagram in [&b"\x0a"[..], b"\x0a\x01\xff", b"\x0a\x05Ann", b"\x0f"] {
        let refused = measure(|| drop(read::<Person>(datagram)));
        assert!(
            refused.bytes_max < 512 && refused.count_total <= 8,
            "{refused:?}"
        );
    }
}
