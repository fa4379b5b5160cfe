//! What is received: every document that is wrong is an error that says what and where.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;

use postbox_codec_json::{JsonError, JsonSerializer};
use postbox_protocol::{DatagramProtocol, FnConverter, Protocol};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::common::{Everything, Person, everything, person, read, text};

/// Checks that the document breaks the grammar, with this message.
#[track_caller]
fn malformed<T: DeserializeOwned + Debug + 'static>(document: impl AsRef<[u8]>, message: &str) {
    let error = told_with_its_place::<T>(document.as_ref(), message);
    assert!(error.is_syntax() && !error.is_data() && !error.is_write());
}

/// Checks that the document is JSON, but no `T`, with this message.
#[track_caller]
fn mismatched<T: DeserializeOwned + Debug + 'static>(document: impl AsRef<[u8]>, message: &str) {
    let error = told_with_its_place::<T>(document.as_ref(), message);
    assert!(error.is_data() && !error.is_syntax() && !error.is_write());
}

#[track_caller]
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn told_with_its_place<T>(document: &[u8], message: &str) -> JsonError
where
    T: DeserializeOwned + Debug + 'static,
{
    let error = read::<T>(document).unwrap_err();
    assert_eq!(error.to_string(), message);
    let place = format!(
        "at line {} column {}",
        error.line().unwrap(),
        error.column().unwrap()
    );
    assert!(message.ends_with(&place), "{place}");
    error
}

#[test]
fn p4_trailing_bytes_are_a_deserialize_error() {
    malformed::<Value>("{}x", "trailing characters at line 1 column 3");
    malformed::<Value>("{}{}", "trailing characters at line 1 column 3");
    malformed::<Value>("1 2", "trailing characters at line 1 column 3");
    malformed::<Value>("null\0", "trailing characters at line 1 column 5");
    malformed::<Person>(
        format!("{}\n]", text(&person())),
        "trailing characters at line 2 column 1",
    );
}

#[test]
fn p4_white_space_around_a_document_is_fine() {
    assert_eq!(
        read::<Value>(" \t\r\n[1 , 2]\n\r\t ").unwrap(),
        json!([1, 2])
    );
    // Only the four kinds that JSON knows.
    malformed::<Value>("[]\x0c", "trailing characters at line 1 column 3");
    malformed::<Value>("[]\u{a0}", "trailing characters at line 1 column 3");
}

#[test]
fn p4_a_document_cut_short_is_a_deserialize_error_at_any_length() {
    let whole = text(&everything());
    for length in 0..whole.len() {
        let error = read::<Everything>(&whole.as_bytes()[..length]).unwrap_err();
        assert!(error.is_syntax(), "{length}: {error}");
        assert!(error.line().is_some());
        assert!(
            read::<Value>(&whole.as_bytes()[..length])
                .unwrap_err()
                .is_syntax()
        );
    }
    malformed::<Value>("{\"a\":1", "EOF while parsing an object at line 1 column 6");
    malformed::<Value>("\"text", "EOF while parsing a string at line 1 column 5");
    malformed::<Value>("tru", "EOF while parsing a value at line 1 column 3");
}

#[test]
fn p4_a_bare_number_cut_short_is_another_number() {
    assert_eq!(read::<u32>("1234").unwrap(), 1234);
    assert_eq!(read::<u32>("12").unwrap(), 12);
    malformed::<f64>("1.", "EOF while parsing a value at line 1 column 2");
}

