//! msgpack-test-suite, the public values of MessagePack with all their encodings: see
//! `suite/README.md`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use postbox_codec_msgpack::{Extension, MessagePackSerializer, Timestamp};
use postbox_protocol::Serializer;
use rmpv::Value;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What the suite calls a case's value, and how many cases there are.
const KINDS: &[(&str, usize)] = &[
    ("array", 7),
    ("binary", 3),
    ("bool", 2),
    ("ext", 7),
    ("map", 5),
    ("nil", 1),
    ("number", 30),
    ("string", 11),
    ("timestamp", 19),
];

struct Case {
    kind: &'static str,
    value: Json,
    encodings: Vec<Vec<u8>>,
}

fn cases() -> Vec<Case> {
    let suite: BTreeMap<String, Vec<BTreeMap<String, Json>>> =
        serde_json::from_str(include_str!("suite/msgpack-test-suite.json")).unwrap();
    let cases: Vec<_> = suite.into_values().flatten().map(case).collect();
    for (kind, count) in KINDS {
        let found = cases.iter().filter(|case| case.kind == *kind).count();
        assert_eq!(found, *count, "{kind}");
    }
    cases
}

fn case(mut case: BTreeMap<String, Json>) -> Case {
    let Some(Json::Array(encodings)) = case.remove("msgpack") else {
        panic!("no encodings");
    };
    // It stands beside or in place of a number that JavaScript cannot hold.
    if let Some(Json::String(digits)) = case.remove("bignum") {
        let number = serde_json::from_str(&digits).unwrap();
        case.insert("number".to_owned(), number);
    }
    let (kind, value) = case.pop_first().unwrap();
    assert!(case.is_empty(), "{kind} and {case:?}");
    let kind = KINDS.iter().find(|(name, _)| **name == kind).unwrap().0;
    let encodings = encodings.iter().map(|it| hex(it.as_str().unwrap()));
    Case {
        kind,
        value,
        encodings: encodings.collect(),
    }
}

fn hex(digits: &str) -> Vec<u8> {
    let bytes = digits.split('-').filter(|byte| !byte.is_empty());
    bytes
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn read<T: for<'de> Deserialize<'de> + Serialize + 'static>(encoding: &[u8]) -> T {
    MessagePackSerializer::<T>::new()
        .deserialize(encoding)
        .unwrap_or_else(|error| panic!("{encoding:02x?}: {error}"))
}

fn written<T: Serialize + for<'de> Deserialize<'de> + 'static>(value: &T) -> Vec<u8> {
    let mut datagram = BytesMut::new();
    MessagePackSerializer::<T>::new()
        .serialize(value, &mut datagram)
        .unwrap();
    datagram.to_vec()
}

/// The value without a type.
fn untyped(kind: &str, value: &Json) -> Value {
    match (kind, value) {
        ("binary", Json::String(digits)) => Value::Binary(hex(digits)),
        ("ext", _) => {
            let Extension { kind, data } = extension(value);
            Value::Ext(kind, data)
        }
        (_, Json::Null) => Value::Nil,
        (_, Json::Bool(it)) => Value::from(*it),
        (_, Json::Number(it)) => match (it.as_i64(), it.as_u64(), it.as_f64()) {
            (Some(signed), ..) => Value::from(signed),
            (_, Some(unsigned), _) => Value::from(unsigned),
            (.., float) => Value::from(float.unwrap()),
        },
        (_, Json::String(it)) => Value::from(it.as_str()),
        (_, Json::Array(it)) => it.iter().map(|it| untyped("array", it)).collect(),
        (_, Json::Object(it)) => {
            let pairs = it.iter().map(|(key, value)| {
                let key = Value::from(key.as_str());
                (key, untyped("map", value))
            });
            Value::Map(pairs.collect())
        }
    }
}

fn extension(value: &Json) -> Extension {
    Extension {
        kind: value[0].as_i64().unwrap().try_into().unwrap(),
        data: hex(value[1].as_str().unwrap()),
    }
}

