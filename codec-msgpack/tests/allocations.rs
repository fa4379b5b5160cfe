//! How often a datagram takes memory: what the docs promise.

use std::hint::black_box;

use allocation_counter::measure;
use bytes::BytesMut;
use postbox_codec_msgpack::{MessagePackSerializer, Timestamp};
use postbox_protocol::Serializer;
use rmpv::Value;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::common::{Event, Flat, Person, Shape, everything, flat, moment, named, person};

#[derive(Serialize, Deserialize)]
struct Position {
    id: u64,
    x: f64,
    y: f64,
    flags: (bool, u8, Option<i32>),
    at: Timestamp,
    shape: Shape,
}

fn position() -> Position {
    Position {
        id: 1 << 40,
        x: 0.1,
        y: -1e300,
        flags: (true, 7, None),
        at: moment(1, 2),
        shape: Shape::Line(1.0, 2.0),
    }
}

/// Returns how often sending takes memory, into a buffer that is large enough.
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn sending<T: Serialize + 'static>(packet: &T) -> u64 {
    let mut datagram = BytesMut::with_capacity(2048);
    let mut count = 0;
    for serializer in [
        MessagePackSerializer::<T, ()>::new(),
        MessagePackSerializer::<T, ()>::compact(),
    ] {
        datagram.clear();
        let sent = measure(|| serializer.serialize(packet, &mut datagram).unwrap());
        count += sent.count_total;
    }
    count
}

/// Returns how often receiving what was sent takes memory.
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn receiving<T: Serialize + DeserializeOwned + 'static>(packet: &T) -> u64 {
    let datagram = named(packet);
    let serializer = MessagePackSerializer::<(), T>::new();
    let received = measure(|| drop(black_box(serializer.deserialize(&datagram).unwrap())));
    received.count_total
}

#[test]
fn p3_sending_takes_no_memory() {
    assert_eq!(sending(&position()), 0);
    assert_eq!(sending(&everything()), 0);
    assert_eq!(
        sending(&Value::from(vec![
            Value::from("text"),
            Value::Ext(5, vec![1])
        ])),
        0
    );
}

#[test]
fn p3_sending_what_has_no_length_beforehand_takes_one_buffer() {
    // The flattened struct, once by each of the two serializers.
    assert_eq!(sending(&flat()), 2);
}

#[test]
fn p3_receiving_numbers_takes_no_memory() {
    assert_eq!(receiving(&position()), 0);
    assert_eq!(receiving(&u64::MAX), 0);
    assert_eq!(receiving(&[1.5_f32; 16]), 0);
}

#[test]
fn p3_receiving_takes_what_the_packet_owns() {
    assert_eq!(receiving(&person()), 1);
    assert_eq!(receiving(&ByteBuf::from([1; 1000])), 1);
    assert_eq!(receiving(&vec![7_u64; 1000]), 1);
    assert_eq!(receiving(&vec![person(); 100]), 101);
    assert_eq!(receiving(&Some(Box::new(person()))), 2);
    assert_eq!(receiving(&vec![Shape::Circle(1.0), Shape::Point]), 1);
    // What serde keeps until it knows what it is: the list of the fields, and their lists.
    assert!(receiving(&Event::Joined { who: person() }) <= 4);
    assert!(receiving::<Flat>(&flat()) <= 16);
}

#[test]
fn p5_an_error_takes_little() {
    let serializer = MessagePackSerializer::<(), Person>::new();
    for datagram in [
        &b"\x91"[..],
        b"\x92\xa3Ann\xff",
        b"\x92\xa3Ann\x01\0",
        b"\x81\xa1x\xc0",
    ] {
        let refused = measure(|| drop(serializer.deserialize(datagram)));
        assert!(
            refused.bytes_max < 256 && refused.count_total <= 8,
            "{refused:?}"
        );
    }
}
