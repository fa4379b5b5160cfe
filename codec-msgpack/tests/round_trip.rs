//! What is sent reads back equal, for all types that proptest thinks of.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postbox_codec_msgpack::{Extension, Timestamp};
use proptest::prelude::*;
use rmpv::Value;
use serde_bytes::ByteBuf;

use crate::common::{
    Event, Everything, Flat, Meters, Nothing, Pair, Person, Rest, Shape, compact, everything, flat,
    moment, named, person, read,
};

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

fn bytes() -> impl Strategy<Value = ByteBuf> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(ByteBuf::from)
}

fn extension() -> impl Strategy<Value = Extension> {
    (any::<i8>(), prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(kind, data)| Extension { kind, data })
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    // Each of the three forms.
    let seconds = prop_oneof![
        any::<i64>(),
        any::<u32>().prop_map(i64::from),
        (0_i64..1 << 34),
    ];
    let nanos = prop_oneof![Just(0), 0_u32..1_000_000_000];
    (seconds, nanos).prop_map(|(seconds, nanos)| moment(seconds, nanos))
}

prop_compose! {
    fn anything()(
        yes in any::<bool>(),
        small in any::<(i8, i16, i32, u8, u16, u32)>(),
        large in any::<(i64, u64, i128, u128)>(),
        (letter, text) in any::<(char, String)>(),
        (numbers, bytes) in (any::<Vec<u8>>(), bytes()),
        (moment, extension) in (timestamp(), extension()),
        maybe in prop::option::of(float()),
        length in float().prop_map(Meters),
        pair in (single(), any::<char>()).prop_map(|(number, letter)| Pair(number, letter)),
        shapes in prop::collection::vec(shape(), 0..20),
        named in prop::collection::btree_map(any::<String>(), float(), 0..20),
        (numbered, person) in (
            prop::collection::btree_map(any::<u16>(), people(), 0..5),
            people(),
        ),
        event in event(),
    ) -> Everything {
        Everything {
            yes, small, large, letter, text, numbers, bytes, moment, extension, maybe, unit: (),
            nothing: Nothing, length, pair, shapes, named, numbered, event, person,
        }
    }
}

