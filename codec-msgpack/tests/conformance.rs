//! The rules that every serializer keeps.

use postbox_codec_msgpack::{Extension, MessagePackSerializer, Timestamp};
use postbox_protocol::Flip;
use postbox_protocol::conformance::Conformance;
use rmpv::Value;
use serde::{Deserialize, Serialize, Serializer};

use crate::common::{Everything, Flat, Person, Shape, everything, extension, flat, moment, person};

/// No MessagePack: nothing, a byte that means nothing, a string of less than it says.
const RUBBISH: [&[u8]; 3] = [b"", b"\xc1", b"\xa5four"];

#[test]
fn p1_p4_p6_typed_values_conform() {
    for serializer in [
        MessagePackSerializer::<Everything>::new(),
        MessagePackSerializer::<Everything>::compact(),
    ] {
        Conformance::new(serializer)
            .packets([everything()])
            .refuses_datagrams(RUBBISH)
            .refuses_datagrams([b"\x80", b"\xc0", b"\x90"])
            .check();
    }
    Conformance::new(MessagePackSerializer::<Flat>::new())
        .packets([flat()])
        .refuses_datagrams(RUBBISH)
        .check();
}

#[test]
fn p1_p4_p6_untyped_values_conform() {
    Conformance::new(MessagePackSerializer::<Value>::new())
        .packets([
            Value::Nil,
            Value::from(true),
            Value::from(-1),
            Value::from(u64::MAX),
            Value::F32(0.5),
            Value::F64(-1e300),
            Value::from("text \0 é 🦀"),
            Value::from(vec![0_u8, 255]),
            Value::Ext(5, vec![1, 2, 3, 4, 5]),
            Value::from(vec![Value::from(vec![Value::Nil]), Value::Array(vec![])]),
            Value::from(vec![
                (Value::from("a"), Value::Map(vec![])),
                (Value::from(7), Value::from("b")),
            ]),
        ])
        .refuses_datagrams(RUBBISH)
        .refuses_datagrams([b"\xa1\xff"])
        .check();
}

#[test]
fn p1_p4_p6_timestamps_and_extensions_conform() {
    Conformance::new(MessagePackSerializer::<Timestamp>::new())
        .packets([moment(0, 0), moment(1, 2), moment(-1, 999_999_999)])
        .refuses_datagrams(RUBBISH)
        .refuses_datagrams(["\x01", "\u{5}"])
        .check();
    Conformance::new(MessagePackSerializer::<Vec<Extension>>::new())
        .packets([vec![], vec![extension(), extension()]])
        .refuses_datagrams(RUBBISH)
        .check();
}

#[test]
fn p1_p4_bare_numbers_conform_with_an_end_mark() {
    Conformance::new(MessagePackSerializer::<f64>::new())
        .packets([0.0, -1.5, 1e300, f64::INFINITY])
        .refuses_datagrams(["", "NaN", "\x01\x02"])
        .check();
    Conformance::new(MessagePackSerializer::<u64>::compact())
        .packets([0, 127, 128, 255, 256, 65535, 65536, u64::MAX])
        .refuses_datagrams([[0xff], [0xc0], [0xc1]])
        .check();
}

#[test]
fn p1_p2_p4_both_sides_conform() {
    let server = MessagePackSerializer::<Vec<Shape>, Person>::new();
    Conformance::between(server, server.flip())
        .packets([vec![Shape::Point, Shape::Circle(0.5)]])
        .refuses_datagrams(["\u{1}", "\u{7f}"])
        .check();
    Conformance::between(server.flip(), server)
        .packets([person()])
        .refuses_datagrams(["\u{1}", "\u{7f}"])
        .check();
    // Maps to an end that sends arrays, and back.
    let compact = MessagePackSerializer::<Person>::compact();
    let named = MessagePackSerializer::<Person>::new();
    for (near, far) in [(compact, named), (named, compact)] {
        Conformance::between(near, far)
            .packets([person()])
            .refuses_datagrams(RUBBISH)
            .check();
    }
}

/// An even number; the others have no form.
#[derive(Debug, PartialEq, Deserialize)]
struct Even(u8);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(2) {
            serializer.serialize_u8(self.0)
        } else {
            Err(serde::ser::Error::custom("odd"))
        }
    }
}

#[test]
fn p6_a_packet_that_refuses_itself_harms_no_other() {
    Conformance::new(MessagePackSerializer::<Vec<Even>>::new())
        .packets([vec![Even(2), Even(4)]])
        .refuses_packets([vec![Even(1)], vec![Even(2), Even(3)]])
        .check();
}