#[test]
fn p5_not_even_json_is_told_from_json_that_is_no_person() {
    let protocol = DatagramProtocol::new(JsonSerializer::<Person>::new()).with_converter(
        FnConverter::new(Ok, |person: Person| {
            if person.name.is_empty() {
                Err("a person has a name".into())
            } else {
                Ok(person)
            }
        }),
    );
    assert_eq!(
        protocol
            .build_packet(br#"{"name":"Ann","age":3}"#)
            .unwrap()
            .name,
        "Ann"
    );

    let error = protocol.build_packet(b"hello").unwrap_err();
    assert!(error.is_deserialize());
    assert_eq!(
        error.source().unwrap().to_string(),
        "expected value at line 1 column 1"
    );

    let error = protocol
        .build_packet(br#"{"name":"","age":3}"#)
        .unwrap_err();
    assert!(error.is_convert());
    assert_eq!(error.source().unwrap().to_string(), "a person has a name");
}

#[test]
fn p5_a_missing_field_is_named() {
    mismatched::<Person>(
        r#"{"name":"Ann"}"#,
        "missing field `age` at line 1 column 14",
    );
    mismatched::<Person>("{}", "missing field `name` at line 1 column 2");
    mismatched::<Everything>("{}", "missing field `yes` at line 1 column 2");
}

#[test]
fn p5_a_duplicate_field_of_a_struct_is_named() {
    mismatched::<Person>(
        r#"{"name":"Ann","age":3,"name":"Bob"}"#,
        "duplicate field `name` at line 1 column 28",
    );
}

#[test]
fn p5_a_field_of_another_type_is_named() {
    mismatched::<Person>(
        "{\n  \"name\": 7}",
        "invalid type: integer `7`, expected a string at line 2 column 11",
    );
    mismatched::<Person>(
        r#"{"name":"Ann","age":256}"#,
        "invalid value: integer `256`, expected u8 at line 1 column 23",
    );
    mismatched::<Vec<f64>>(
        "[null]",
        "invalid type: null, expected f64 at line 1 column 5",
    );
    mismatched::<(u8, u8)>(
        "[1]",
        "invalid length 1, expected a tuple of size 2 at line 1 column 3",
    );
    malformed::<(u8, u8)>("[1,2,3]", "trailing characters at line 1 column 6");
    mismatched::<char>(
        "\"ab\"",
        "invalid value: string \"ab\", expected a character at line 1 column 4",
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

    let document = r#"{"name":"Ann","age":3,"pets":[{"name":"Rex"}]}"#;
    assert_eq!(read::<Person>(document).unwrap().name, "Ann");
    mismatched::<Strict>(
        document,
        "unknown field `age`, expected `name` at line 1 column 19",
    );
}

#[test]
fn p5_a_value_compared_as_a_whole_has_no_line() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "never made")]
    enum Either {
        Number(u8),
        Text(String),
    }

    let error = read::<Either>("[]").unwrap_err();
    assert_eq!(
        error.to_string(),
        "data did not match any variant of untagged enum Either"
    );
    assert!(error.is_data());
    assert_eq!((error.line(), error.column()), (None, None));
}

#[test]
fn p5_invalid_utf8_is_told_with_its_place() {
    malformed::<Value>(b"\xff", "invalid UTF-8 at line 1 column 1");
    malformed::<Value>(b"[\n\n \"a\xffb\"]", "invalid UTF-8 at line 3 column 4");
    malformed::<Value>(b"{}\n\xc3\x28", "invalid UTF-8 at line 2 column 1");
    malformed::<Value>(b"\"\xf0\x9f\xa6", "invalid UTF-8 at line 1 column 2");
    // An encoded surrogate, and an overlong slash.
    malformed::<Value>(b"\"\xed\xa0\x80\"", "invalid UTF-8 at line 1 column 2");
    malformed::<Value>(b"\"\xc0\xaf\"", "invalid UTF-8 at line 1 column 2");
    // Other encodings.
    malformed::<Value>(b"\xff\xfe{\0}\0", "invalid UTF-8 at line 1 column 1");
    malformed::<Value>(b"\0{\0}", "expected value at line 1 column 1");
}

#[test]
fn p5_a_byte_order_mark_is_refused() {
    malformed::<Value>("\u{feff}{}", "expected value at line 1 column 1");
}

#[test]
fn p5_nan_and_infinity_are_no_json() {
    for literal in ["NaN", "Infinity", "inf", "+1", ".5"] {
        malformed::<Value>(literal, "expected value at line 1 column 1");
        malformed::<Vec<f64>>(
            format!("[1,{literal}]"),
            "expected value at line 1 column 4",
        );
    }
    malformed::<f64>("nan", "expected ident at line 1 column 2");
    malformed::<f64>("-Infinity", "invalid number at line 1 column 2");
    malformed::<f64>("1e400", "number out of range at line 1 column 5");
    malformed::<Value>("-1e400", "number out of range at line 1 column 6");
}

