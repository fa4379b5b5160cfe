//! The other side of a protocol is the same pieces, flipped.

use std::any::type_name_of_val;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use postbox_protocol::{
    DatagramProtocol, Flip, FnConverter, IdentityConverter, Protocol, RawSerializer,
    StapledConverter, StapledSerializer, TryFromConverter,
};

use crate::common::{Text, TextConverter, Wrapped};

/// Sends each packet from one side to the other.
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
#[expect(
    clippy::needless_pass_by_value,
    reason = "so that the tests are easy to read"
)]
fn speak<S, C, Request, Response>(server: &S, client: &C, request: Request, response: Response)
where
    S: Protocol<Sent = Response, Received = Request>,
    C: Protocol<Sent = Request, Received = Response>,
    Request: Clone + Debug + PartialEq,
    Response: Clone + Debug + PartialEq,
{
    let mut datagram = BytesMut::new();
    client
        .make_datagram(request.clone(), &mut datagram)
        .unwrap();
    assert_eq!(server.build_packet(&datagram).unwrap(), request);

    datagram.clear();
    server
        .make_datagram(response.clone(), &mut datagram)
        .unwrap();
    assert_eq!(client.build_packet(&datagram).unwrap(), response);
}

/// Checks that flipping twice gives the first type again.
fn flips_back<T>(part: T)
where
    T: Flip<Flipped: Flip<Flipped = T>>,
{
    let name = type_name_of_val(&part);
    assert_eq!(type_name_of_val(&part.flip().flip()), name);
}

#[test]
fn p2_sent_and_received_can_be_different_types() {
    let server = DatagramProtocol::new(Text::<bool, u8>::new());
    let client = DatagramProtocol::new(Text::<u8, bool>::new());
    speak(&server, &client, 7, true);
}

#[test]
fn p2_a_codec_flips() {
    let server = DatagramProtocol::new(Text::<bool, u8>::new());
    let client = DatagramProtocol::new(Text::<bool, u8>::new().flip());
    speak(&server, &client, 7, true);
    flips_back(Text::<bool, u8>::new());
}

#[test]
fn p2_raw_flips_to_itself() {
    let protocol = DatagramProtocol::new(RawSerializer.flip());
    speak(
        &protocol,
        &protocol,
        Bytes::from("ask"),
        Bytes::from("answer"),
    );
    flips_back(RawSerializer);
}

#[test]
fn p2_a_stapled_serializer_flips() {
    let staple = StapledSerializer::new(Text::<bool>::new(), RawSerializer);
    let server = DatagramProtocol::new(staple.clone());
    let client = DatagramProtocol::new(staple.clone().flip());
    // Bytes that only the raw part reads.
    speak(&server, &client, Bytes::from_static(b"\xff"), true);
    flips_back(staple);
}

#[test]
fn p2_a_staple_of_codecs_with_two_types_flips() {
    let staple = StapledSerializer::new(Text::<bool, char>::new(), Text::<char, u8>::new());
    let server = DatagramProtocol::new(staple.clone());
    let client = DatagramProtocol::new(staple.flip());
    speak(&server, &client, 7, true);
}

#[test]
fn p2_the_identity_flips() {
    let identity = IdentityConverter::<bool, u8>::new();
    let server = DatagramProtocol::new(Text::<bool, u8>::new()).with_converter(identity);
    let client = DatagramProtocol::new(Text::<u8, bool>::new()).with_converter(identity.flip());
    speak(&server, &client, 7, true);
    flips_back(identity);
}

#[test]
fn p2_plain_conversions_flip() {
    // Lossless one way, checked the other.
    let conversions = TryFromConverter::<char, u32, u8, i64>::new();
    let server = DatagramProtocol::new(Text::<u32, i64>::new()).with_converter(conversions);
    let client = DatagramProtocol::new(Text::<i64, u32>::new()).with_converter(conversions.flip());
    speak(&server, &client, 7, 'a');
    assert!(server.build_packet(b"256").unwrap_err().is_convert());
    assert!(client.build_packet(b"1114112").unwrap_err().is_convert());
    flips_back(conversions);
}

#[test]
fn p2_closures_that_go_both_ways_flip() {
    let shift = FnConverter::new(|packet: u8| Ok(packet + 1), |dto: u8| Ok(dto - 1));
    let server = DatagramProtocol::new(Text::<u8>::new()).with_converter(shift);
    let client = DatagramProtocol::new(Text::<u8>::new()).with_converter(shift.flip());
    speak(&server, &client, 7, 8);
    assert_eq!(client.build_packet(b"1").unwrap(), 0);
    flips_back(shift);
}

#[test]
fn p2_a_stapled_converter_flips() {
    let shift = FnConverter::new(|packet: u8| Ok(packet + 1), |dto: u8| Ok(dto - 1));
    let staple = StapledConverter::new(IdentityConverter::<bool>::new(), shift);
    let server = DatagramProtocol::new(Text::<bool, u8>::new()).with_converter(staple);
    let client = DatagramProtocol::new(Text::<u8, bool>::new()).with_converter(staple.flip());
    speak(&server, &client, 7, true);
    assert_eq!(server.build_packet(b"1").unwrap(), 0);
    flips_back(staple);
}

#[test]
fn p2_shared_and_boxed_parts_flip() {
    let shared = Arc::new(Text::<bool, u8>::new());
    let server = DatagramProtocol::new(Arc::clone(&shared));
    // One that others hold is copied.
    let client = DatagramProtocol::new(shared.flip());
    speak(&server, &client, 7, true);

    let server = DatagramProtocol::new(Box::new(Text::<bool, u8>::new()));
    let client = DatagramProtocol::new(Box::new(Text::<bool, u8>::new()).flip());
    speak(&server, &client, 7, true);
    flips_back(Arc::new(RawSerializer));
    flips_back(Box::new(RawSerializer));
}

#[test]
fn p2_a_wrapper_of_these_flips() {
    let wrapped = Wrapped::new(
        StapledSerializer::new(Text::<bool>::new(), RawSerializer),
        StapledConverter::new(IdentityConverter::<bool>::new(), TextConverter),
    );
    let server = DatagramProtocol::new(wrapped.clone());
    let client = DatagramProtocol::new(wrapped.clone().flip());
    speak(&server, &client, "text".to_owned(), true);
    flips_back(wrapped);
}

#[test]
fn p2_a_protocol_flips() {
    let server = DatagramProtocol::new(Text::<bool, u8>::new());
    let client = server.clone().flip();
    speak(&server, &client, 7, true);
    flips_back(server);
}

#[test]
fn p2_a_protocol_with_a_converter_flips() {
    let server = DatagramProtocol::new(StapledSerializer::new(Text::<u32>::new(), RawSerializer))
        .with_converter(StapledConverter::new(
            TryFromConverter::<char, u32>::new(),
            TextConverter,
        ));
    let client = server.clone().flip();
    speak(&server, &client, "text".to_owned(), 'a');
    flips_back(server.clone());
    let shared = Arc::new(server);
    speak(&Arc::clone(&shared), &shared.flip(), "text".to_owned(), 'a');
}
