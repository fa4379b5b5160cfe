//! What is received: every datagram that is wrong is an error that says what.

use std::error::Error;
use std::fmt::Debug;

use postbox_codec_msgpack::{Extension, MessagePackSerializer};
use postbox_protocol::{DatagramProtocol, FnConverter, Protocol};
use rmpv::Value;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_bytes::ByteBuf;

use crate::common::{
    Everything, Nothing, Person, compact, everything, flat, mismatched, named, person, read,
};

/// Checks that the datagram is no MessagePack whatever the type, with this message.
#[track_caller]
fn malformed(datagram: impl AsRef<[u8]>, message: &str) {
    malformed_as::<Value>(datagram.as_ref(), message);
    malformed_as::<IgnoredAny>(datagram.as_ref(), message);
    malformed_as::<Everything>(datagram.as_ref(), message);
}

#[track_caller]
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn malformed_as<T: DeserializeOwned + Debug + 'static>(datagram: &[u8], message: &str) {
    let error = read::<T>(datagram).unwrap_err();
    assert_eq!(error.to_string(), message);
    let place = format!(" at byte {}", error.position().unwrap());
    assert!(message.ends_with(&place), "{place}");
    assert!(error.is_syntax() && !error.is_data() && !error.is_write());
}

#[test]
fn p4_trailing_bytes_are_a_deserialize_error() {
    malformed(b"\x80\0", "bytes left over at byte 1");
    malformed(b"\x80\x80", "bytes left over at byte 1");
    malformed(b"\x01\x02", "bytes left over at byte 1");
    malformed(b"\x92\x01\x02\xc0", "bytes left over at byte 3");
    let whole = named(&person());
    malformed(
        [&whole[..], b"\n"].concat(),
        &format!("bytes left over at byte {}", whole.len()),
    );
    malformed([&whole[..], &whole].concat(), "bytes left over at byte 16");
}

#[test]
fn p4_a_value_cut_short_is_a_deserialize_error_at_any_length() {
    for whole in [named(&everything()), compact(&everything()), named(&flat())] {
        for length in 0..whole.len() {
            malformed(&whole[..length], &format!("cut short at byte {length}"));
        }
    }
    malformed(b"\xa5four", "cut short at byte 5");
    malformed(b"\xcd\x01", "cut short at byte 2");
    malformed(b"\xd4\x05", "cut short at byte 2");
    malformed(b"\x81\xa1a", "cut short at byte 3");
}

#[test]
fn p4_a_length_beyond_the_datagram_is_a_deserialize_error() {
    for head in [
        &b"\xbf"[..],
        b"\xd9\xff",
        b"\xda\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc4\xff",
        b"\xc5\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc7\xff\x05",
        b"\xc8\xff\xff\x05",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\x9f",
        b"\xdc\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x8f",
        b"\xde\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdf\x80\0\0\0",
    ] {
        let datagram = [head, b"\x01\x02\x03\x04"].concat();
        malformed(&datagram, &format!("cut short at byte {}", datagram.len()));
        // The same where nobody reads it.
        let datagram = [b"\x92\x01", head, b"\x01\x02\x03\x04"].concat();
        malformed(&datagram, &format!("cut short at byte {}", datagram.len()));
    }
}

#[test]
fn p5_no_messagepack_is_told_from_messagepack_that_is_no_person() {
    let protocol = DatagramProtocol::new(MessagePackSerializer::<Person>::new()).with_converter(
        FnConverter::new(Ok, |person: Person| {
            if person.name.is_empty() {
                Err("a person has a name".into())
            } else {
                Ok(person)
            }
        }),
    );
    assert_eq!(
        protocol.build_packet(b"\x92\xa3Ann\x03").unwrap().name,
        "Ann"
    );

    let error = protocol.build_packet(b"hello").unwrap_err();
    assert!(error.is_deserialize());
    assert_eq!(
        error.source().unwrap().to_string(),
        "bytes left over at byte 1"
    );

    let error = protocol.build_packet(b"\x92\xa0\x03").unwrap_err();
    assert!(error.is_convert());
    assert_eq!(error.source().unwrap().to_string(), "a person has a name");
}

#[test]
fn p5_the_byte_that_means_nothing_is_told() {
    malformed(b"\xc1", "0xc1, which MessagePack never uses, at byte 0");
    malformed(
        b"\x93\xa1a\x01\xc1",
        "0xc1, which MessagePack never uses, at byte 4",
    );
}

#[test]
fn p5_invalid_utf8_is_told_with_its_place_even_where_nobody_reads_it() {
    malformed(b"\xa1\xff", "invalid UTF-8 at byte 1");
    malformed(b"\x92\x01\xa3ab\xff", "invalid UTF-8 at byte 5");
    malformed(b"\xd9\x02\xc3\x28", "invalid UTF-8 at byte 2");
    // An encoded surrogate, an overlong slash, a character cut short.
    malformed(b"\xa3\xed\xa0\x80", "invalid UTF-8 at byte 1");
    malformed(b"\xa2\xc0\xaf", "invalid UTF-8 at byte 1");
    malformed(b"\x92\xa1\xc3\xa1\xa9", "invalid UTF-8 at byte 2");
    // In a field that a person does not have.
    malformed(
        b"\x83\xa4name\xa3Ann\xa3age\x07\xa1x\xa1\xff",
        "invalid UTF-8 at byte 18",
    );
    // A byte string may hold anything.
    assert_eq!(read::<ByteBuf>(b"\xc4\x01\xff").unwrap(), [0xff]);
}

