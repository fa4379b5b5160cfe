//! The forms in which a value may come, and which of them a type takes.

use std::collections::BTreeMap;

use postbox_codec_msgpack::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::common::{Meters, Shape, compact, mismatched, moment, named, read};

#[test]
fn p5_an_enum_is_a_name_or_a_map_from_it() {
    let variants = "expected one of `Point`, `Circle`, `Line`, `Square`";
    assert_eq!(read::<Shape>(b"\x81\xa5Point\xc0").unwrap(), Shape::Point);
    mismatched::<Shape>(b"\xa3Dot", &format!("unknown variant `Dot`, {variants}"));
    mismatched::<Shape>(
        b"\x81\xa3Dot\xc0",
        &format!("unknown variant `Dot`, {variants}"),
    );
    mismatched::<Shape>(
        b"\xa6Circle",
        "invalid type: unit variant, expected newtype variant",
    );
    mismatched::<Shape>(b"\x81\xa6Circle\xa1a", "invalid type: string");
    mismatched::<Shape>(b"\x81\xa5Point\x01", "invalid type: integer");
    for datagram in [
        &b"\x80"[..],
        b"\x82\xa6Circle\x01\xa5Point\xc0",
        b"\x91\xa6Circle",
        b"\x92\xa6Circle\x01",
        b"\xc0",
        b"\xc4\x01\x01",
        b"\xd4\x05\x01",
    ] {
        assert!(read::<Shape>(datagram).unwrap_err().is_data());
    }
    // An array is not an enum, and what follows it is not its data.
    assert!(
        read::<Vec<Shape>>(b"\x92\x91\xa6Circle\x01")
            .unwrap_err()
            .is_data()
    );
}

#[test]
fn p5_integers_out_of_range_are_told() {
    assert_eq!(read::<u64>(named(&u64::MAX)).unwrap(), u64::MAX);
    assert_eq!(read::<i64>(named(&i64::MIN)).unwrap(), i64::MIN);
    assert_eq!(read::<i128>(named(&i128::MIN)).unwrap(), i128::MIN);
    assert_eq!(read::<u128>(named(&u128::MAX)).unwrap(), u128::MAX);
    mismatched::<u8>(b"\xff", "invalid value: integer `-1`, expected u8");
    mismatched::<i64>(
        named(&u64::MAX),
        "invalid value: integer `18446744073709551615`, expected i64",
    );
    mismatched::<i128>(
        b"\xc4\x0f123456789012345",
        "invalid length of an array, a map or a byte string",
    );
    assert_eq!(read::<i128>(b"\xe0").unwrap(), -32);
    assert_eq!(read::<u128>(b"\xcd\x01\0").unwrap(), 256);
    // The same sixteen bytes are both.
    assert_eq!(read::<u128>(b"\xff").unwrap(), u128::MAX);
}

#[test]
fn p5_every_form_of_a_value_is_taken() {
    for one in [
        &b"\x01"[..],
        b"\xcc\x01",
        b"\xcd\0\x01",
        b"\xce\0\0\0\x01",
        b"\xcf\0\0\0\0\0\0\0\x01",
        b"\xd0\x01",
        b"\xd1\0\x01",
        b"\xd2\0\0\0\x01",
        b"\xd3\0\0\0\0\0\0\0\x01",
    ] {
        assert_eq!(read::<u8>(one).unwrap(), 1);
        assert_eq!(read::<i8>(one).unwrap(), 1);
        assert_eq!(read::<u64>(one).unwrap(), 1);
        assert_eq!(read::<i128>(one).unwrap(), 1);
        assert_eq!(read::<f32>(one).unwrap(), 1.0);
        assert_eq!(read::<f64>(one).unwrap(), 1.0);
    }
    for one in [&b"\xca\x3f\x80\0\0"[..], b"\xcb\x3f\xf0\0\0\0\0\0\0"] {
        assert_eq!(read::<f32>(one).unwrap(), 1.0);
        assert_eq!(read::<f64>(one).unwrap(), 1.0);
        assert_eq!(read::<Meters>(one).unwrap(), Meters(1.0));
    }
    for text in [
        &b"\xa1a"[..],
        b"\xd9\x01a",
        b"\xda\0\x01a",
        b"\xdb\0\0\0\x01a",
        b"\xc4\x01a",
        b"\xc5\0\x01a",
        b"\xc6\0\0\0\x01a",
    ] {
        assert_eq!(read::<String>(text).unwrap(), "a");
        assert_eq!(read::<ByteBuf>(text).unwrap(), b"a");
    }
    for numbers in [
        &b"\x92\x01\x02"[..],
        b"\xdc\0\x02\x01\x02",
        b"\xdd\0\0\0\x02\x01\x02",
        b"\xc4\x02\x01\x02",
    ] {
        assert_eq!(read::<Vec<u8>>(numbers).unwrap(), [1, 2]);
        assert_eq!(read::<ByteBuf>(numbers).unwrap(), [1, 2]);
    }
    for map in [
        &b"\x81\x01\x02"[..],
        b"\xde\0\x01\x01\x02",
        b"\xdf\0\0\0\x01\x01\x02",
    ] {
        assert_eq!(
            read::<BTreeMap<u8, u8>>(map).unwrap(),
            BTreeMap::from([(1, 2)])
        );
    }
}

#[test]
fn p5_of_equal_keys_the_last_one_wins_where_no_struct_forbids_it() {
    assert_eq!(
        read::<BTreeMap<String, u8>>(b"\x82\xa1a\x01\xa1a\x02").unwrap(),
        BTreeMap::from([("a".to_owned(), 2)]),
    );
}

