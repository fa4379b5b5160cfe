//! The number before a packet, and what has one.

use bytes::{Bytes, BytesMut};
use postbox_protocol::conformance::Conformance;
use postbox_protocol::{
    Converter, DatagramProtocol, Flip, FnConverter, Numbered, NumberedConverter, NumberedError,
    NumberedSerializer, Protocol, Serializer, SignedSerializer, SigningKey,
};
use proptest::prelude::*;

use super::support::*;

fn numbered() -> NumberedSerializer<postbox_protocol::RawSerializer> {
    NumberedSerializer::new(RAW)
}

fn numbered_packets() -> Vec<Numbered<Bytes>> {
    let numbers = [0, 1, 0x0102_0304_0506_0708, u64::MAX];
    let packets = packets().into_iter().zip(numbers);
    packets
        .map(|(packet, number)| Numbered::new(number, packet))
        .collect()
}

const REFUSED: [&[u8]; 6] = [
    b"",
    b"\x01",
    b"\x01\0\0\0\0\0\0\0",
    b"\x00\0\0\0\0\0\0\0\x07packet",
    b"\x02\0\0\0\0\0\0\0\x07packet",
    b"packet",
];

#[test]
fn p1_p4_p6_numbered_datagrams_conform() {
    Conformance::new(numbered())
        .packets(numbered_packets())
        .without_end_mark()
        .refuses_datagrams(REFUSED)
        .check();
}

#[test]
fn p1_p4_p6_numbered_datagrams_with_a_signature_conform() {
    let signed = SignedSerializer::new(numbered(), SigningKey::new(&SECRET));
    Conformance::between(signed.clone(), signed.flip())
        .packets(numbered_packets())
        .refuses_datagrams(REFUSED)
        .check();
}

#[test]
fn numbered_bytes_are_the_version_the_number_and_the_datagram() {
    let mut datagram = BytesMut::new();
    let packet = Numbered::new(0x0102_0304_0506_0708, Bytes::from_static(b"packet"));
    numbered().serialize(&packet, &mut datagram).unwrap();
    assert_eq!(&datagram[..], b"\x01\x01\x02\x03\x04\x05\x06\x07\x08packet");
    assert_eq!(datagram.len(), 6 + NumberedSerializer::<()>::OVERHEAD);
    assert_eq!(numbered().deserialize(&datagram).unwrap(), packet);
    let empty = numbered().deserialize(b"\x01\0\0\0\0\0\0\0\x07").unwrap();
    assert_eq!(empty, Numbered::new(7, Bytes::new()));
}

#[test]
fn p5_what_has_no_number_is_an_error_that_says_why() {
    let short: NumberedError = refusal(&numbered(), b"\x01\0\0");
    assert_eq!(short, NumberedError::TooShort { len: 3 });
    let text = "the datagram has 3 bytes, and a number takes 9";
    assert_eq!(short.to_string(), text);
    let empty: NumberedError = refusal(&numbered(), b"");
    assert_eq!(empty, NumberedError::TooShort { len: 0 });

    let later: NumberedError = refusal(&numbered(), b"\x02\0\0\0\0\0\0\0\x07packet");
    assert_eq!(later, NumberedError::UnknownVersion { version: 2 });
    let text = "the datagram's numbers are of version 2, not 1";
    assert_eq!(later.to_string(), text);
    // A version that is not known is told also where its form may be shorter.
    let another: NumberedError = refusal(&numbered(), b"{}");
    assert_eq!(another, NumberedError::UnknownVersion { version: b'{' });
}

#[test]
fn an_answer_has_the_number_of_its_question() {
    let question = Numbered::new(7, "how long?");
    assert_eq!(question.answer(9), Numbered::new(7, 9));
    assert_eq!(question.map(str::len), Numbered::new(7, 9));
    assert_eq!(question.into_packet(), "how long?");
    assert_eq!(Numbered::from("news"), Numbered::new(0, "news"));
}

#[test]
fn the_number_of_a_datagram_is_read_without_its_packet() {
    let number_of = NumberedSerializer::number_of;
    assert_eq!(number_of(b"\x01\0\0\0\0\0\0\x01\x02packet"), Some(258));
    assert_eq!(number_of(b"\x01\0\0\0\0\0\0\0\x07"), Some(7));
    let push = b"\x01\0\0\0\0\0\0\0\0news";
    assert_eq!(number_of(push), None, "it belongs to no question");
    for datagram in REFUSED {
        assert_eq!(number_of(datagram), None);
    }
}

#[test]
fn p2_a_numbered_serializer_flips() {
    let near = DatagramProtocol::new(NumberedSerializer::new(Length));
    let far = near.flip();
    let mut datagram = BytesMut::new();
    far.make_datagram(Numbered::new(7, 9), &mut datagram)
        .unwrap();
    assert_eq!(near.build_packet(&datagram).unwrap(), Numbered::new(7, 9));
    let again = far.flip().build_packet(&datagram).unwrap();
    assert_eq!(again, Numbered::new(7, 9));
}

#[test]
fn p3_a_numbered_converter_converts_what_has_a_number() {
    let lengths = FnConverter::new(
        |packet: usize| Ok(Bytes::from(vec![b'x'; packet])),
        |dto: Bytes| match dto.len() {
            0 => Err("nothing there".into()),
            len => Ok(len),
        },
    );
    let protocol =
        DatagramProtocol::new(numbered()).with_converter(NumberedConverter::new(lengths));
    let mut datagram = BytesMut::new();
    let packet = Numbered::new(7, 3);
    protocol.make_datagram(packet, &mut datagram).unwrap();
    assert_eq!(&datagram[..], b"\x01\0\0\0\0\0\0\0\x07xxx");
    assert_eq!(protocol.build_packet(&datagram).unwrap(), packet);
    let error = protocol.build_packet(&datagram[..9]).unwrap_err();
    assert!(error.is_convert(), "{error:?}");

    let same = FnConverter::new(|packet: u8| Ok(packet), |dto: u8| Ok(dto));
    let flipped = NumberedConverter::new(same).flip();
    let dto = flipped.convert_to_dto(Numbered::new(7, 9)).unwrap();
    assert_eq!(dto, Numbered::new(7, 9));
}

proptest! {
    #[test]
    fn numbered_packets_come_back(number: u64, packet in any_packet()) {
        let packet = Numbered::new(number, packet);
        let mut datagram = BytesMut::new();
        numbered().serialize(&packet, &mut datagram).unwrap();
        prop_assert_eq!(datagram.len(), packet.packet.len() + 9);
        let number = (number != 0).then_some(number);
        prop_assert_eq!(NumberedSerializer::number_of(&datagram), number);
        prop_assert_eq!(numbered().deserialize(&datagram).unwrap(), packet);
    }
}