#[test]
fn p5_a_missing_field_is_named() {
    mismatched::<Person>(b"\x81\xa4name\xa3Ann", "missing field `age`");
    mismatched::<Person>(b"\x80", "missing field `name`");
    mismatched::<Person>(
        b"\x91\xa3Ann",
        "invalid length 1, expected struct Person with 2 elements",
    );
    mismatched::<Everything>(b"\x80", "missing field `yes`");
}

#[test]
fn p5_a_duplicate_field_of_a_struct_is_named() {
    mismatched::<Person>(
        b"\x83\xa4name\xa3Ann\xa3age\x03\xa4name\xa3Bob",
        "duplicate field `name`",
    );
}

#[test]
fn p5_a_field_of_another_type_is_named() {
    mismatched::<Person>(
        b"\x81\xa4name\x07",
        "invalid type: integer `7`, expected a string",
    );
    mismatched::<Person>(
        b"\x92\xa3Ann\xcd\x01\0",
        "invalid value: integer `256`, expected u8",
    );
    mismatched::<Person>(b"\x07", "invalid type: integer `7`, expected struct Person");
    mismatched::<Vec<f64>>(b"\x91\xc0", "invalid type: unit value, expected f64");
    mismatched::<(u8, u8)>(b"\x91\x01", "invalid length 1, expected a tuple of size 2");
    mismatched::<(u8, u8)>(
        b"\x93\x01\x02\x03",
        "invalid length of an array, a map or a byte string",
    );
    mismatched::<Person>(
        b"\x93\xa3Ann\x03\x04",
        "invalid length of an array, a map or a byte string",
    );
    mismatched::<char>(
        b"\xa2ab",
        "invalid value: string \"ab\", expected a character",
    );
    mismatched::<Nothing>(
        b"\x91\x01",
        "invalid type: sequence, expected unit struct Nothing",
    );
}

#[test]
fn p5_what_is_no_number_and_no_boolean_is_named() {
    for (datagram, kind) in [
        (&b"\xa1a"[..], "string"),
        (b"\xd9\x01a", "string"),
        (b"\xc4\x01a", "byte string"),
        (b"\x91\x01", "array"),
        (b"\xdc\0\0", "array"),
        (b"\x80", "map"),
        (b"\xde\0\0", "map"),
        (b"\xd4\x05\x01", "extension"),
        (b"\xc7\0\x05", "extension"),
    ] {
        let message = format!("invalid type: {kind}");
        mismatched::<u8>(datagram, &message);
        mismatched::<f64>(datagram, &message);
        mismatched::<bool>(datagram, &message);
    }
    for (datagram, kind) in [
        (&b"\x01"[..], "integer"),
        (b"\xe0", "integer"),
        (b"\xcc\xff", "integer"),
        (b"\xc2", "boolean"),
        (b"\xc0", "nil"),
        (b"\xcb\0\0\0\0\0\0\0\0", "floating point"),
    ] {
        mismatched::<Extension>(datagram, &format!("invalid type: {kind}"));
    }
    mismatched::<i128>(b"\xa1a", "invalid type: string");
    mismatched::<u8>(b"\xc3", "invalid type: boolean `true`, expected u8");
    mismatched::<bool>(b"\x01", "invalid type: integer `1`, expected a boolean");
    mismatched::<u8>(
        b"\xca\x3f\x80\0\0",
        "invalid type: floating point `1.0`, expected u8",
    );
}

#[test]
fn p5_unknown_fields_are_as_the_type_says() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "never made")]
    struct Strict {
        name: String,
    }

    let datagram = b"\x83\xa4name\xa3Ann\xa4pets\x91\x81\xa4name\xd4\x05\x01\xa3age\x03";
    assert_eq!(read::<Person>(datagram).unwrap().name, "Ann");
    mismatched::<Strict>(datagram, "unknown field `pets`, expected `name`");
}

#[test]
fn p5_an_extension_where_none_is_expected_is_told() {
    let datagram = b"\xd6\xff\0\0\0\x01";
    mismatched::<String>(datagram, "invalid type: newtype struct, expected a string");
    mismatched::<Vec<u8>>(
        datagram,
        "invalid type: newtype struct, expected a sequence",
    );
    mismatched::<ByteBuf>(
        datagram,
        "invalid type: newtype struct, expected byte array",
    );
    mismatched::<Person>(
        datagram,
        "invalid type: newtype struct, expected struct Person",
    );
}

#[test]
fn p8_the_empty_datagram_is_a_deserialize_error() {
    malformed("", "cut short at byte 0");
    assert!(read::<Option<u8>>("").unwrap_err().is_syntax());
    assert!(read::<()>("").unwrap_err().is_syntax());
}
