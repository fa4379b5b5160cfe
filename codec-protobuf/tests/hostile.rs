//! What strangers send: never a panic, a stack overflow, or memory for what is not there.

use std::fmt::Debug;

use allocation_counter::measure;
use postbox_codec_protobuf_schema::{Everything, NewerPerson, Nothing, Person};
use proptest::prelude::*;
use prost::Message;

use crate::common::{datagram, everything, read};

/// The largest datagram of IPv4.
const LARGEST: usize = 65_507;

/// Returns a message in the field `next` of a message, and so on.
fn nested(depth: usize) -> Everything {
    (0..depth).fold(Everything::default(), |next, _| Everything {
        next: Some(Box::new(next)),
        ..Everything::default()
    })
}

/// Puts `inner` into a field of this key.
fn within(key: &[u8], inner: &[u8]) -> Vec<u8> {
    let mut length = Vec::new();
    prost::encode_length_delimiter(inner.len(), &mut length).unwrap_or_default();
    [key, &length, inner].concat()
}

#[test]
fn p5_depth_beyond_the_limit_is_an_error() {
    assert_eq!(
        read::<Everything>(datagram(&nested(100))).unwrap(),
        nested(100)
    );
    let error = read::<Everything>(datagram(&nested(101))).unwrap_err();
    assert!(error.to_string().ends_with("recursion limit reached"));
}

#[test]
fn p5_as_deep_as_a_datagram_can_be_overflows_no_stack() {
    let limited = |datagram: &[u8]| {
        let errors = [
            read::<Everything>(datagram).unwrap_err(),
            read::<Everything>(within(b"\xe2\x03", datagram)).unwrap_err(),
        ];
        errors
            .iter()
            .all(|error| error.to_string().ends_with("recursion limit reached"))
    };

    let mut deep = Vec::new();
    while deep.len() + 8 < LARGEST {
        deep = within(b"\xe2\x03", &deep);
    }
    assert!(limited(&deep));
    // A field that nobody knows is not looked into, whatever it holds.
    assert!(read::<Person>(&deep).is_ok());

    // Groups, which nobody knows either, must be: their end is found in no other way.
    for group in [&b"\x0b"[..], b"\x1b", b"\xfb\xff\xff\xff\x0f"] {
        let open = group.repeat(LARGEST / group.len());
        for error in [
            read::<Nothing>(&open).unwrap_err(),
            read::<NewerPerson>(within(b"\x32", &open)).unwrap_err(),
        ] {
            let told = error.to_string();
            assert!(
                told.ends_with("recursion limit reached") || told.contains("invalid wire type"),
                "{told}"
            );
        }
    }
    let closed = [b"\x7b".repeat(30_000), b"\x7c".repeat(30_000)].concat();
    assert!(limited(&[&b"\xa3\x06"[..], &closed, b"\xa4\x06"].concat()));
}

/// Returns the most memory that reading `datagram` as a `T` held at once.
fn held<T: Message + Default + Debug + 'static>(datagram: &[u8]) -> u64 {
    measure(|| drop(read::<T>(datagram))).bytes_max
}

#[test]
fn p5_a_length_that_lies_allocates_nothing() {
    // The error is a box and the names of the fields.
    let error = 512;
    // A message in a box is there before its length is read: one for each that has begun.
    let next = size_of::<Everything>() as u64;
    let lengths: [&[u8]; 5] = [
        b"\x7f",
        b"\xff\xff\x03",
        b"\xff\xff\xff\xff\x07",
        b"\xff\xff\xff\xff\x0f",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ];
    // All fields that have a length.
    for number in [
        14, 15, 17, 20, 22, 23, 24, 25, 26, 27, 28, 30, 31, 32, 40, 42, 43, 51, 52, 60,
    ] {
        let mut key = Vec::new();
        prost::encode_length_delimiter(number << 3 | 2, &mut key).unwrap();
        for length in lengths {
            let lie = [&key, length, &[0; 100]].concat();
            assert!(held::<Nothing>(&lie) < error, "{number}");
            let begun = if number == 60 { next } else { 0 };
            assert!(held::<Everything>(&lie) < begun + error, "{number}");
            let inside = within(b"\xe2\x03", &lie);
            assert!(held::<Everything>(&inside) < next + begun + error);
        }
    }
}

#[test]
fn p5_memory_is_bounded_by_what_the_datagram_holds() {
    // An empty message in a list costs two bytes, and its size where it is read.
    let people = b"\xe2\x01\0".repeat(LARGEST / 3);
    assert!(held::<Everything>(&people) <= 3 * people.len() as u64 * size_of::<Person>() as u64);
    // A number costs a byte.
    let packed = within(b"\xa2\x01", &[1; LARGEST - 8]);
    assert!(held::<Everything>(&packed) <= 3 * 4 * LARGEST as u64);
}

fn near_protobuf() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        &b"\x08"[..],
        b"\x0a",
        b"\x10\x07",
        b"\x0a\x03Ann",
        b"\x09\0\0\0\0\0\0\0\0",
        b"\x15\0\0\0\0",
        b"\x0b",
        b"\x0c",
        b"\xe2\x03\x04",
        b"\xe2\x03",
        b"\x8a\x01\x05",
        b"\xa2\x01\x03\x01\x02\x03",
        b"\xa0\x01",
        b"\xf2\x01\x06",
        b"\xfa\x01",
        b"\xc2\x02\0",
        b"\xd2\x02\x09",
        b"\xda\x02\x01",
        b"\x90\x03",
        b"\xff\xff\xff\xff\x0f",
        b"\x80",
        b"\0",
        b"\x01",
        b"\x7f",
        b"\xff",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

/// Reads as many types as there are, each of which is an error or a message.
fn read_all(datagram: &[u8]) {
    let _ = read::<Everything>(datagram);
    let _ = read::<Person>(datagram);
    let _ = read::<NewerPerson>(datagram);
    let _ = read::<Nothing>(datagram);
}

proptest! {
    #[test]
    fn p5_any_bytes_are_an_error_or_a_message_and_never_a_panic(
        datagram in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        read_all(&datagram);
    }

    #[test]
    fn p5_anything_like_protobuf_is_an_error_or_a_message_and_never_a_panic(
        datagram in near_protobuf(),
    ) {
        read_all(&datagram);
    }

    #[test]
    fn p5_a_changed_message_is_an_error_or_a_message_and_never_a_panic(
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut datagram = datagram(&everything());
        let position = position.index(datagram.len());
        datagram[position] = byte;
        read_all(&datagram);
    }

    #[test]
    fn p5_what_is_accepted_can_be_sent_and_says_the_same(datagram in near_protobuf()) {
        if let Ok(packet) = read::<Everything>(&datagram) {
            let again = read::<Everything>(crate::common::datagram(&packet)).unwrap();
            prop_assert_eq!(format!("{again:?}"), format!("{packet:?}"));
        }
    }
}
