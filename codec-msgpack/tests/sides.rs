//! MessagePack as a part of a protocol: both sides, and one direction only.

use std::cell::Cell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_protocol::{
    DatagramProtocol, Flip, Protocol, RawSerializer, Serializer, StapledSerializer,
};
use rmpv::Value;

use crate::common::{Person, Shape, person};

#[test]
fn p1_sharing_does_not_depend_on_the_packet_types() {
    fn shared<T: Send + Sync + Copy>(_: T) {}
    shared(MessagePackSerializer::<Rc<Cell<u8>>, *const u8>::new());
}

#[test]
fn p2_sent_and_received_can_be_different_types_and_flip_gives_the_other_side() {
    let server = DatagramProtocol::new(MessagePackSerializer::<Vec<Shape>, Person>::new());
    let client: DatagramProtocol<MessagePackSerializer<Person, Vec<Shape>>, _> = server.flip();

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
fn p2_flip_keeps_how_structs_are_sent() {
    let compact = MessagePackSerializer::<(), Person>::compact();
    let mut datagram = BytesMut::new();
    compact.flip().serialize(&person(), &mut datagram).unwrap();
    assert_eq!(datagram[0], 0x92);

    let named = MessagePackSerializer::<(), Person>::new();
    datagram.clear();
    named.flip().serialize(&person(), &mut datagram).unwrap();
    assert_eq!(datagram[0], 0x82);
}

#[test]
fn p2_p7_a_staple_with_messagepack_flips() {
    let server = StapledSerializer::new(MessagePackSerializer::<Value>::new(), RawSerializer);
    let client = server.flip();

    let mut answer = BytesMut::new();
    server.serialize(&Value::from(true), &mut answer).unwrap();
    assert_eq!(&answer[..], [0xc3]);
    assert_eq!(client.deserialize(&answer).unwrap(), Value::from(true));

    let mut request = BytesMut::new();
    client
        .serialize(&Bytes::from("not MessagePack"), &mut request)
        .unwrap();
    assert_eq!(server.deserialize(&request).unwrap(), "not MessagePack");
}

#[test]
fn debug_clone_and_default_do_not_depend_on_the_packet_types() {
    struct Plain;

    #[expect(clippy::clone_on_copy, reason = "it is the clone that is tried")]
    let serializer = MessagePackSerializer::<Plain>::default().clone();
    assert_eq!(
        format!("{serializer:?}"),
        "MessagePackSerializer { compact: false }"
    );
    assert_eq!(
        format!("{:?}", MessagePackSerializer::<Plain>::compact()),
        "MessagePackSerializer { compact: true }"
    );
}
