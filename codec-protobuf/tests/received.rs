//! What is received: what is wrong is an error that names the field, and what the format cannot
//! know is no error.

use std::error::Error;
use std::fmt::Debug;

use postbox_codec_protobuf::{ProtobufError, ProtobufSerializer};
use postbox_codec_protobuf_schema::everything::Shape;
use postbox_codec_protobuf_schema::{Everything, Line, NewerPerson, Nothing, Person};
use postbox_protocol::{DatagramProtocol, FnConverter, Protocol};
use prost::Message;

use crate::common::{datagram, everything, person, read};

/// Checks that the datagram is no `T`, with this message.
#[track_caller]
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn refused<T: Message + Default + Debug + 'static>(datagram: &[u8], message: &str) {
    let error = read::<T>(datagram).unwrap_err();
    let whole = format!("failed to decode Protobuf message: {message}");
    assert_eq!(error.to_string(), whole);
}

#[test]
fn p4_bytes_left_over_are_more_fields_and_merge() {
    let ann = b"\x0a\x03Ann\x10\x07";
    // The last number wins, and the last text.
    let merged = read::<Person>([&ann[..], b"\x10\x08"].concat()).unwrap();
    assert_eq!((&*merged.name, merged.age), ("Ann", 8));
    let merged = read::<Person>([&ann[..], b"\x0a\x03Bob"].concat()).unwrap();
    assert_eq!((&*merged.name, merged.age), ("Bob", 7));

    // Two whole messages are one: lists are longer, messages within merge.
    let one = Everything {
        packed: vec![1],
        strings: vec!["a".to_owned()],
        person: Some(person()),
        shape: Some(Shape::Circle(1.0)),
        maybe_number: Some(5),
        ..Everything::default()
    };
    let other = Everything {
        packed: vec![2],
        strings: vec!["b".to_owned()],
        person: Some(Person {
            name: String::new(),
            age: 43,
        }),
        shape: Some(Shape::Label("two".to_owned())),
        ..Everything::default()
    };
    let both = read::<Everything>([datagram(&one), datagram(&other)].concat()).unwrap();
    assert_eq!(
        both,
        Everything {
            packed: vec![1, 2],
            strings: vec!["a".to_owned(), "b".to_owned()],
            person: Some(Person {
                name: "Zoë".to_owned(),
                age: 43
            }),
            shape: Some(Shape::Label("two".to_owned())),
            maybe_number: Some(5),
            ..Everything::default()
        }
    );

    // Even bytes that nobody knows.
    assert_eq!(
        read::<Person>([&ann[..], b"\x78\x01"].concat())
            .unwrap()
            .age,
        7
    );
}

#[test]
fn p4_a_datagram_cut_short_between_fields_is_another_message() {
    let whole = b"\x0a\x03Ann\x10\x07";
    for length in 0..=whole.len() {
        match (length, read::<Person>(&whole[..length])) {
            (0, Ok(nobody)) => assert_eq!(nobody, Person::default()),
            (5, Ok(young)) => assert_eq!((&*young.name, young.age), ("Ann", 0)),
            (7, Ok(ann)) => assert_eq!((&*ann.name, ann.age), ("Ann", 7)),
            (0 | 5 | 7, Err(error)) => panic!("{length}: {error}"),
            (_, received) => assert!(received.is_err(), "{length}"),
        }
    }
}

#[test]
fn p4_a_field_cut_short_is_a_deserialize_error() {
    refused::<Person>(b"\x8a", "invalid varint");
    refused::<Person>(b"\x0a", "Person.name: invalid varint");
    refused::<Person>(b"\x10", "Person.age: invalid varint");
    refused::<Person>(b"\x10\x80", "Person.age: invalid varint");
    refused::<Person>(b"\x0a\x03An", "Person.name: buffer underflow");
    refused::<Everything>(b"\x09\0\0", "Everything.a_double: buffer underflow");
    refused::<Everything>(b"\x15\0\0", "Everything.a_float: buffer underflow");
    refused::<Everything>(
        b"\x8a\x01\x03\x0a\x03A",
        "Person.name: Everything.person: buffer underflow",
    );
    refused::<Everything>(b"\xa2\x01\x02\x01", "Everything.packed: buffer underflow");
    // In a field that nobody knows.
    refused::<Nothing>(b"\x0a\x03An", "buffer underflow");
    refused::<Nothing>(b"\x0d\0\0", "buffer underflow");
    refused::<Nothing>(b"\x09\0\0", "buffer underflow");
}

