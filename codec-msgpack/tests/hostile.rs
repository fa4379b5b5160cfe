//! What strangers send: never a panic, a stack overflow, or memory for what is not there.

use std::fmt::Debug;

use allocation_counter::measure;
use postbox_codec_msgpack::Extension;
use proptest::prelude::*;
use rmpv::Value;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_bytes::ByteBuf;

use crate::common::{Everything, Flat, Person, Shape, compact, everything, flat, named, read};

/// The largest datagram of IPv4.
const LARGEST: usize = 65_507;

/// A type as deep as its datagram, through structs, enums, sequences and what serde keeps for
/// later.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "never read")]
struct Node {
    next: Option<Box<Self>>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "never read")]
enum Tree {
    N(Box<Self>),
    T(Box<Self>, Box<Self>),
    S { s: Box<Self> },
    L(Vec<Self>),
    E,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "never read")]
enum Untagged {
    Leaf(u8),
    Node(Vec<Self>),
    Named { a: Box<Self> },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind")]
#[expect(dead_code, reason = "never read")]
enum Tagged {
    A { a: Box<Self> },
}

fn nested(head: &[u8], depth: usize, end: &[u8]) -> Vec<u8> {
    [head.repeat(depth), end.to_vec()].concat()
}

#[track_caller]
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn too_deep<T: DeserializeOwned + Debug + 'static>(datagram: &[u8]) {
    let error = read::<T>(datagram).unwrap_err();
    assert!(error.is_syntax(), "{error}");
}

#[test]
fn p5_depth_beyond_the_limit_is_an_error() {
    let message = "more than 127 arrays and maps within one another at byte 127";
    assert!(read::<Value>(nested(b"\x91", 126, b"\x90")).is_ok());
    for deeper in [
        nested(b"\x91", 127, b"\x90"),
        nested(b"\x91", 128, b"\x01"),
        nested(b"\x91", LARGEST, b""),
    ] {
        let error = read::<Value>(deeper).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.position(), Some(127));
    }
    // Breadth is no depth.
    let wide = nested(b"\xdc\xff\0", 1, &nested(b"\x91\x01", 0xff00, b""));
    assert!(read::<Value>(wide).is_ok());
    let tail = nested(b"\x92\x01", 126, b"\x90");
    assert!(read::<Value>(tail).is_ok());
}

#[test]
fn p5_every_type_stands_the_depth_that_is_allowed() {
    assert!(read::<IgnoredAny>(nested(b"\x91", 127, b"\x01")).is_ok());
    assert!(read::<Value>(nested(b"\x81\x01", 127, b"\x01")).is_ok());
    assert!(read::<Node>(nested(b"\x81\xa4next", 127, b"\xc0")).is_ok());
    assert!(read::<Node>(nested(b"\x91", 127, b"\xc0")).is_ok());
    assert!(read::<Tree>(nested(b"\x81\xa1N", 127, b"\xa1E")).is_ok());
    assert!(read::<Tree>(nested(b"\x81\0", 127, b"\x04")).is_ok());
    assert!(read::<Tree>(nested(b"\x81\xa1S\x81\xa1s", 63, b"\xa1E")).is_ok());
    assert!(read::<Tree>(nested(b"\x81\xa1L\x91", 63, b"\xa1E")).is_ok());
    assert!(read::<Untagged>(nested(b"\x91", 127, b"\x01")).is_ok());
    assert!(read::<Untagged>(nested(b"\x81\xa1a", 16, b"\x01")).is_ok());
}

#[test]
fn p5_as_deep_as_a_datagram_can_be_overflows_no_stack() {
    let heads: [&[u8]; 12] = [
        b"\x91",
        b"\xdc\0\x01",
        b"\x81\x01",
        b"\x81\0",
        b"\x81\xa1N",
        b"\x81\xa1T\x92",
        b"\x81\xa1S\x81\xa1s",
        b"\x81\xa1S\x91",
        b"\x81\xa1L\x91",
        b"\x81\xa1a",
        b"\x81\xa4next",
        b"\xde\0\x01\xa1a",
    ];
    for head in heads {
        for end in [&b""[..], b"\xc0", b"\xa1E", b"\x04"] {
            let deep = nested(head, LARGEST / head.len(), end);
            too_deep::<Value>(&deep);
            too_deep::<IgnoredAny>(&deep);
            too_deep::<Node>(&deep);
            too_deep::<Tree>(&deep);
            too_deep::<Vec<Tree>>(&deep);
            too_deep::<Untagged>(&deep);
            too_deep::<Tagged>(&deep);
            too_deep::<Everything>(&deep);
            too_deep::<Flat>(&deep);
            // In a field that a person does not have.
            too_deep::<Person>(&[b"\x83\xa4name\xa3Ann\xa3age\x03\xa1x", &deep[..]].concat());
            too_deep::<Flat>(&[b"\x82\xa2id\x03\xa1x", &deep[..]].concat());
        }
        // Shallow, but a reader that takes what follows a value for its data would descend.
        let wide = nested(b"\xdc\x40\0", 1, &nested(head, 0x4000, b""));
        let _ = read::<Vec<Tree>>(wide);
    }
}

/// Returns the most memory that reading `datagram` as a `T` held at once.
fn held<T: DeserializeOwned + Debug + 'static>(datagram: &[u8]) -> u64 {
    measure(|| drop(read::<T>(datagram))).bytes_max
}