#[test]
fn p5_near_json_is_no_json() {
    malformed::<Value>("[1,]", "trailing comma at line 1 column 4");
    malformed::<Value>("{'a':1}", "key must be a string at line 1 column 2");
    malformed::<Value>("[1 // one\n]", "expected `,` or `]` at line 1 column 4");
    malformed::<Value>("01", "invalid number at line 1 column 2");
    malformed::<Value>(
        "\"\x01\"",
        "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 2",
    );
    malformed::<Value>(
        r#""\ud800""#,
        "unexpected end of hex escape at line 1 column 8",
    );
    malformed::<Value>(r#""\x41""#, "invalid escape at line 1 column 3");
}

#[test]
fn p5_integers_out_of_range_are_told() {
    assert_eq!(read::<u64>(u64::MAX.to_string()).unwrap(), u64::MAX);
    assert_eq!(read::<i64>(i64::MIN.to_string()).unwrap(), i64::MIN);
    assert_eq!(read::<i128>(i128::MIN.to_string()).unwrap(), i128::MIN);
    assert_eq!(read::<u128>(u128::MAX.to_string()).unwrap(), u128::MAX);
    let error = read::<u64>("18446744073709551616").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("expected u64 at line 1 column 20"),
        "{error}"
    );
    assert!(error.is_data());
    mismatched::<u8>(
        "-1",
        "invalid value: integer `-1`, expected u8 at line 1 column 2",
    );
    mismatched::<u8>(
        "1.0",
        "invalid type: floating point `1.0`, expected u8 at line 1 column 3",
    );
    malformed::<u128>(
        "340282366920938463463374607431768211456",
        "number out of range at line 1 column 39",
    );
    malformed::<u128>("-1", "number out of range at line 1 column 1");
}

#[test]
fn p5_an_untyped_integer_beyond_64_bits_becomes_a_float() {
    let value = read::<Value>("[18446744073709551615, 18446744073709551616]").unwrap();
    assert_eq!(value[0].as_u64(), Some(u64::MAX));
    assert_eq!(value[1], json!(18446744073709551616.0));
}

#[test]
fn p5_of_equal_keys_the_last_one_wins_where_no_struct_forbids_it() {
    let document = r#"{"a":1,"b":{"c":1,"c":2},"a":3}"#;
    assert_eq!(
        read::<Value>(document).unwrap(),
        json!({ "a": 3, "b": { "c": 2 } })
    );
    assert_eq!(
        read::<BTreeMap<String, u8>>(r#"{"a":1,"a":2}"#).unwrap(),
        BTreeMap::from([("a".to_owned(), 2)]),
    );
}

#[test]
fn p5_map_keys_that_are_no_such_number_are_told() {
    assert_eq!(
        read::<BTreeMap<u8, u8>>(r#"{"1":2}"#).unwrap(),
        BTreeMap::from([(1, 2)])
    );
    let error = read::<BTreeMap<u8, u8>>(r#"{"one":2}"#).unwrap_err();
    assert!(error.is_syntax() || error.is_data());
    assert_eq!(error.line(), Some(1));
}

#[test]
fn p8_the_empty_datagram_is_a_deserialize_error() {
    malformed::<Value>("", "EOF while parsing a value at line 1 column 0");
    malformed::<Person>("", "EOF while parsing a value at line 1 column 0");
    malformed::<Option<u8>>("", "EOF while parsing a value at line 1 column 0");
    malformed::<()>(" ", "EOF while parsing a value at line 1 column 1");
}

#[test]
fn p5_depth_beyond_the_limit_is_an_error_and_overflows_no_stack() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "never read")]
    struct Node {
        next: Option<Box<Self>>,
    }

    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    assert!(read::<Value>(nested(127)).is_ok());
    malformed::<Value>(nested(128), "recursion limit exceeded at line 1 column 128");

    // As deep as a datagram can be, whole and cut short.
    malformed::<Value>(
        nested(32_753),
        "recursion limit exceeded at line 1 column 128",
    );
    malformed::<Value>(
        "[".repeat(65_507),
        "recursion limit exceeded at line 1 column 128",
    );
    malformed::<Node>(
        r#"{"next":"#.repeat(8_000),
        "recursion limit exceeded at line 1 column 1017",
    );
    // What a struct ignores is skipped at any depth.
    assert!(
        read::<Person>(r#"{"name":"Ann","age":3,"x":"#.to_owned() + &nested(30_000) + "}").is_ok()
    );
    assert!(
        read::<Person>(r#"{"x":"#.to_owned() + &"[".repeat(65_000))
            .unwrap_err()
            .is_syntax()
    );
}
