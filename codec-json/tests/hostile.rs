//! What strangers may send: an error, never a panic.

use proptest::prelude::*;
use serde_json::Value;

use crate::common::{Everything, Person, everything, read, text};

fn near_json() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        &b"{"[..],
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"\\u",
        b"d800",
        b"name",
        b"age",
        b"null",
        b"true",
        b"-",
        b"1",
        b"e",
        b".",
        b"9999999999",
        b" ",
        b"\n",
        b"\xc3",
        b"\xa9",
        b"\"name\":",
        b"\"age\":",
        b"\"yes\":",
        b"\"large\":",
        b"NaN",
        b"\0",
        b"\xff",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn p5_any_bytes_are_an_error_or_a_value_and_never_a_panic(
        document in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = read::<Value>(&document);
        let _ = read::<Everything>(&document);
    }

    #[test]
    fn p5_anything_like_json_is_an_error_or_a_value_and_never_a_panic(document in near_json()) {
        let _ = read::<Value>(&document);
        let _ = read::<Everything>(&document);
        let _ = read::<Person>(&document);
    }

    #[test]
    fn p5_a_changed_document_is_an_error_or_a_value_and_never_a_panic(
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut document = text(&everything()).into_bytes();
        let position = position.index(document.len());
        document[position] = byte;
        let _ = read::<Everything>(&document);
        let _ = read::<Value>(&document);
    }
}
