//! JSONTestSuite, the public parsing cases of JSON: see `suite/README.md`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use postbox_codec_json::JsonSerializer;
use postbox_protocol::{BoxError, Serializer};
use serde::de::IgnoredAny;
use serde_json::Value;

const CASES: &str = include_str!("suite/test_parsing.tsv");

/// What the suite leaves to the parser: whether we read it, and why.
const DECIDED: &[(&str, bool, &str)] = {
    const NO_UNICODE: &str = "half a surrogate pair is no Unicode, and no Rust string";
    const NO_UTF8: &str = "a document is UTF-8 from end to end";
    const ENDLESS: &str = "a float out of range has no value; JSON has no infinity";
    const TINY: &str = "what is closer to zero than any float is zero";
    const LARGE: &str = "an integer beyond 64 bits is the nearest float";
    &[
        ("i_number_double_huge_neg_exp", true, TINY),
        ("i_number_huge_exp", false, ENDLESS),
        ("i_number_neg_int_huge_exp", false, ENDLESS),
        ("i_number_pos_double_huge_exp", false, ENDLESS),
        ("i_number_real_neg_overflow", false, ENDLESS),
        ("i_number_real_pos_overflow", false, ENDLESS),
        ("i_number_real_underflow", true, TINY),
        ("i_number_too_big_neg_int", true, LARGE),
        ("i_number_too_big_pos_int", true, LARGE),
        ("i_number_very_big_negative_int", true, LARGE),
        ("i_object_key_lone_2nd_surrogate", false, NO_UNICODE),
        ("i_string_1st_surrogate_but_2nd_missing", false, NO_UNICODE),
        (
            "i_string_1st_valid_surrogate_2nd_invalid",
            false,
            NO_UNICODE,
        ),
        ("i_string_UTF-16LE_with_BOM", false, NO_UTF8),
        ("i_string_UTF-8_invalid_sequence", false, NO_UTF8),
        ("i_string_UTF8_surrogate_U+D800", false, NO_UTF8),
        (
            "i_string_incomplete_surrogate_and_escape_valid",
            false,
            NO_UNICODE,
        ),
        ("i_string_incomplete_surrogate_pair", false, NO_UNICODE),
        (
            "i_string_incomplete_surrogates_escape_valid",
            false,
            NO_UNICODE,
        ),
        ("i_string_invalid_lonely_surrogate", false, NO_UNICODE),
        ("i_string_invalid_surrogate", false, NO_UNICODE),
        ("i_string_invalid_utf-8", false, NO_UTF8),
        ("i_string_inverted_surrogates_U+1D11E", false, NO_UNICODE),
        ("i_string_iso_latin_1", false, NO_UTF8),
        ("i_string_lone_second_surrogate", false, NO_UNICODE),
        ("i_string_lone_utf8_continuation_byte", false, NO_UTF8),
        ("i_string_not_in_unicode_range", false, NO_UTF8),
        ("i_string_overlong_sequence_2_bytes", false, NO_UTF8),
        ("i_string_overlong_sequence_6_bytes", false, NO_UTF8),
        ("i_string_overlong_sequence_6_bytes_null", false, NO_UTF8),
        ("i_string_truncated-utf-8", false, NO_UTF8),
        ("i_string_utf16BE_no_BOM", false, "NUL is no white space"),
        ("i_string_utf16LE_no_BOM", false, "NUL is no white space"),
        (
            "i_structure_500_nested_arrays",
            false,
            "127 arrays and objects may stand within one another",
        ),
        (
            "i_structure_UTF-8_BOM_empty_object",
            false,
            "a byte order mark is no white space, and UTF-8 needs none",
        ),
    ]
};

/// The document of each case, by its name.
fn cases() -> BTreeMap<&'static str, Vec<u8>> {
    let case = |line: &'static str| {
        let (name, mut rest) = line.split_once('\t').unwrap();
        let mut document = Vec::new();
        loop {
            let (count, text) = rest.split_once('\t').unwrap();
            let (text, more) = text.split_once('\t').unwrap_or((text, ""));
            document.extend(unescape(text).repeat(count.parse().unwrap()));
            if more.is_empty() {
                return (name, document);
            }
            rest = more;
        }
    };
    let cases: BTreeMap<_, _> = CASES.lines().map(case).collect();
    assert_eq!(cases.len(), 318);
    cases
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match (byte, rest.as_slice()) {
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                rest.nth(2);
                u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            (b'\\', [mark, ..]) => {
                let byte = match mark {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'\\' => b'\\',
                    _ => panic!("an unknown escape in {text}"),
                };
                rest.next();
                byte
            }
            _ => byte,
        });
    }
    bytes
}

fn read(document: &[u8]) -> Result<Value, BoxError> {
    JsonSerializer::<Value>::new().deserialize(document)
}

#[test]
fn p5_the_valid_documents_of_the_public_suite_are_read() {
    let valid: Vec<_> = named("y_");
    assert_eq!(valid.len(), 95);
    for (name, document) in valid {
        let value = read(&document).unwrap_or_else(|error| panic!("{name}: {error}"));

        let mut written = BytesMut::new();
        JsonSerializer::<Value>::new()
            .serialize(&value, &mut written)
            .unwrap();
        assert_eq!(read(&written).unwrap(), value, "{name}");
    }
}

#[test]
fn p5_the_invalid_documents_of_the_public_suite_are_refused() {
    let invalid = named("n_");
    assert_eq!(invalid.len(), 188);
    for (name, document) in invalid {
        if let Ok(value) = read(&document) {
            panic!("{name} is read as {value}");
        }
        // Also where nobody reads them.
        let ignored = JsonSerializer::<Value, IgnoredAny>::new().deserialize(&document);
        assert!(ignored.is_err(), "{name} is ignored");
    }
}

#[test]
fn p5_what_the_public_suite_leaves_open_is_decided() {
    let open = named("i_");
    assert_eq!(open.len(), 35);
    assert_eq!(
        open.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        DECIDED.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
    );
    for ((name, document), (_, taken, why)) in open.into_iter().zip(DECIDED) {
        let answer = read(&document);
        assert_eq!(answer.is_ok(), *taken, "{name} ({why}): {answer:?}");
    }
}

fn named(begin: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut cases: Vec<_> = cases().into_iter().collect();
    cases.retain(|(name, _)| name.starts_with(begin));
    cases
}
