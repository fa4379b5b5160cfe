//! tokio-util both ways: its codecs as serializers, and a protocol object as a codec.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use postbox_codec_json::JsonSerializer;
use postbox_fuzz::{Input, decode, read_back, write};
use postbox_protocol::{CodecSerializer, DatagramProtocol, Protocol, ProtocolCodec};
use serde_json::Value;
use tokio_util::codec::{BytesCodec, Decoder, Encoder, LengthDelimitedCodec, LinesCodec};

/// The longest frame that the codec accepts, and makes room for before it is there.
const MAX_FRAME: usize = 4096;

fuzz_target!(|data: &[u8]| {
    lines(data);
    counted(data);
    plain(data);
    framed(data);
});

fn lines(data: &[u8]) {
    let codec = LinesCodec::new_with_max_length(1000);
    let serializer = CodecSerializer::<_, _, String>::new(codec.clone(), codec);
    let read = |datagram: &[u8]| {
        let packet = decode(&serializer, datagram, 512 + 4 * datagram.len()).ok()?;
        // One line, with one end.
        assert_eq!(datagram.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(datagram.last(), Some(&b'\n'));
        Some(packet)
    };
    if let Some(packet) = read(data) {
        // It may end in a carriage return, of which the decoder takes one off.
        let written = write(&serializer, &packet).expect("a line");
        assert_eq!(written, [packet.as_bytes(), b"\n"].concat());
        let again = read(&written).expect("it was sent");
        assert_eq!(again, packet.strip_suffix('\r').unwrap_or(&packet));
    }
}

fn counted(data: &[u8]) {
    let codec = LengthDelimitedCodec::builder()
        .max_frame_length(MAX_FRAME)
        .new_codec();
    let serializer = CodecSerializer::<_, _, Bytes>::new(codec.clone(), codec.clone());
    let read =
        |datagram: &[u8]| decode(&serializer, datagram, 1024 + MAX_FRAME + 2 * datagram.len()).ok();
    if let Some(packet) = read(data) {
        // It has one form.
        assert_eq!(write(&serializer, &packet.freeze()).expect("a frame"), data);
    }
    let mut input = Input(data);
    let damage = input.damage();
    let packet = input.packet();
    match write(&serializer, &packet) {
        Ok(datagram) => {
            assert_eq!(read(&datagram).expect("it was sent"), packet);
            let damaged = damage.of(&datagram);
            if let Some(other) = read(&damaged) {
                assert_eq!(
                    write(&serializer, &other.freeze()).expect("a frame"),
                    damaged
                );
            }
        }
        Err(_) => assert!(packet.len() > MAX_FRAME),
    }
}

fn plain(data: &[u8]) {
    let serializer = CodecSerializer::<_, _, Bytes>::new(BytesCodec::new(), BytesCodec::new());
    let read = decode(&serializer, data, 512 + 2 * data.len());
    match read {
        Ok(packet) => assert_eq!(packet, data),
        Err(_) => assert!(data.is_empty()),
    }
}

/// A protocol object as a codec, as `UdpFramed` calls it: damage, then the next datagram.
fn framed(data: &[u8]) {
    let serializer = JsonSerializer::<Value>::new();
    let protocol = DatagramProtocol::new(serializer);
    let mut codec = ProtocolCodec::new(protocol);
    let (first, second) = data.split_at(data.len() / 2);
    for datagram in [data, first, second, b""] {
        let mut buffer = BytesMut::from(datagram);
        let decoded = codec.decode_eof(&mut buffer);
        assert!(buffer.is_empty());
        assert!(matches!(codec.decode_eof(&mut buffer), Ok(None)));
        match (decoded, protocol.build_packet(datagram)) {
            (Ok(Some(one)), Ok(other)) => {
                assert_eq!(one, other);
                read_back(&serializer, &other);
                let mut sent = BytesMut::new();
                codec.encode(one, &mut sent).expect("it was received");
                assert_eq!(sent, write(&serializer, &other).expect("it was received"));
            }
            (Err(_), Err(_)) => {}
            (decoded, built) => panic!("{decoded:?} and {built:?}"),
        }
    }
}
