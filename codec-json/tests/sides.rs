//! JSON as a part of a protocol: both sides, and one direction only.

use std::cell::Cell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use postbox_codec_json::JsonSerializer;
use postbox_protocol::{
    DatagramProtocol, Flip, Protocol, RawSerializer, Serializer, StapledSerializer,
};
use serde_json::{Value, json};

use crate::common::{Person, Shape, person};

#[test]
fn p1_sharing_does_not_depend_on_the_packet_types() {
    fn shared<T: Send + Sync + Copy>(_: T) {}
    shared(JsonSerializer::<Rc<Cell<u8>>, *const u8>::new());
}

#[test]
fn p2_sent_and_received_can_be_different_types_and_flip_gives_the_other_side() {
    let server = DatagramProtocol::new(JsonSerializer::<Vec<Shape>, Person>::new());
    let client: DatagramProtocol<JsonSerializer<Person, Vec<Shape>>, _> = server.flip();

    let mut request = BytesMut::new();
    client.make_datagram(person(), &mut request).unwrap();
    assert_eq!(server.build_packet(&request).unwrap(), person());

    let mut answer = BytesMut::new();
    server
        .make_datagram(vec![Shape::Point], &mut answer)
        .unwrap();
    assert_eq!(client.build_packet(&answer).unwrap(), [Shape::Point]);
}

#[test]
fn p2_p7_a_staple_with_json_flips() {
    let server = StapledSerializer::new(JsonSerializer::<Value>::new(), RawSerializer);
    let client = server.flip();

    let mut answer = BytesMut::new();
    server
        .serialize(&json!({ "ok": true }), &mut answer)
        .unwrap();
    assert_eq!(answer, r#"{"ok":true}"#);
    assert_eq!(client.deserialize(&answer).unwrap(), json!({ "ok": true }));

    let mut request = BytesMut::new();
    client
        .serialize(&Bytes::from("not JSON"), &mut request)
        .unwrap();
    assert_eq!(server.deserialize(&request).unwrap(), "not JSON");
}

#[test]
fn debug_and_clone_do_not_depend_on_the_packet_types() {
    struct Plain;

    #[expect(clippy::clone_on_copy, reason = "it is the clone that is tried")]
    let serializer = JsonSerializer::<Plain>::default().clone();
    assert_eq!(format!("{serializer:?}"), "JsonSerializer");
}