#[test]
fn p5_no_text_is_parsed_as_json() {
    let key = b"\xbe$serde_json::private::RawValue";
    let document = [&b"\x81"[..], key, b"\xa3[1]"].concat();
    for datagram in [&document[..], key, &[&b"\x91"[..], &document].concat()] {
        let error = read::<serde_json::Value>(datagram).unwrap_err();
        assert!(error.is_syntax());
        let at = error.position().unwrap();
        let message = "the key by which serde_json parses a text";
        assert_eq!(error.to_string(), format!("{message} at byte {at}"));
        assert!(datagram[at..].starts_with(b"$serde_json"));
    }
    // As bytes it is nothing special.
    let bytes = [&b"\xc4\x1e"[..], &key[1..]].concat();
    assert!(read::<Value>(bytes).is_ok());
}

#[test]
fn p5_a_length_that_lies_allocates_nothing() {
    // The error is one box.
    let error = 256;
    for head in [
        &b"\xdb\xff\xff\xff\xff"[..],
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\0\0\x01\0",
        b"\xde\xff\xff",
    ] {
        for before in [
            &b""[..],
            b"\x91",
            b"\x81\x01",
            b"\x81\xa4name",
            b"\x81\xa1L",
        ] {
            let datagram = [before, head, &[1; 100]].concat();
            assert!(held::<Value>(&datagram) < error);
            assert!(held::<IgnoredAny>(&datagram) < error);
            assert!(held::<Vec<u64>>(&datagram) < error);
            assert!(held::<Vec<[u64; 32]>>(&datagram) < error);
            assert!(held::<Vec<String>>(&datagram) < error);
            assert!(held::<Vec<Vec<u64>>>(&datagram) < error);
            assert!(held::<String>(&datagram) < error);
            assert!(held::<ByteBuf>(&datagram) < error);
            assert!(held::<Extension>(&datagram) < error);
            assert!(held::<Person>(&datagram) < error);
            assert!(held::<Tree>(&datagram) < error);
            assert!(held::<Untagged>(&datagram) < error);
        }
    }
}

#[test]
fn p5_memory_is_bounded_by_what_the_datagram_holds() {
    // As many of the largest elements as a datagram has: no more than 1 MiB is taken beforehand.
    let many = nested(b"\xdc\xff\0", 1, &[0xc0; 0xff00]);
    assert!(held::<Vec<[u64; 32]>>(&many) <= (1 << 20) + 256);
    assert!(held::<Vec<u64>>(&many) <= (1 << 20) + 256);
    // Beyond that it grows with what is really there, by doubling.
    assert!(held::<Value>(&many) <= 3 * 0xff00 * size_of::<Value>() as u64);
}

fn near_messagepack() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        &b"\x80"[..],
        b"\x81",
        b"\x82",
        b"\x90",
        b"\x91",
        b"\x93",
        b"\x96",
        b"\xc0",
        b"\xc1",
        b"\xc3",
        b"\xff",
        b"\x01",
        b"\xcc\x80",
        b"\xca\0\0\0\0",
        b"\xcb\0\0\0\0\0\0\0\0",
        b"\xa4name",
        b"\xa3age",
        b"\xa3Ann",
        b"\xa6Circle",
        b"\xa6Square",
        b"\xa4side",
        b"\xa5Point",
        b"\xa4kind",
        b"\xa4left",
        b"\xa5after",
        b"\xa2id",
        b"\xc4\x02ab",
        b"\xc4\x10",
        b"\xd6\xff\0\0\0\x01",
        b"\xd4\x05\x01",
        b"\xc7\x0c\xff",
        b"\xdc\0\x13",
        b"\xde\0\x13",
        b"\xdd\xff\xff\xff\xff",
        b"\xd9",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

/// Reads as many types as there are, each of which is an error or a value.
fn read_all(datagram: &[u8]) {
    let _ = read::<Value>(datagram);
    let _ = read::<IgnoredAny>(datagram);
    let _ = read::<Everything>(datagram);
    let _ = read::<Flat>(datagram);
    let _ = read::<Person>(datagram);
    let _ = read::<Vec<Shape>>(datagram);
    let _ = read::<Tree>(datagram);
    let _ = read::<Untagged>(datagram);
}

/// Returns whether all its strings are UTF-8; rmpv takes others too.
fn is_utf8(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_str(),
        Value::Array(values) => values.iter().all(is_utf8),
        Value::Map(entries) => entries
            .iter()
            .all(|(key, value)| is_utf8(key) && is_utf8(value)),
        _ => true,
    }
}

proptest! {
    #[test]
    fn p5_any_bytes_are_an_error_or_a_value_and_never_a_panic(
        datagram in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        read_all(&datagram);
    }

    #[test]
    fn p5_anything_like_messagepack_is_an_error_or_a_value_and_never_a_panic(
        datagram in near_messagepack(),
    ) {
        read_all(&datagram);
    }

    #[test]
    fn p5_a_changed_value_is_an_error_or_a_value_and_never_a_panic(
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        for mut datagram in [named(&everything()), compact(&everything()), named(&flat())] {
            let position = position.index(datagram.len());
            datagram[position] = byte;
            read_all(&datagram);
        }
    }

    #[test]
    fn p5_what_is_accepted_is_exactly_one_value(mut datagram in near_messagepack()) {
        // rmpv reads on its own, without serde and without the check. It takes this byte for nil.
        datagram.retain(|byte| *byte != 0xc1);
        let mut rest = &datagram[..];
        let value = rmpv::decode::read_value(&mut rest);
        let whole = value.is_ok_and(|value| is_utf8(&value)) && rest.is_empty();
        prop_assert_eq!(read::<IgnoredAny>(&datagram).is_ok(), whole);
        prop_assert_eq!(read::<Value>(&datagram).is_ok(), whole);
    }
}
