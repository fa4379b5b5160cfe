//! Types that use every corner of serde, and the ways there and back.
#![allow(dead_code, reason = "the fuzz targets use some of them")]
#![allow(clippy::unwrap_used, reason = "a part of the tests")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::BytesMut;
use postbox_codec_msgpack::{Extension, MessagePackError, MessagePackSerializer, Timestamp};
use postbox_protocol::Serializer;
use rmpv::Value;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) age: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shape {
    Point,
    Circle(f64),
    Line(f64, f64),
    Square { side: f32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Event {
    Joined { who: Person },
    Left { after: f64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meters(pub(crate) f64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pair(pub(crate) f32, pub(crate) char);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Nothing;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Everything {
    pub(crate) yes: bool,
    pub(crate) small: (i8, i16, i32, u8, u16, u32),
    pub(crate) large: (i64, u64, i128, u128),
    pub(crate) letter: char,
    pub(crate) text: String,
    pub(crate) numbers: Vec<u8>,
    pub(crate) bytes: ByteBuf,
    pub(crate) moment: Timestamp,
    pub(crate) extension: Extension,
    pub(crate) maybe: Option<f64>,
    pub(crate) unit: (),
    pub(crate) nothing: Nothing,
    pub(crate) length: Meters,
    pub(crate) pair: Pair,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) named: BTreeMap<String, f64>,
    pub(crate) numbered: BTreeMap<u16, Person>,
    pub(crate) event: Event,
    pub(crate) person: Person,
}

/// Makes serde keep values of unknown types for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flat {
    pub(crate) id: u8,
    #[serde(flatten)]
    pub(crate) rest: Rest,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rest {
    pub(crate) bytes: ByteBuf,
    pub(crate) moment: Timestamp,
    pub(crate) extension: Extension,
    pub(crate) event: Event,
}

pub(crate) fn person() -> Person {
    Person {
        name: "Zoë".to_owned(),
        age: 42,
    }
}

pub(crate) fn extension() -> Extension {
    Extension {
        kind: 5,
        data: vec![7, 8, 9],
    }
}

pub(crate) fn moment(seconds: i64, nanos: u32) -> Timestamp {
    Timestamp::new(seconds, nanos).unwrap()
}

pub(crate) fn everything() -> Everything {
    Everything {
        yes: true,
        small: (i8::MIN, i16::MIN, i32::MIN, u8::MAX, u16::MAX, u32::MAX),
        large: (i64::MIN, u64::MAX, i128::MIN, u128::MAX),
        letter: '→',
        text: "\"quoted\"\0é\u{1f980}".to_owned(),
        numbers: vec![0, 255],
        bytes: ByteBuf::from([0, 255]),
        moment: moment(1, 0),
        extension: extension(),
        maybe: None,
        unit: (),
        nothing: Nothing,
        length: Meters(0.1),
        pair: Pair(0.3, '\''),
        shapes: vec![
            Shape::Point,
            Shape::Circle(1.0),
            Shape::Line(-0.5, 12345.75),
            Shape::Square { side: 2.5 },
        ],
        named: BTreeMap::from([("a".to_owned(), 1.5), (String::new(), 0.0)]),
        numbered: BTreeMap::from([(7, person())]),
        event: Event::Left { after: 0.25 },
        person: person(),
    }
}

pub(crate) fn flat() -> Flat {
    Flat {
        id: 3,
        rest: Rest {
            bytes: ByteBuf::from([1, 2]),
            moment: moment(-1, 5),
            extension: extension(),
            event: Event::Joined { who: person() },
        },
    }
}

/// Returns the datagram that says `packet`, structs as maps.
pub(crate) fn named<T: Serialize + 'static>(packet: &T) -> Vec<u8> {
    written(MessagePackSerializer::new(), packet)
}

/// Returns the datagram that says `packet`, structs as arrays.
pub(crate) fn compact<T: Serialize + 'static>(packet: &T) -> Vec<u8> {
    written(MessagePackSerializer::compact(), packet)
}

fn written<T: Serialize + 'static>(
    serializer: MessagePackSerializer<T, ()>,
    packet: &T,
) -> Vec<u8> {
    let mut datagram = BytesMut::new();
    serializer.serialize(packet, &mut datagram).unwrap();
    datagram.to_vec()
}

/// Returns why `packet` cannot be sent.
pub(crate) fn refused<T: Serialize + 'static>(packet: &T) -> MessagePackError {
    let error = MessagePackSerializer::<T, ()>::new()
        .serialize(packet, &mut BytesMut::new())
        .unwrap_err();
    *error.downcast().unwrap()
}

/// Returns what `datagram` says.
pub(crate) fn read<T: DeserializeOwned + 'static>(
    datagram: impl AsRef<[u8]>,
) -> Result<T, MessagePackError> {
    MessagePackSerializer::<(), T>::new()
        .deserialize(datagram.as_ref())
        .map_err(|error| *error.downcast().unwrap())
}

/// Checks that the datagram is MessagePack, but no `T`, with this message.
#[track_caller]
pub(crate) fn mismatched<T: DeserializeOwned + Debug + 'static>(
    datagram: impl AsRef<[u8]>,
    message: &str,
) {
    assert!(read::<Value>(datagram.as_ref()).is_ok());
    let error = read::<T>(datagram).unwrap_err();
    assert_eq!(error.to_string(), message);
    assert_eq!(error.position(), None);
    assert!(error.is_data() && !error.is_syntax() && !error.is_write());
}