#[test]
fn p4_a_field_within_a_message_does_not_reach_beyond_it() {
    // Three bytes of a person, whose name would have five.
    refused::<Everything>(
        b"\x8a\x01\x03\x0a\x05AAAAA",
        "Everything.person: delimited length exceeded",
    );
    refused::<Everything>(
        b"\xa2\x01\x01\x80\x01",
        "Everything.packed: delimited length exceeded",
    );
    refused::<Everything>(
        b"\xf2\x01\x02\x0a\x05AAAAA",
        "Everything.named: delimited length exceeded",
    );
}

#[test]
fn p5_no_message_is_told_from_a_message_that_is_no_person() {
    let protocol = DatagramProtocol::new(ProtobufSerializer::<Person>::new()).with_converter(
        FnConverter::new(Ok, |person: Person| {
            if person.name.is_empty() {
                Err("a person has a name".into())
            } else {
                Ok(person)
            }
        }),
    );
    assert_eq!(protocol.build_packet(b"\x0a\x03Ann").unwrap().name, "Ann");

    let error = protocol.build_packet(b"hello").unwrap_err();
    assert!(error.is_deserialize());
    assert!(error.source().unwrap().is::<ProtobufError>());

    // The empty datagram is a message.
    let error = protocol.build_packet(b"").unwrap_err();
    assert!(error.is_convert());
    assert_eq!(error.source().unwrap().to_string(), "a person has a name");
}

#[test]
fn p5_a_field_of_another_form_is_named() {
    refused::<Person>(
        b"\x08\x07",
        "Person.name: invalid wire type: Varint (expected LengthDelimited)",
    );
    refused::<Person>(
        b"\x12\x01a",
        "Person.age: invalid wire type: LengthDelimited (expected Varint)",
    );
    refused::<Person>(
        b"\x15\0\0\0\0",
        "Person.age: invalid wire type: ThirtyTwoBit (expected Varint)",
    );
    refused::<Everything>(
        // From the inside out.
        b"\x8a\x01\x02\x08\x07",
        "Person.name: Everything.person: \
         invalid wire type: Varint (expected LengthDelimited)",
    );
    refused::<Everything>(
        b"\xf0\x01\x07",
        "Everything.named: invalid wire type: Varint (expected LengthDelimited)",
    );
    refused::<Everything>(
        b"\xa5\x01\0\0\0\0",
        "Everything.packed: invalid wire type: ThirtyTwoBit (expected Varint)",
    );
    refused::<Everything>(
        b"\xc8\x02\x01",
        "Everything.shape: invalid wire type: Varint (expected SixtyFourBit)",
    );
}

#[test]
fn p5_text_that_is_not_utf8_is_named() {
    let invalid = "invalid string value: data is not UTF-8 encoded";
    refused::<Person>(b"\x0a\x01\xff", &format!("Person.name: {invalid}"));
    refused::<Everything>(
        b"\xd2\x01\x03\xed\xa0\x80",
        &format!("Everything.strings: {invalid}"),
    );
    refused::<Everything>(
        b"\xf2\x01\x03\x0a\x01\xff",
        &format!("Everything.named: {invalid}"),
    );
    refused::<Everything>(b"\xda\x02\x01\xff", &format!("Everything.shape: {invalid}"));
    refused::<Everything>(
        b"\x9a\x03\x01\xff",
        &format!("Everything.maybe_text: {invalid}"),
    );
}

#[test]
fn p5_keys_that_are_none_are_told() {
    for number in [b"\x00", b"\x02", b"\x05"] {
        refused::<Nothing>(number, "invalid tag value: 0");
    }
    refused::<Nothing>(b"\x0e", "invalid wire type value: 6");
    refused::<Nothing>(b"\x0f", "invalid wire type value: 7");
    refused::<Nothing>(b"\x80\x80\x80\x80\x10\x01", "invalid key value: 4294967296");
    refused::<Nothing>(b"\x0c", "unexpected end group tag");
    refused::<Nothing>(b"\x0b\x14", "unexpected end group tag");
    refused::<Nothing>(b"\x0b\x08\x01", "invalid varint");
}

#[test]
fn p5_numbers_of_more_than_ten_bytes_are_told() {
    let ten = b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_eq!(read::<Person>(ten).unwrap().age, u32::MAX);
    refused::<Person>(
        b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        "Person.age: invalid varint",
    );
    refused::<Person>(
        b"\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        "Person.age: invalid varint",
    );
}

