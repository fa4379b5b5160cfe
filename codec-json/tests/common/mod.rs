//! Types that use every corner of serde, and the ways there and back.
#![allow(dead_code, reason = "the fuzz targets use some of them")]
#![allow(clippy::unwrap_used, reason = "a part of the tests")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use postbox_codec_json::{JsonError, JsonSerializer};
use postbox_protocol::Serializer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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
    pub(crate) bytes: Vec<u8>,
    pub(crate) maybe: Option<f64>,
    pub(crate) unit: (),
    pub(crate) nothing: Nothing,
    pub(crate) length: Meters,
    pub(crate) pair: Pair,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) named: BTreeMap<String, f64>,
    pub(crate) numbered: BTreeMap<u16, Person>,
    pub(crate) event: Event,
    #[serde(flatten)]
    pub(crate) person: Person,
}

pub(crate) fn person() -> Person {
    Person {
        name: "Zoë".to_owned(),
        age: 42,
    }
}

pub(crate) fn everything() -> Everything {
    Everything {
        yes: true,
        small: (i8::MIN, i16::MIN, i32::MIN, u8::MAX, u16::MAX, u32::MAX),
        large: (i64::MIN, u64::MAX, i128::MIN, u128::MAX),
        letter: '→',
        text: "\"quoted\"\\\n\u{1}/é\u{1f980}".to_owned(),
        bytes: vec![0, 255],
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

/// Returns the document that says `packet`.
pub(crate) fn text<T: Serialize + 'static>(packet: &T) -> String {
    let mut datagram = BytesMut::new();
    JsonSerializer::<T, ()>::new()
        .serialize(packet, &mut datagram)
        .unwrap();
    String::from_utf8(datagram.to_vec()).unwrap()
}

/// Returns why `packet` cannot be sent.
pub(crate) fn refused<T: Serialize + 'static>(packet: &T) -> JsonError {
    let error = JsonSerializer::<T, ()>::new()
        .serialize(packet, &mut BytesMut::new())
        .unwrap_err();
    *error.downcast().unwrap()
}

/// Returns what `document` says.
pub(crate) fn read<T: DeserializeOwned + 'static>(
    document: impl AsRef<[u8]>,
) -> Result<T, JsonError> {
    JsonSerializer::<(), T>::new()
        .deserialize(document.as_ref())
        .map_err(|error| *error.downcast().unwrap())
}
