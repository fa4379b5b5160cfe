//! Protobuf as a part of a protocol: both sides, one direction only, and types of the handler.

use std::cell::Cell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_codec_protobuf_schema::{Everything, Person};
use postbox_protocol::{
    DatagramProtocol, Flip, Protocol, RawSerializer, Serializer, StapledSerializer,
    TryFromConverter,
};

use crate::common::{everything, person};

#[test]
fn p1_sharing_does_not_depend_on_the_packet_types() {
    fn shared<T: Send + Sync + Copy>(_: T) {}
    shared(ProtobufSerializer::<Rc<Cell<u8>>, *const u8>::new());
}

#[test]
fn p2_sent_and_received_can_be_different_types_and_flip_gives_the_other_side() {
    let server = DatagramProtocol::new(ProtobufSerializer::<Everything, Person>::new());
    let client: DatagramProtocol<ProtobufSerializer<Person, Everything>, _> = server.flip();

    let mut request = BytesMut::new();
    client.make_datagram(person(), &mut request).unwrap();
    assert_eq!(server.build_packet(&request).unwrap(), person());

    let mut answer = BytesMut::new();
    server.make_datagram(everything(), &mut answer).unwrap();
    assert_eq!(client.build_packet(&answer).unwrap(), everything());
}

#[test]
fn p2_p7_a_staple_with_protobuf_flips() {
    let server = StapledSerializer::new(ProtobufSerializer::<Person>::new(), RawSerializer);
    let client = server.flip();

    let mut answer = BytesMut::new();
    server.serialize(&person(), &mut answer).unwrap();
    assert_eq!(client.deserialize(&answer).unwrap(), person());

    let mut request = BytesMut::new();
    client
        .serialize(&Bytes::from("not protobuf"), &mut request)
        .unwrap();
    assert_eq!(server.deserialize(&request).unwrap(), "not protobuf");
}

/// A person with rules, who knows no format.
#[derive(Debug, PartialEq)]
struct Citizen {
    name: String,
    age: u8,
}

impl From<Citizen> for Person {
    fn from(citizen: Citizen) -> Self {
        Self {
            name: citizen.name,
            age: citizen.age.into(),
        }
    }
}

impl TryFrom<Person> for Citizen {
    type Error = String;

    fn try_from(person: Person) -> Result<Self, String> {
        if person.name.is_empty() {
            return Err("a person has a name".to_owned());
        }
        let Ok(age) = person.age.try_into() else {
            return Err(format!("nobody is {} years old", person.age));
        };
        Ok(Self {
            name: person.name,
            age,
        })
    }
}

#[test]
fn p3_p5_types_without_a_format_are_converted() {
    let protocol = DatagramProtocol::new(ProtobufSerializer::<Person>::new())
        .with_converter(TryFromConverter::<Citizen, Person>::new());
    let ann = || Citizen {
        name: "Ann".to_owned(),
        age: 7,
    };
    let mut datagram = BytesMut::new();
    protocol.make_datagram(ann(), &mut datagram).unwrap();
    assert_eq!(&datagram[..], b"\x0a\x03Ann\x10\x07");
    assert_eq!(protocol.build_packet(&datagram).unwrap(), ann());

    let error = protocol
        .build_packet(b"\x0a\x03Ann\x10\xac\x02")
        .unwrap_err();
    assert!(error.is_convert());
    // The empty datagram is a message, but nobody.
    assert!(protocol.build_packet(b"").unwrap_err().is_convert());
    assert!(protocol.build_packet(b"\x0a").unwrap_err().is_deserialize());
}

#[test]
fn debug_clone_and_default_do_not_depend_on_the_packet_types() {
    struct Plain;

    #[expect(clippy::clone_on_copy, reason = "it is the clone that is tried")]
    let serializer = ProtobufSerializer::<Plain>::default().clone();
    assert_eq!(format!("{serializer:?}"), "ProtobufSerializer");
}
