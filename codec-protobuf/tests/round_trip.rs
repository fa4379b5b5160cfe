//! What is sent reads back equal, for all messages that proptest thinks of.

use postbox_codec_protobuf_schema::everything::{Inner, Shape};
use postbox_codec_protobuf_schema::{Color, Everything, Line, Nothing, Person};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use crate::common::{datagram, everything, read};

fn float() -> impl Strategy<Value = f64> {
    // Every bit pattern but NaN, which equals nothing.
    any::<u64>()
        .prop_map(f64::from_bits)
        .prop_filter("not NaN", |float| !float.is_nan())
}

fn single() -> impl Strategy<Value = f32> {
    any::<u32>()
        .prop_map(f32::from_bits)
        .prop_filter("not NaN", |float| !float.is_nan())
}

fn people() -> impl Strategy<Value = Person> {
    (any::<String>(), any::<u32>()).prop_map(|(name, age)| Person { name, age })
}

fn color() -> impl Strategy<Value = i32> {
    // With a name and without.
    let named = prop::sample::select(vec![
        Color::Unspecified,
        Color::Red,
        Color::Green,
        Color::None,
    ]);
    prop_oneof![named.prop_map(i32::from), any::<i32>()]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..200)
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Point(Nothing {})),
        float().prop_map(Shape::Circle),
        (float(), float()).prop_map(|(from, to)| Shape::Line(Line { from, to })),
        any::<String>().prop_map(Shape::Label),
        color().prop_map(Shape::Filled),
    ]
}

prop_compose! {
    fn scalars()(
        (a_double, a_float) in (float(), single()),
        (an_int32, an_int64, a_uint32, a_uint64) in any::<(i32, i64, u32, u64)>(),
        (a_sint32, a_sint64, a_fixed32, a_fixed64) in any::<(i32, i64, u32, u64)>(),
        (a_sfixed32, a_sfixed64, a_bool, a_string) in any::<(i32, i64, bool, String)>(),
        (some_bytes, color) in (bytes(), color()),
        (maybe_number, maybe_text) in any::<(Option<u32>, Option<String>)>(),
        maybe_bool in any::<Option<bool>>(),
        (maybe_bytes, maybe_color) in (option::of(bytes()), option::of(color())),
    ) -> Everything {
        Everything {
            a_double, a_float, an_int32, an_int64, a_uint32, a_uint64, a_sint32, a_sint64,
            a_fixed32, a_fixed64, a_sfixed32, a_sfixed64, a_bool, a_string, some_bytes, color,
            maybe_number, maybe_text, maybe_bytes, maybe_bool, maybe_color,
            ..Everything::default()
        }
    }
}

prop_compose! {
    fn level()(
        scalars in scalars(),
        (packed, unpacked, fixeds, bools) in any::<(Vec<i32>, Vec<i64>, Vec<u32>, Vec<bool>)>(),
        (doubles, colors) in (vec(float(), 0..5), vec(color(), 0..5)),
        (strings, blobs) in (vec(any::<String>(), 0..5), vec(bytes(), 0..5)),
        (person, people) in (option::of(people()), vec(people(), 0..5)),
        named in btree_map(any::<String>(), float(), 0..5),
        numbered in btree_map(any::<i32>(), people(), 0..5),
        switched in btree_map(any::<bool>(), bytes(), 0..3),
        shape in option::of(shape()),
        inner in option::of(any::<u64>().prop_map(|far| Inner { far })),
    ) -> Everything {
        Everything {
            packed, unpacked, doubles, fixeds, bools, colors, strings, blobs, person, people, named,
            numbered, switched, shape, inner,
            ..scalars
        }
    }
}

fn anything() -> impl Strategy<Value = Everything> {
    (level(), option::of(level())).prop_map(|(outer, next)| Everything {
        next: next.map(Box::new),
        ..outer
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A case is a thousand values.
        cases: ProptestConfig::default().cases / 4,
        ..ProptestConfig::default()
    })]

    #[test]
    fn p3_a_message_reads_back_equal(packet in anything()) {
        let bytes = datagram(&packet);
        prop_assert_eq!(bytes.len(), packet.encoded_len());
        prop_assert_eq!(read::<Everything>(bytes).unwrap(), packet);
    }

    #[test]
    fn p4_a_second_message_merges_into_the_first(one in level(), other in level()) {
        let (first, second) = (datagram(&one), datagram(&other));
        let mut merged = one;
        merged.merge(&second[..]).unwrap();
        prop_assert_eq!(read::<Everything>([first, second].concat()).unwrap(), merged);
    }

    #[test]
    fn p4_every_prefix_of_a_message_is_an_error_or_a_message(packet in level()) {
        let bytes = datagram(&packet);
        for length in 0..bytes.len() {
            if let Ok(shorter) = read::<Everything>(&bytes[..length]) {
                prop_assert!(shorter.encoded_len() <= length);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A case is some hundred values, a thousand times.
        cases: ProptestConfig::default().cases / 32,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_byte_of_a_message_changed_is_an_error_or_a_message(
        packet in level(),
        bits in 1..=u8::MAX,
    ) {
        let mut bytes = datagram(&packet);
        for position in 0..bytes.len() {
            bytes[position] ^= bits;
            if let Ok(other) = read::<Everything>(&bytes) {
                // As bytes, since a change may have made a NaN.
                let again = datagram(&other);
                prop_assert_eq!(datagram(&read::<Everything>(&again).unwrap()), again);
            }
            bytes[position] ^= bits;
        }
    }
}

proptest! {
    #[test]
    fn p3_a_float_reads_back_bit_for_bit(double in any::<u64>(), single in any::<u32>()) {
        let packet = Everything {
            a_double: f64::from_bits(double),
            a_float: f32::from_bits(single),
            ..Everything::default()
        };
        let received = read::<Everything>(datagram(&packet)).unwrap();
        // Negative zero alone is the default, see `sent.rs`.
        prop_assume!(packet.a_double != 0.0 && packet.a_float != 0.0);
        prop_assert_eq!(received.a_double.to_bits(), double);
        prop_assert_eq!(received.a_float.to_bits(), single);
    }
}

#[test]
fn p3_a_known_message_reads_back_equal() {
    assert_eq!(
        read::<Everything>(datagram(&everything())).unwrap(),
        everything()
    );
}
