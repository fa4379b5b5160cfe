//! What is sent reads back equal, for all types that proptest thinks of.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::common::{
    Event, Everything, Meters, Nothing, Pair, Person, Shape, everything, person, read, text,
};

fn float() -> impl Strategy<Value = f64> {
    // Every bit pattern, so the denormals and the largest too.
    any::<u64>()
        .prop_map(f64::from_bits)
        .prop_filter("finite", |float| float.is_finite())
}

fn single() -> impl Strategy<Value = f32> {
    any::<u32>()
        .prop_map(f32::from_bits)
        .prop_filter("finite", |float| float.is_finite())
}

fn people() -> impl Strategy<Value = Person> {
    (any::<String>(), any::<u8>()).prop_map(|(name, age)| Person { name, age })
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Point),
        float().prop_map(Shape::Circle),
        (float(), float()).prop_map(|(from, to)| Shape::Line(from, to)),
        single().prop_map(|side| Shape::Square { side }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        people().prop_map(|who| Event::Joined { who }),
        float().prop_map(|after| Event::Left { after }),
    ]
}

prop_compose! {
    fn anything()(
        yes in any::<bool>(),
        small in any::<(i8, i16, i32, u8, u16, u32)>(),
        large in any::<(i64, u64, i128, u128)>(),
        letter in any::<char>(),
        (text, bytes) in any::<(String, Vec<u8>)>(),
        maybe in prop::option::of(float()),
        length in float().prop_map(Meters),
        pair in (single(), any::<char>()).prop_map(|(number, letter)| Pair(number, letter)),
        shapes in prop::collection::vec(shape(), 0..5),
        named in prop::collection::btree_map(any::<String>(), float(), 0..5),
        (numbered, person) in (
            prop::collection::btree_map(any::<u16>(), people(), 0..5),
            people(),
        ),
        event in event(),
    ) -> Everything {
        Everything {
            yes, small, large, letter, text, bytes, maybe, unit: (), nothing: Nothing, length, pair,
            shapes, named, numbered, event, person,
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        float().prop_map(|float| Number::from_f64(float).map_or(Value::Null, Value::Number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn p3_a_typed_packet_reads_back_equal(packet in anything()) {
        prop_assert_eq!(read::<Everything>(text(&packet)).unwrap(), packet);
    }

    #[test]
    fn p3_an_untyped_packet_reads_back_equal(packet in value()) {
        prop_assert_eq!(read::<Value>(text(&packet)).unwrap(), packet);
    }

    #[test]
    fn p3_a_float_reads_back_bit_for_bit(float in float(), single in single()) {
        prop_assert_eq!(read::<f64>(text(&float)).unwrap().to_bits(), float.to_bits());
        prop_assert_eq!(read::<f32>(text(&single)).unwrap().to_bits(), single.to_bits());
        let untyped = read::<Value>(text(&float)).unwrap();
        prop_assert_eq!(untyped.as_f64().unwrap().to_bits(), float.to_bits());
    }

    #[test]
    fn p4_a_typed_document_with_a_byte_left_over_is_refused(
        packet in people(),
        byte in any::<u8>(),
    ) {
        let mut document = text(&packet).into_bytes();
        document.push(byte);
        if b" \t\r\n".contains(&byte) {
            prop_assert_eq!(read::<Person>(document).unwrap(), packet);
        } else {
            prop_assert!(read::<Person>(document).unwrap_err().is_syntax());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A case is a thousand documents.
        cases: ProptestConfig::default().cases / 8,
        ..ProptestConfig::default()
    })]

    #[test]
    fn p4_every_prefix_of_a_packet_is_refused(packet in anything()) {
        let document = text(&packet).into_bytes();
        for length in 0..document.len() {
            prop_assert!(read::<Everything>(&document[..length]).unwrap_err().is_syntax());
        }
    }

    #[test]
    fn every_prefix_of_an_untyped_packet_is_refused_but_of_a_number(packet in value()) {
        let document = text(&packet).into_bytes();
        for length in 0..document.len() {
            match read::<Value>(&document[..length]) {
                Ok(shorter) => prop_assert!(packet.is_number() && shorter.is_number()),
                Err(error) => prop_assert!(error.is_syntax()),
            }
        }
    }

    #[test]
    fn every_byte_of_a_packet_changed_is_an_error_or_a_value(
        packet in anything(),
        bits in 1..=u8::MAX,
    ) {
        let mut document = text(&packet).into_bytes();
        for position in 0..document.len() {
            document[position] ^= bits;
            let _ = read::<Everything>(&document);
            if let Ok(other) = read::<Value>(&document) {
                prop_assert_eq!(read::<Value>(text(&other)).unwrap(), other);
            }
            document[position] ^= bits;
        }
    }
}

#[test]
fn p3_floats_that_naive_parsers_miss_read_back_bit_for_bit() {
    for float in [
        0.0,
        -0.0,
        0.1 + 0.2,
        5e-324,
        2.225_073_858_507_201e-308,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        9_007_199_254_740_993.0,
        1e23,
        31.245_270_191_439_438,
    ] {
        assert_eq!(
            read::<f64>(text(&float)).unwrap().to_bits(),
            float.to_bits(),
            "{float:e}"
        );
    }
}

#[test]
fn a_float_out_of_range_is_an_error_and_no_infinity() {
    for number in [
        "1e39",
        "-1e300",
        "400000000000000000000000000000000000000",
        "1e309",
    ] {
        assert!(read::<f32>(number).unwrap_err().is_syntax());
        assert!(
            read::<Pair>(format!("[{number},\"a\"]"))
                .unwrap_err()
                .is_syntax()
        );
    }
    for number in ["1e309", "-1e400"] {
        assert!(read::<f64>(number).unwrap_err().is_syntax());
        assert!(read::<Value>(number).unwrap_err().is_syntax());
    }
    // The largest `f32`, and what is nearest to it.
    assert_eq!(read::<f32>("3.4028235e38").unwrap(), f32::MAX);
    assert_eq!(
        read::<f32>("340282350000000000000000000000000000001").unwrap(),
        f32::MAX
    );
}

#[test]
fn p3_a_known_packet_reads_back_equal() {
    assert_eq!(
        read::<Everything>(text(&everything())).unwrap(),
        everything()
    );
    let people = BTreeMap::from([("a".to_owned(), Some(person())), ("b".to_owned(), None)]);
    assert_eq!(
        read::<BTreeMap<String, Option<Person>>>(text(&people)).unwrap(),
        people
    );
}

/// A number that serde sets aside before it knows its type.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Outer<T> {
    #[serde(flatten)]
    inner: Inner<T>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Inner<T> {
    number: T,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged<T> {
    Inner { number: T },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> {
    Inner { number: T },
}

#[test]
fn p3_a_narrow_float_that_serde_sets_aside_is_rounded_twice() {
    let (sent, next) = (f32::from_bits(0x15ae_43fd), f32::from_bits(0x15ae_43fe));
    let document = text(&Inner { number: sent });
    assert_eq!(read::<Inner<f32>>(&document).unwrap().number, sent);
    assert_eq!(read::<Outer<f32>>(&document).unwrap().inner.number, next);
    let tagged = text(&Tagged::Inner { number: sent });
    assert_eq!(
        read::<Tagged<f32>>(tagged).unwrap(),
        Tagged::Inner { number: next }
    );
    assert_eq!(
        read::<Untagged<f32>>(document).unwrap(),
        Untagged::Inner { number: next }
    );
    // A wide one is not.
    let number = f64::from(sent).next_up();
    let document = text(&Outer {
        inner: Inner { number },
    });
    assert_eq!(read::<Outer<f64>>(document).unwrap().inner.number, number);
}

#[test]
fn p5_a_narrow_float_that_serde_sets_aside_is_infinite_out_of_its_range() {
    let document = r#"{"kind":"Inner","number":1e39}"#;
    assert!(read::<Inner<f32>>(document).unwrap_err().is_syntax());
    let number = f32::INFINITY;
    assert_eq!(
        read::<Outer<f32>>(document).unwrap().inner,
        Inner { number }
    );
    assert_eq!(
        read::<Tagged<f32>>(document).unwrap(),
        Tagged::Inner { number }
    );
    assert_eq!(
        read::<Untagged<f32>>(document).unwrap(),
        Untagged::Inner { number }
    );
    let document = r#"{"number":1e309}"#;
    assert!(read::<Outer<f32>>(document).unwrap_err().is_syntax());
}

#[test]
fn p5_a_wide_integer_that_serde_sets_aside_is_refused() {
    for number in [0, i128::MIN] {
        let document = text(&Tagged::Inner { number });
        assert_eq!(read::<Inner<i128>>(&document).unwrap().number, number);
        assert!(read::<Outer<i128>>(&document).is_err());
        assert!(read::<Outer<u128>>(&document).is_err());
        assert!(read::<Tagged<i128>>(&document).is_err());
        assert!(read::<Untagged<i128>>(&document).is_err());
    }
}

#[test]
fn p5_minus_zero_is_no_integer_of_up_to_64_bits() {
    assert!(read::<f64>("-0").unwrap().is_sign_negative());
    assert!(read::<i64>("-0").unwrap_err().is_data());
    assert!(read::<u8>("-0").unwrap_err().is_data());
    assert_eq!(read::<i128>("-0").unwrap(), 0);
}

#[test]
fn depth_is_sent_beyond_what_is_received() {
    let nested = |depth| (0..depth).fold(Value::from(1), |inner, _| Value::from(vec![inner]));
    assert_eq!(read::<Value>(text(&nested(127))).unwrap(), nested(127));
    assert!(read::<Value>(text(&nested(128))).unwrap_err().is_syntax());
}
