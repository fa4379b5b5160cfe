//! The rules that every serializer keeps.

use postbox_codec_protobuf::ProtobufSerializer;
use postbox_codec_protobuf_schema::{Everything, Nothing, Person};
use postbox_protocol::Flip;
use postbox_protocol::conformance::Conformance;

use crate::common::{everything, person};

/// No messages: half a field, a field of no number, one of no form, a group of no end, and one of
/// no beginning.
const RUBBISH: [&[u8]; 6] = [b"\x08", b"\x0a\x01", b"\x00\x01", b"\x0f", b"\x0b", b"\x0c"];

#[test]
fn p1_p4_p6_every_kind_of_field_conforms_without_an_end_mark() {
    Conformance::new(ProtobufSerializer::<Everything>::new())
        .packets([everything(), Everything::default()])
        .without_end_mark()
        .refuses_datagrams(RUBBISH)
        .check();
}

#[test]
fn p1_p4_p8_the_message_of_no_fields_conforms() {
    Conformance::new(ProtobufSerializer::<Nothing>::new())
        .packets([Nothing {}])
        .without_end_mark()
        .refuses_datagrams(RUBBISH)
        .check();
}

#[test]
fn p1_p2_p4_both_sides_conform() {
    let server = ProtobufSerializer::<Everything, Person>::new();
    Conformance::between(server, server.flip())
        .packets([everything()])
        .without_end_mark()
        .refuses_datagrams(RUBBISH)
        .check();
    Conformance::between(server.flip(), server)
        .packets([person(), Person::default()])
        .without_end_mark()
        .refuses_datagrams([b"\x0a\x01\xff"])
        .check();
}