#[test]
fn p5_unknown_fields_of_every_form_are_ignored() {
    let newer = NewerPerson {
        name: "Ann".to_owned(),
        age: 7,
        pets: vec!["Rex".to_owned(); 2],
        height: 1.5,
        color: 0xff_0000,
        partner: Some(person()),
        balance: -5,
    };
    let older = read::<Person>(datagram(&newer)).unwrap();
    assert_eq!((&*older.name, older.age), ("Ann", 7));
    // They are gone.
    assert_eq!(datagram(&older), b"\x0a\x03Ann\x10\x07");

    // A group, which this version of the language cannot even say, with another in it.
    let group = b"\x1b\x08\x01\x12\x01a\x25\0\0\0\0\x29\0\0\0\0\0\0\0\0\x33\x34\x1c\x10\x07";
    assert_eq!(read::<Person>(group).unwrap().age, 7);

    // An older peer's message lacks what the newer one has.
    let newer = read::<NewerPerson>(datagram(&older)).unwrap();
    assert_eq!((newer.pets.len(), newer.height), (0, 0.0));
}

#[test]
fn p5_another_message_is_read_as_far_as_its_numbers_mean_something() {
    let line = Line { from: 1.0, to: 2.0 };
    assert!(read::<Person>(datagram(&line)).is_err());
    assert_eq!(
        read::<Nothing>(datagram(&everything())).unwrap(),
        Nothing {}
    );
}

#[test]
fn p5_every_form_of_a_field_is_taken() {
    // Any order.
    let ann = read::<Person>(b"\x10\x07\x0a\x03Ann").unwrap();
    assert_eq!((&*ann.name, ann.age), ("Ann", 7));
    // Numbers, keys and lengths in more bytes than needed.
    assert_eq!(read::<Person>(b"\x10\x87\x80\x00").unwrap().age, 7);
    assert_eq!(read::<Person>(b"\x90\x80\x00\x07").unwrap().age, 7);
    assert_eq!(read::<Person>(b"\x0a\x81\x00a").unwrap().name, "a");
    // Packed or not, whatever the schema says, and both.
    let mixed = b"\xa0\x01\x01\xa2\x01\x02\x02\x03\xaa\x01\x02\x01\x02\xa8\x01\x03";
    let received = read::<Everything>(mixed).unwrap();
    assert_eq!(received.packed, [1, 2, 3]);
    assert_eq!(received.unpacked, [-1, 1, -2]);
    // Too large for its field: the high bits are lost.
    assert_eq!(read::<Person>(b"\x10\x80\x80\x80\x80\x10").unwrap().age, 0);
    assert_eq!(
        read::<Everything>(b"\x18\xff\xff\xff\xff\x0f")
            .unwrap()
            .an_int32,
        -1
    );
    // Every number but 0 is true.
    assert!(read::<Everything>(b"\x68\x02").unwrap().a_bool);
    // A number without a name.
    assert_eq!(read::<Everything>(b"\x80\x01\x4d").unwrap().color, 77);
    // Map entries without a key, without a value, with both the wrong way round, and twice.
    let received = read::<Everything>(b"\x82\x02\x03\x12\x01a\x82\x02\x02\x08\x01").unwrap();
    assert_eq!(received.switched[&false], b"a");
    assert_eq!(received.switched[&true], b"");
    let twice = b"\x82\x02\x05\x12\x01a\x08\x01\x82\x02\x05\x08\x01\x12\x01b";
    assert_eq!(read::<Everything>(twice).unwrap().switched[&true], b"b");
    // Of a oneof the last wins; the same message twice merges.
    let received = read::<Everything>(b"\xda\x02\x01a\xc2\x02\x00").unwrap();
    assert_eq!(received.shape, Some(Shape::Point(Nothing {})));
    let received = read::<Everything>(
        b"\xd2\x02\x09\x09\0\0\0\0\0\0\xf0\x3f\xd2\x02\x09\x11\0\0\0\0\0\0\xf0\x3f",
    )
    .unwrap();
    assert_eq!(
        received.shape,
        Some(Shape::Line(Line { from: 1.0, to: 1.0 }))
    );
}

#[test]
fn p8_the_empty_datagram_is_a_message() {
    let protocol = DatagramProtocol::new(ProtobufSerializer::<Everything>::new());
    assert_eq!(protocol.build_packet(b"").unwrap(), Everything::default());
}
