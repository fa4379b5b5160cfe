//! What is sent, byte for byte, and that it is understood: as long as there are peers.

use std::collections::BTreeMap;

use bytes::BytesMut;
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_codec_protobuf_schema::everything::{Inner, Shape};
use postbox_codec_protobuf_schema::{Color, Everything, Line, Nothing, Person};
use postbox_protocol::{DatagramProtocol, Protocol, Serializer};

use crate::common::{datagram, everything, person, read};

/// Checks the bytes of a message, and that they say it.
#[track_caller]
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn golden(change: impl FnOnce(&mut Everything), bytes: &[u8]) {
    let mut packet = Everything::default();
    change(&mut packet);
    assert_eq!(
        datagram(&packet).escape_ascii().to_string(),
        bytes.escape_ascii().to_string()
    );
    assert_eq!(read::<Everything>(bytes).unwrap(), packet);
}

#[test]
fn p3_every_scalar_has_its_form() {
    golden(
        |m| m.a_double = 0.1,
        b"\x09\x9a\x99\x99\x99\x99\x99\xb9\x3f",
    );
    golden(|m| m.a_float = 1.5, b"\x15\0\0\xc0\x3f");
    golden(|m| m.an_int32 = 300, b"\x18\xac\x02");
    golden(
        |m| m.an_int32 = -1,
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    );
    golden(|m| m.an_int64 = 1, b"\x20\x01");
    golden(
        |m| m.an_int64 = i64::MIN,
        b"\x20\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    );
    golden(|m| m.a_uint32 = u32::MAX, b"\x28\xff\xff\xff\xff\x0f");
    golden(
        |m| m.a_uint64 = u64::MAX,
        b"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    );
    golden(|m| m.a_sint32 = -1, b"\x38\x01");
    golden(|m| m.a_sint32 = i32::MIN, b"\x38\xff\xff\xff\xff\x0f");
    golden(|m| m.a_sint64 = 1, b"\x40\x02");
    golden(|m| m.a_fixed32 = 1, b"\x4d\x01\0\0\0");
    golden(|m| m.a_fixed64 = 1, b"\x51\x01\0\0\0\0\0\0\0");
    golden(|m| m.a_sfixed32 = -1, b"\x5d\xff\xff\xff\xff");
    golden(
        |m| m.a_sfixed64 = -1,
        b"\x61\xff\xff\xff\xff\xff\xff\xff\xff",
    );
    golden(|m| m.a_bool = true, b"\x68\x01");
    golden(|m| m.a_string = "é".to_owned(), b"\x72\x02\xc3\xa9");
    golden(|m| m.some_bytes = vec![0, 255], b"\x7a\x02\0\xff");
    golden(|m| m.color = Color::Green.into(), b"\x80\x01\x02");
    golden(
        |m| m.color = Color::None.into(),
        b"\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    );
}

#[test]
fn p3_messages_stand_within_messages() {
    golden(
        |m| m.person = Some(person()),
        b"\x8a\x01\x08\x0a\x04Zo\xc3\xab\x10\x2a",
    );
    golden(|m| m.person = Some(Person::default()), b"\x8a\x01\0");
    golden(
        |m| {
            m.next = Some(Box::new(Everything {
                a_bool: true,
                ..Everything::default()
            }))
        },
        b"\xe2\x03\x02\x68\x01",
    );
    // The largest field number.
    golden(
        |m| m.inner = Some(Inner { far: 9 }),
        b"\xfa\x7f\x0d\xf9\xff\xff\xff\x0f\x09\0\0\0\0\0\0\0",
    );
}

#[test]
fn p3_lists_of_numbers_are_packed_unless_the_schema_says_otherwise() {
    golden(|m| m.packed = vec![1, 300], b"\xa2\x01\x03\x01\xac\x02");
    golden(|m| m.unpacked = vec![-1, 1], b"\xa8\x01\x01\xa8\x01\x02");
    golden(
        |m| m.doubles = vec![1.0],
        b"\xb2\x01\x08\0\0\0\0\0\0\xf0\x3f",
    );
    golden(
        |m| m.fixeds = vec![7, 8],
        b"\xba\x01\x08\x07\0\0\0\x08\0\0\0",
    );
    golden(|m| m.bools = vec![true, false], b"\xc2\x01\x02\x01\0");
    golden(
        |m| m.colors = vec![Color::Red.into(), 77],
        b"\xca\x01\x02\x01\x4d",
    );
    golden(
        |m| m.strings = vec![String::new(), "a".to_owned()],
        b"\xd2\x01\0\xd2\x01\x01a",
    );
    golden(
        |m| m.blobs = vec![vec![1], vec![]],
        b"\xda\x01\x01\x01\xda\x01\0",
    );
    golden(
        |m| m.people = vec![Person::default(), person()],
        b"\xe2\x01\0\xe2\x01\x08\x0a\x04Zo\xc3\xab\x10\x2a",
    );
}

#[test]
fn p3_maps_are_lists_of_keys_and_values() {
    golden(
        |m| m.named = BTreeMap::from([("a".to_owned(), 1.0)]),
        b"\xf2\x01\x0c\x0a\x01a\x11\0\0\0\0\0\0\xf0\x3f",
    );
    golden(
        |m| {
            m.numbered = BTreeMap::from([(
                -1,
                Person {
                    name: String::new(),
                    age: 3,
                },
            )])
        },
        b"\xfa\x01\x06\x08\x01\x12\x02\x10\x03",
    );
    golden(
        |m| m.switched = BTreeMap::from([(true, vec![1])]),
        b"\x82\x02\x05\x08\x01\x12\x01\x01",
    );
}

#[test]
fn p3_of_a_oneof_one_is_sent_even_with_its_default() {
    golden(|m| m.shape = Some(Shape::Point(Nothing {})), b"\xc2\x02\0");
    golden(
        |m| m.shape = Some(Shape::Circle(0.0)),
        b"\xc9\x02\0\0\0\0\0\0\0\0",
    );
    golden(
        |m| m.shape = Some(Shape::Line(Line { from: 1.0, to: 0.0 })),
        b"\xd2\x02\x09\x09\0\0\0\0\0\0\xf0\x3f",
    );
    golden(
        |m| m.shape = Some(Shape::Label(String::new())),
        b"\xda\x02\0",
    );
    golden(|m| m.shape = Some(Shape::Filled(0)), b"\xe0\x02\0");
}

#[test]
fn p3_an_optional_field_is_sent_even_with_its_default() {
    golden(|m| m.maybe_number = Some(0), b"\x90\x03\0");
    golden(|m| m.maybe_text = Some(String::new()), b"\x9a\x03\0");
    golden(|m| m.maybe_bytes = Some(vec![]), b"\xa2\x03\0");
    golden(|m| m.maybe_bool = Some(false), b"\xa8\x03\0");
    golden(|m| m.maybe_color = Some(0), b"\xb0\x03\0");
}

#[test]
fn p3_other_defaults_are_not_sent() {
    golden(|m| m.a_double = 0.0, b"");
    golden(|m| m.color = Color::Unspecified.into(), b"");
    golden(|m| m.packed = vec![], b"");
    // prost takes negative zero for the default, too: it comes back as zero.
    golden(|m| m.a_float = -0.0, b"");
    golden(
        |m| m.doubles = vec![-0.0],
        b"\xb2\x01\x08\0\0\0\0\0\0\0\x80",
    );
    golden(
        |m| m.shape = Some(Shape::Circle(-0.0)),
        b"\xc9\x02\0\0\0\0\0\0\0\x80",
    );
}

#[test]
fn p3_nan_keeps_its_bits() {
    let nan = f64::from_bits(0xfff0_0000_0000_1234);
    let packet = Everything {
        a_double: nan,
        ..Everything::default()
    };
    assert_eq!(datagram(&packet), b"\x09\x34\x12\0\0\0\0\xf0\xff");
    let received = read::<Everything>(datagram(&packet)).unwrap();
    assert_eq!(received.a_double.to_bits(), nan.to_bits());
}

#[test]
fn p3_everything_at_once_is_in_the_order_of_the_numbers() {
    let bytes = [
        &b"\x09\x9a\x99\x99\x99\x99\x99\xb9\x3f\x15\0\0\xc0\xbf"[..],
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x20\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        b"\x28\xff\xff\xff\xff\x0f\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x38\x03\x40\x04\x4d\x01\0\0\0\x51\x02\0\0\0\0\0\0\0",
        b"\x5d\xff\xff\xff\xff\x61\xfe\xff\xff\xff\xff\xff\xff\xff",
        b"\x68\x01\x72\x07\xc3\xa9\xf0\x9f\xa6\x80\0\x7a\x02\0\xff",
        b"\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x8a\x01\x08\x0a\x04Zo\xc3\xab\x10\x2a",
        b"\xa2\x01\x0d\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xac\x02",
        b"\xa8\x01\x01\xa8\x01\x02",
        b"\xb2\x01\x10\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\xf0\x7f",
        b"\xba\x01\x04\x07\0\0\0\xc2\x01\x02\x01\0\xca\x01\x02\x01\x4d",
        b"\xd2\x01\0\xd2\x01\x01a\xda\x01\0\xda\x01\x01\x01",
        b"\xe2\x01\x08\x0a\x04Zo\xc3\xab\x10\x2a\xe2\x01\0",
        b"\xf2\x01\0\xf2\x01\x0c\x0a\x01a\x11\0\0\0\0\0\0\xf8\x3f",
        b"\xfa\x01\x0c\x08\x01\x12\x08\x0a\x04Zo\xc3\xab\x10\x2a",
        b"\x82\x02\x05\x08\x01\x12\x01\x01",
        b"\xd2\x02\x09\x09\0\0\0\0\0\0\xf0\x3f",
        b"\x90\x03\0\x9a\x03\0\xa8\x03\0\xb0\x03\x02",
        b"\xe2\x03\x02\x68\x01",
        b"\xfa\x7f\x0d\xf9\xff\xff\xff\x0f\x09\0\0\0\0\0\0\0",
    ]
    .concat();
    golden(|m| *m = everything(), &bytes);
}

#[test]
fn p3_a_message_is_appended_without_moving_a_buffer_that_is_large_enough() {
    let mut datagram = BytesMut::with_capacity(2048);
    let start = datagram.as_ptr();
    ProtobufSerializer::<_>::new()
        .serialize(&everything(), &mut datagram)
        .unwrap();
    assert_eq!(datagram.as_ptr(), start);
    assert_eq!(datagram.capacity(), 2048);
}

#[test]
fn p6_a_message_of_any_size_can_be_written_and_the_next_one_too() {
    // That it is too large for a datagram is for the engine to say.
    let protocol = DatagramProtocol::new(ProtobufSerializer::<Person>::new());
    let mut buffer = BytesMut::new();
    let large = Person {
        name: "a".repeat(100_000),
        age: 0,
    };
    protocol.make_datagram(large, &mut buffer).unwrap();
    assert_eq!(buffer.len(), 100_004);
    buffer.clear();
    protocol.make_datagram(person(), &mut buffer).unwrap();
    assert_eq!(&buffer[..], b"\x0a\x04Zo\xc3\xab\x10\x2a");
}

#[test]
fn p8_a_message_of_defaults_is_the_empty_datagram() {
    assert_eq!(datagram(&Person::default()), b"");
    assert_eq!(datagram(&Everything::default()), b"");
    assert_eq!(datagram(&Nothing {}), b"");
    assert_eq!(read::<Person>("").unwrap(), Person::default());
    assert_eq!(read::<Everything>("").unwrap(), Everything::default());
    assert_eq!(read::<Nothing>("").unwrap(), Nothing {});
}