prop_compose! {
    fn anything_flat()(
        id in any::<u8>(),
        bytes in bytes(),
        moment in timestamp(),
        extension in extension(),
        event in event(),
    ) -> Flat {
        Flat { id, rest: Rest { bytes, moment, extension, event } }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        float().prop_map(Value::F64),
        single().prop_map(Value::F32),
        any::<String>().prop_map(Value::from),
        bytes().prop_map(|bytes| Value::Binary(bytes.into_vec())),
        extension().prop_map(|extension| Value::Ext(extension.kind, extension.data)),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn p3_a_typed_packet_reads_back_equal(packet in anything()) {
        prop_assert_eq!(&read::<Everything>(named(&packet)).unwrap(), &packet);
        prop_assert_eq!(&read::<Everything>(compact(&packet)).unwrap(), &packet);
    }

    #[test]
    fn p3_a_flattened_packet_reads_back_equal(packet in anything_flat()) {
        prop_assert_eq!(&read::<Flat>(named(&packet)).unwrap(), &packet);
        // Nothing is taken for something else if no type says what it is.
        let untyped = read::<Value>(named(&packet)).unwrap();
        prop_assert_eq!(&read::<Flat>(named(&untyped)).unwrap(), &packet);
    }

    #[test]
    fn p3_an_untyped_packet_reads_back_equal(packet in value()) {
        let datagram = named(&packet);
        prop_assert_eq!(&read::<Value>(&datagram).unwrap(), &packet);
        // rmpv reads the same without serde.
        prop_assert_eq!(rmpv::decode::read_value(&mut &datagram[..]).unwrap(), packet);
    }

    #[test]
    fn p3_a_float_reads_back_bit_for_bit(double in any::<u64>(), single in any::<u32>()) {
        let packet = (f64::from_bits(double), f32::from_bits(single));
        let (read_double, read_single) = read::<(f64, f32)>(named(&packet)).unwrap();
        prop_assert_eq!(read_double.to_bits(), double);
        prop_assert_eq!(read_single.to_bits(), single);
    }

    #[test]
    fn p3_a_moment_of_the_clock_reads_back_equal(
        seconds in -(1_i64 << 40)..1 << 40,
        nanos in 0_u32..1_000_000_000,
    ) {
        let timestamp = moment(seconds, nanos);
        let moment = timestamp.system_time().unwrap();
        prop_assert_eq!(Timestamp::from(moment), timestamp);
        let received = read::<Timestamp>(named(&Timestamp::from(moment))).unwrap();
        prop_assert_eq!(received.system_time(), Some(moment));
    }

    #[test]
    fn p4_a_typed_value_with_a_byte_left_over_is_refused(
        packet in people(),
        byte in any::<u8>(),
    ) {
        for mut datagram in [named(&packet), compact(&packet)] {
            datagram.push(byte);
            prop_assert!(read::<Person>(datagram).unwrap_err().is_syntax());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A case is some thousand values.
        cases: ProptestConfig::default().cases / 32,
        ..ProptestConfig::default()
    })]

    #[test]
    fn p4_every_prefix_of_a_packet_is_refused(packet in anything()) {
        for datagram in [named(&packet), compact(&packet)] {
            for length in 0..datagram.len() {
                prop_assert!(read::<Everything>(&datagram[..length]).unwrap_err().is_syntax());
            }
        }
    }

    #[test]
    fn every_prefix_of_an_untyped_packet_is_refused(packet in value()) {
        let datagram = named(&packet);
        for length in 0..datagram.len() {
            prop_assert!(read::<Value>(&datagram[..length]).unwrap_err().is_syntax());
        }
    }

    #[test]
    fn every_byte_of_a_packet_changed_is_an_error_or_a_value(
        packet in anything(),
        bits in 1..=u8::MAX,
    ) {
        for mut datagram in [named(&packet), compact(&packet)] {
            for position in 0..datagram.len() {
                datagram[position] ^= bits;
                let _ = read::<Everything>(&datagram);
                if let Ok(other) = read::<Value>(&datagram) {
                    // As bytes, since a change may have made a NaN.
                    let again = named(&other);
                    prop_assert_eq!(named(&read::<Value>(&again).unwrap()), again);
                }
                datagram[position] ^= bits;
            }
        }
    }
}

#[test]
fn p3_a_known_packet_reads_back_equal() {
    for datagram in [named(&everything()), compact(&everything())] {
        assert_eq!(read::<Everything>(datagram).unwrap(), everything());
    }
    assert_eq!(read::<Flat>(named(&flat())).unwrap(), flat());
    let people = BTreeMap::from([("a".to_owned(), Some(person())), ("b".to_owned(), None)]);
    assert_eq!(
        read::<BTreeMap<String, Option<Person>>>(named(&people)).unwrap(),
        people
    );
}

#[test]
fn p3_moments_before_1970_count_down_in_seconds_and_up_in_nanoseconds() {
    let before = UNIX_EPOCH - Duration::new(1, 250_000_000);
    assert_eq!(Timestamp::from(before), moment(-2, 750_000_000));
    assert_eq!(
        Timestamp::from(UNIX_EPOCH - Duration::from_secs(3)),
        moment(-3, 0)
    );
    assert_eq!(moment(-2, 750_000_000).system_time(), Some(before));
    assert_eq!((moment(-2, 5).seconds(), moment(-2, 5).nanos()), (-2, 5));
    assert!(moment(-2, 750_000_000) < moment(-1, 0));

    // What the clock does not reach is none, and no panic.
    assert_eq!(moment(i64::MAX, 999_999_999).system_time().map(drop), {
        let reached = UNIX_EPOCH.checked_add(Duration::new(i64::MAX as u64, 999_999_999));
        reached.map(drop)
    });
    let _: Option<SystemTime> = moment(i64::MIN, 0).system_time();
}

#[test]
fn p3_the_first_and_the_last_moments_of_the_clock_read_back_equal() {
    for seconds in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
        for nanos in [0, 1, 999_999_999] {
            // Not every system's clock reaches so far.
            if let Some(clock) = moment(seconds, nanos).system_time() {
                assert_eq!(Timestamp::from(clock), moment(seconds, nanos));
            }
        }
    }
}