#[test]
fn p5_there_is_one_nil() {
    assert_eq!(read::<Option<Option<u8>>>(b"\xc0").unwrap(), None);
    assert_eq!(
        read::<Option<()>>(named(&Some(()))).unwrap(),
        None,
        "as said in the docs"
    );
    assert_eq!(read::<Option<Option<u8>>>(b"\x07").unwrap(), Some(Some(7)));
}

#[test]
fn p5_timestamps_are_read_from_every_form() {
    for second in [
        &b"\xd6\xff\0\0\0\x01"[..],
        b"\xc7\x04\xff\0\0\0\x01",
        b"\xc8\0\x04\xff\0\0\0\x01",
        b"\xc9\0\0\0\x04\xff\0\0\0\x01",
        b"\xd7\xff\0\0\0\0\0\0\0\x01",
        b"\xc7\x08\xff\0\0\0\0\0\0\0\x01",
        b"\xc7\x0c\xff\0\0\0\0\0\0\0\0\0\0\0\x01",
    ] {
        assert_eq!(read::<Timestamp>(second).unwrap(), moment(1, 0));
        assert_eq!(
            read::<Option<Timestamp>>(second).unwrap(),
            Some(moment(1, 0))
        );
    }
    let no_timestamp = |datagram: &[u8], kind, length| {
        mismatched::<Timestamp>(
            datagram,
            &format!(
                "an extension of kind {kind} with these {length} bytes is not the expected one"
            ),
        );
    };
    // Another kind, no such length, a billion nanoseconds in both forms that have them.
    no_timestamp(b"\xd6\x05\0\0\0\x01", 5, 4);
    no_timestamp(b"\xd5\xff\0\x01", -1, 2);
    no_timestamp(b"\xc7\0\xff", -1, 0);
    no_timestamp(b"\xd8\xff0123456789abcdef", -1, 16);
    no_timestamp(b"\xd7\xff\xee\x6b\x28\0\0\0\0\0", -1, 8);
    no_timestamp(b"\xc7\x0c\xff\x3b\x9a\xca\0\0\0\0\0\0\0\0\0", -1, 12);
    // No extension.
    mismatched::<Timestamp>(b"\x92\xff\xc4\0", "invalid type: array");
}

#[test]
fn p5_a_float_out_of_the_range_of_a_narrower_one_is_infinite() {
    assert_eq!(read::<f32>(named(&f64::from(f32::MAX))).unwrap(), f32::MAX);
    assert_eq!(read::<f32>(named(&1e39)).unwrap(), f32::INFINITY);
    assert_eq!(read::<f32>(named(&f64::MIN)).unwrap(), f32::NEG_INFINITY);
    // The nearest.
    assert_eq!(read::<f32>(named(&0.1)).unwrap(), 0.1);
}

#[test]
fn p5_bytes_left_over_in_a_byte_string_that_is_read_as_fields_are_ignored() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Move {
        x: u8,
        y: u8,
    }

    let longer = b"\xc4\x05\x01\x02\x03\x04\x05";
    assert_eq!(read::<Move>(longer).unwrap(), Move { x: 1, y: 2 });
    assert_eq!(read::<(u8, u8)>(longer).unwrap(), (1, 2));
    // Of an array they are not, and what is missing is.
    for array in [&b"\x93\x01\x02\x03"[..], b"\x91\x01", b"\xc4\x01\x01"] {
        assert!(read::<Move>(array).unwrap_err().is_data());
        assert!(read::<(u8, u8)>(array).unwrap_err().is_data());
    }
}

#[test]
fn p5_a_wide_integer_that_serde_sets_aside_is_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Outer<T> {
        #[serde(flatten)]
        inner: Inner<T>,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Inner<T> {
        number: T,
    }

    let datagram = |number: i128| {
        named(&Outer {
            inner: Inner { number },
        })
    };
    for number in [0, i128::MIN] {
        mismatched::<Outer<i128>>(datagram(number), "i128 is not supported");
        mismatched::<Outer<u128>>(datagram(number), "u128 is not supported");
        assert_eq!(
            read::<Inner<i128>>(datagram(number)).unwrap().number,
            number
        );
    }
}

#[test]
fn p5_compact_is_not_for_variants_without_names_or_in_two_parts() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "data")]
    enum Adjacent {
        Point,
        Circle(f64),
        Line(f64, f64),
        Square { side: f64 },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Line(f64, f64),
        Square { side: f64 },
        Box { width: f64, height: f64 },
    }

    let adjacent = [
        (Adjacent::Point, false),
        (Adjacent::Circle(1.0), true),
        (Adjacent::Line(1.0, 2.0), true),
        (Adjacent::Square { side: 1.0 }, false),
    ];
    for (variant, comes_back) in adjacent {
        match read::<Adjacent>(compact(&variant)) {
            Ok(read) => assert!(comes_back && read == variant, "{read:?}"),
            Err(error) => assert!(!comes_back && error.is_data(), "{error}"),
        }
        assert_eq!(read::<Adjacent>(named(&variant)).unwrap(), variant);
    }

    let line = Untagged::Line(1.0, 2.0);
    assert_eq!(read::<Untagged>(compact(&line)).unwrap(), line);
    let square = Untagged::Square { side: 1.0 };
    assert!(read::<Untagged>(compact(&square)).unwrap_err().is_data());
    assert_eq!(read::<Untagged>(named(&square)).unwrap(), square);
    // It is taken for another.
    let (width, height) = (1.0, 2.0);
    assert_eq!(
        read::<Untagged>(compact(&Untagged::Box { width, height })).unwrap(),
        line
    );
}
