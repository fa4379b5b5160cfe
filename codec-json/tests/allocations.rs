//! How often a datagram takes memory: what the docs promise.

use std::hint::black_box;

use allocation_counter::measure;
use bytes::BytesMut;
use postbox_codec_json::JsonSerializer;
use postbox_protocol::Serializer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::common::{Person, Shape, everything, person, text};

#[derive(Serialize, Deserialize)]
struct Position {
    id: u64,
    x: f64,
    y: f64,
    flags: (bool, u8, Option<i32>),
    shape: Shape,
}

fn position() -> Position {
    Position {
        id: 1 << 40,
        x: 0.1,
        y: -1e300,
        flags: (true, 7, None),
        shape: Shape::Line(1.0, 2.0),
    }
}

/// Returns how often sending takes memory, into a buffer that is large enough.
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn sending<T: Serialize + 'static>(packet: &T) -> u64 {
    let serializer = JsonSerializer::<T, ()>::new();
    let mut datagram = BytesMut::with_capacity(2048);
    measure(|| serializer.serialize(packet, &mut datagram).unwrap()).count_total
}

/// Returns how often receiving this document takes memory.
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn receiving<T: DeserializeOwned + 'static>(document: &str) -> u64 {
    let serializer = JsonSerializer::<(), T>::new();
    let document = document.as_bytes();
    // Once in a program it is found out what serde_json was built with.
    drop(serializer.deserialize(document));
    let received = measure(|| drop(black_box(serializer.deserialize(document).unwrap())));
    received.count_total
}

#[test]
fn p3_sending_takes_no_memory() {
    assert_eq!(sending(&position()), 0);
    assert_eq!(sending(&everything()), 0);
    assert_eq!(sending(&json!({ "a": [1, "b", null] })), 0);
}

#[test]
fn p3_receiving_numbers_takes_no_memory() {
    assert_eq!(receiving::<Position>(&text(&position())), 0);
    assert_eq!(receiving::<u64>("18446744073709551615"), 0);
    assert_eq!(receiving::<[f32; 4]>("[1.5, 1e3, -0, 7]"), 0);
}

#[test]
fn p3_receiving_takes_what_the_packet_owns() {
    assert_eq!(receiving::<Person>(&text(&person())), 1);
    // The list at once, since it begins with room for four.
    assert_eq!(receiving::<Vec<Person>>(&text(&vec![person(); 4])), 5);
    assert_eq!(receiving::<Option<Box<Person>>>(&text(&person())), 2);
}

#[test]
fn p3_receiving_escapes_takes_one_buffer_more() {
    let names = [r#"["a\n","b\t","c\u00e9"]"#, r#"["a","b","c"]"#];
    assert_eq!(receiving::<[String; 3]>(names[0]), 4);
    assert_eq!(receiving::<[String; 3]>(names[1]), 3);
}

#[test]
fn p5_an_error_takes_little() {
    let serializer = JsonSerializer::<(), Person>::new();
    for document in [
        "{",
        "{\"name\":\"Ann\",\"age\":-1}",
        "[]x",
        "{}",
        "\"\\ud800\"",
    ] {
        let refused = measure(|| drop(serializer.deserialize(document.as_bytes())));
        assert!(
            refused.bytes_max < 512 && refused.count_total <= 8,
            "{refused:?}"
        );
    }
}
