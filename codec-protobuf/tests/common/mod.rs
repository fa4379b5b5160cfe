//! A message with every kind of field, and the ways there and back.
#![allow(clippy::unwrap_used, reason = "a part of the tests")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use postbox_codec_protobuf::{ProtobufError, ProtobufSerializer};
use postbox_codec_protobuf_schema::everything::{Inner, Shape};
use postbox_codec_protobuf_schema::{Color, Everything, Line, Person};
use postbox_protocol::Serializer;
use prost::Message;

pub(crate) fn person() -> Person {
    Person {
        name: "Zoë".to_owned(),
        age: 42,
    }
}

pub(crate) fn everything() -> Everything {
    Everything {
        a_double: 0.1,
        a_float: -1.5,
        an_int32: -1,
        an_int64: i64::MIN,
        a_uint32: u32::MAX,
        a_uint64: u64::MAX,
        a_sint32: -2,
        a_sint64: 2,
        a_fixed32: 1,
        a_fixed64: 2,
        a_sfixed32: -1,
        a_sfixed64: -2,
        a_bool: true,
        a_string: "é🦀\0".to_owned(),
        some_bytes: vec![0, 255],
        color: Color::None.into(),
        person: Some(person()),
        packed: vec![1, -1, 300],
        unpacked: vec![-1, 1],
        doubles: vec![1.0, f64::INFINITY],
        fixeds: vec![7],
        bools: vec![true, false],
        colors: vec![Color::Red.into(), 77],
        strings: vec![String::new(), "a".to_owned()],
        blobs: vec![vec![], vec![1]],
        people: vec![person(), Person::default()],
        named: BTreeMap::from([("a".to_owned(), 1.5), (String::new(), 0.0)]),
        numbered: BTreeMap::from([(-1, person())]),
        switched: BTreeMap::from([(true, vec![1])]),
        shape: Some(Shape::Line(Line { from: 1.0, to: 0.0 })),
        maybe_number: Some(0),
        maybe_text: Some(String::new()),
        maybe_bytes: None,
        maybe_bool: Some(false),
        maybe_color: Some(Color::Green.into()),
        next: Some(Box::new(Everything {
            a_bool: true,
            ..Everything::default()
        })),
        inner: Some(Inner { far: 9 }),
    }
}

/// Returns the datagram that says `packet`.
pub(crate) fn datagram<T: Message + Default + 'static>(packet: &T) -> Vec<u8> {
    let mut datagram = BytesMut::new();
    ProtobufSerializer::<T>::new()
        .serialize(packet, &mut datagram)
        .unwrap();
    datagram.to_vec()
}

/// Returns what `datagram` says.
pub(crate) fn read<T: Message + Default + 'static>(
    datagram: impl AsRef<[u8]>,
) -> Result<T, ProtobufError> {
    ProtobufSerializer::<T>::new()
        .deserialize(datagram.as_ref())
        .map_err(|error| *error.downcast().unwrap())
}