fn timestamp(value: &Json) -> Timestamp {
    let nanos = value[1].as_u64().unwrap().try_into().unwrap();
    Timestamp::new(value[0].as_i64().unwrap(), nanos).unwrap()
}

#[test]
fn p5_every_encoding_of_the_public_suite_is_read() {
    let mut read_ones = 0;
    for Case {
        kind,
        value,
        encodings,
    } in cases()
    {
        for encoding in &encodings {
            read_ones += 1;
            let about = format!("{kind} {value} from {encoding:02x?}");
            match kind {
                "nil" => read::<()>(encoding),
                "bool" => assert_eq!(read::<bool>(encoding), value, "{about}"),
                "binary" => {
                    let bytes = read::<serde_bytes::ByteBuf>(encoding);
                    assert_eq!(Value::Binary(bytes.into_vec()), untyped(kind, &value));
                }
                "number" => number(&value, encoding),
                "string" => assert_eq!(read::<String>(encoding), value, "{about}"),
                "timestamp" => {
                    assert_eq!(read::<Timestamp>(encoding), timestamp(&value), "{about}");
                    continue; // without a type it is an extension
                }
                "ext" => assert_eq!(read::<Extension>(encoding), extension(&value), "{about}"),
                _ => {}
            }
            match read::<Value>(encoding) {
                // The suite has no integers and floats, but numbers.
                Value::F32(float) => assert_eq!(Some(f64::from(float)), value.as_f64(), "{about}"),
                Value::F64(float) => assert_eq!(Some(float), value.as_f64(), "{about}"),
                other => assert_eq!(other, untyped(kind, &value), "{about}"),
            }
        }
    }
    assert_eq!(read_ones, 233);
}

/// Reads a number as every type that holds it.
fn number(value: &Json, encoding: &[u8]) {
    assert_eq!(read::<f64>(encoding), value.as_f64().unwrap());
    if let 0xca | 0xcb = encoding[0] {
        // A float where an integer is expected is refused, whatever it is.
        assert!(
            MessagePackSerializer::<i64>::new()
                .deserialize(encoding)
                .is_err()
        );
        return;
    }
    if let Some(signed) = value.as_i64() {
        assert_eq!(read::<i64>(encoding), signed);
        assert_eq!(read::<i128>(encoding), signed.into());
    }
    if let Some(unsigned) = value.as_u64() {
        assert_eq!(read::<u64>(encoding), unsigned);
        assert_eq!(read::<u128>(encoding), unsigned.into());
    }
}

#[test]
fn p3_the_values_of_the_public_suite_are_written_in_their_shortest_form() {
    for Case {
        kind,
        value,
        encodings,
    } in cases()
    {
        let bytes = match kind {
            "timestamp" => written(&timestamp(&value)),
            "ext" => written(&extension(&value)),
            _ => written(&untyped(kind, &value)),
        };
        // A number may stand there as a float too, in fewer bytes. Ours are one or the other.
        let float = |encoding: &[u8]| matches!(encoding[0], 0xca | 0xcb);
        let mut forms = encodings;
        forms.retain(|it| kind != "number" || float(it) == value.is_f64());
        assert!(forms.contains(&bytes), "{kind} {value}: {bytes:02x?}");
        if !float(&bytes) {
            let shortest = forms.iter().map(Vec::len).min();
            assert_eq!(Some(bytes.len()), shortest, "{kind} {value}");
        }
    }
}

#[test]
fn p4_the_encodings_of_the_public_suite_cut_short_or_too_long_are_refused() {
    let serializer = MessagePackSerializer::<Value>::new();
    for encoding in cases().into_iter().flat_map(|case| case.encodings) {
        for length in 0..encoding.len() {
            assert!(serializer.deserialize(&encoding[..length]).is_err());
        }
        let longer = [&encoding[..], b"\x00"].concat();
        assert!(serializer.deserialize(&longer).is_err());
    }
}
