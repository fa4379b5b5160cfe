//! tokio-util's codecs as serializers.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postbox_protocol::conformance::Conformance;
use postbox_protocol::{CodecError, CodecSerializer, DatagramProtocol, Flip, Protocol, Serializer};
use proptest::prelude::*;
use std::io;
use tokio_util::codec::{
    BytesCodec, Decoder, Encoder, LengthDelimitedCodec, LinesCodec, LinesCodecError,
};

fn lines() -> CodecSerializer<LinesCodec, LinesCodec, String> {
    CodecSerializer::new(LinesCodec::new(), LinesCodec::new_with_max_length(20))
}

fn delimited() -> CodecSerializer<LengthDelimitedCodec, LengthDelimitedCodec, Bytes> {
    CodecSerializer::new(LengthDelimitedCodec::new(), LengthDelimitedCodec::new())
}

/// Takes every byte, or none, for a frame. It says how many it has seen, counts on a buffer that is
/// its own, and refuses the exclamation mark half-way.
#[derive(Clone, Debug, Default)]
struct Naive {
    seen: u8,
}

impl Encoder<u8> for Naive {
    type Error = io::Error;

    fn encode(&mut self, byte: u8, frame: &mut BytesMut) -> Result<(), io::Error> {
        self.seen += 1;
        frame.put_u8(self.seen);
        if byte == b'!' {
            return Err(io::Error::other("refused"));
        }
        frame.put_u8(byte);
        assert_eq!(frame.len(), 2);
        Ok(())
    }
}

impl Decoder for Naive {
    type Item = Option<u8>;
    type Error = io::Error;

    fn decode(&mut self, frame: &mut BytesMut) -> Result<Option<Option<u8>>, io::Error> {
        self.seen += 1;
        assert_eq!(self.seen, 1);
        Ok(Some(frame.has_remaining().then(|| frame.get_u8())))
    }
}

fn naive() -> CodecSerializer<Naive, Naive, u8> {
    CodecSerializer::new(Naive::default(), Naive::default())
}

#[test]
fn p1_p4_p6_codecs_conform() {
    Conformance::new(lines())
        .packets(["".to_owned(), "hello".to_owned(), "é".to_owned()])
        .refuses_datagrams([&b""[..], b"hello", b"one\ntwo\n", b"\xff\n", &[b'a'; 30]])
        .check();
}

#[test]
fn p4_codecs_with_two_types_read_their_whole_frame() {
    let mut datagram = BytesMut::new();
    delimited()
        .serialize(&Bytes::from_static(b"hello"), &mut datagram)
        .unwrap();
    assert_eq!(datagram, "\0\0\0\x05hello");
    assert_eq!(delimited().deserialize(&datagram).unwrap(), "hello");
    for length in 0..datagram.len() {
        assert!(delimited().deserialize(&datagram[..length]).is_err());
    }
    datagram.put_u8(0);
    assert!(delimited().deserialize(&datagram).is_err());
    assert!(delimited().deserialize(b"\xff\xff\xff\xff").is_err());
}

#[test]
fn p4_codecs_refuse_what_is_left_over_and_what_is_cut_short() {
    let told = |datagram: &[u8]| {
        let error = lines().deserialize(datagram).unwrap_err();
        error.downcast::<CodecError>().unwrap().to_string()
    };
    assert_eq!(told(b"hello"), "the frame is cut short");
    assert_eq!(told(b""), "the frame is cut short");
    assert_eq!(told(b"one\ntwo\n"), "4 bytes are left over after the frame");
}

#[test]
fn p5_the_error_of_a_codec_keeps_its_type() {
    let error = lines().deserialize(&[b'a'; 30]).unwrap_err();
    assert!(matches!(
        *error.downcast().unwrap(),
        LinesCodecError::MaxLineLengthExceeded
    ));
}

#[test]
fn p8_codecs_are_given_the_empty_datagram() {
    assert_eq!(naive().deserialize(b"").unwrap(), None);
    assert_eq!(naive().deserialize(b"7").unwrap(), Some(b'7'));
    assert!(naive().deserialize(b"77").is_err());
    // One that takes nothing for nothing says so.
    let bytes = CodecSerializer::<_, _, Bytes>::new(BytesCodec::new(), BytesCodec::new());
    assert!(bytes.deserialize(b"").is_err());
    assert_eq!(bytes.deserialize(b"any").unwrap(), "any");
}

#[test]
fn p1_codecs_remember_nothing_from_one_datagram_to_the_next() {
    let serializer = naive();
    for _ in 0..3 {
        assert_eq!(serializer.deserialize(b"7").unwrap(), Some(b'7'));
        let mut datagram = BytesMut::from("kept");
        serializer.serialize(&b'7', &mut datagram).unwrap();
        assert_eq!(datagram, "kept\x017");
    }
}

#[test]
fn p6_codecs_that_refuse_a_packet_half_way_leave_nothing() {
    let protocol = DatagramProtocol::new(naive());
    let mut datagram = BytesMut::new();
    assert!(
        protocol
            .make_datagram(b'!', &mut datagram)
            .unwrap_err()
            .is_serialize()
    );
    assert_eq!(datagram, "");
    protocol.make_datagram(b'7', &mut datagram).unwrap();
    assert_eq!(datagram, "\x017");
}

#[test]
fn p2_codecs_with_one_type_flip() {
    let serializer = lines();
    let mut datagram = BytesMut::new();
    serializer
        .serialize(&"hello".to_owned(), &mut datagram)
        .unwrap();
    assert_eq!(
        serializer.clone().flip().deserialize(&datagram).unwrap(),
        "hello"
    );
    assert_eq!(
        format!("{serializer:?}"),
        format!("{:?}", serializer.clone().flip())
    );
    let shown = format!("{serializer:?}");
    assert!(shown.starts_with("CodecSerializer { encoder: "), "{shown}");
}

proptest! {
    #[test]
    fn codecs_any_bytes_are_an_error_or_a_value(
        datagram in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let _ = lines().deserialize(&datagram);
        let _ = delimited().deserialize(&datagram);
        let _ = delimited().deserialize(&[&[0, 0, 0][..], &datagram].concat());
    }

    #[test]
    fn codecs_packets_come_back_and_damage_is_an_error_or_another_packet(
        text in "[^\r\n]{0,4}",
        packet in prop::collection::vec(any::<u8>(), 0..50),
        bits in 1..=u8::MAX,
    ) {
        let mut line = BytesMut::new();
        lines().serialize(&text, &mut line).unwrap();
        prop_assert_eq!(lines().deserialize(&line).unwrap(), text);
        let mut frame = BytesMut::new();
        let packet = Bytes::from(packet);
        delimited().serialize(&packet, &mut frame).unwrap();
        prop_assert_eq!(delimited().deserialize(&frame).unwrap(), packet);

        for length in 0..line.len() {
            prop_assert!(lines().deserialize(&line[..length]).is_err());
        }
        for length in 0..frame.len() {
            prop_assert!(delimited().deserialize(&frame[..length]).is_err());
        }
        for position in 0..line.len() {
            line[position] ^= bits;
            let _ = lines().deserialize(&line);
            line[position] ^= bits;
        }
        for position in 0..frame.len() {
            frame[position] ^= bits;
            // The length is told by the first four bytes.
            let other = delimited().deserialize(&frame).ok();
            let expected = (position >= 4).then(|| &frame[4..]);
            prop_assert_eq!(other.as_deref(), expected);
            frame[position] ^= bits;
        }
    }
}
