//! How often a datagram takes memory beside what the codec takes.

use std::hint::black_box;

use allocation_counter::measure;
use bytes::{Bytes, BytesMut};
use postbox_protocol::{
    CodecSerializer, DatagramProtocol, Protocol, ProtocolCodec, RawSerializer, Serializer,
};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec, LinesCodec};

/// Returns how often sending and receiving take memory, into a buffer that is large enough.
fn taken<S: Serializer>(serializer: &S, packet: &S::Sent) -> [u64; 2] {
    let mut datagram = BytesMut::with_capacity(10_000);
    let sent = measure(|| serializer.serialize(packet, &mut datagram).unwrap());
    let received = measure(|| drop(black_box(serializer.deserialize(&datagram).unwrap())));
    [sent.count_total, received.count_total]
}

#[test]
fn allocations_of_codecs_are_a_copy_and_theirs() {
    let lines = CodecSerializer::<_, _, String>::new(LinesCodec::new(), LinesCodec::new());
    // The copy of the text. The copy of the datagram, that it is taken apart, and the text.
    assert_eq!(taken(&lines, &"hello".to_owned()), [1, 3]);

    let codec = LengthDelimitedCodec::new();
    let delimited = CodecSerializer::<_, _, Bytes>::new(codec.clone(), codec);
    // The copy of the datagram, that it is taken apart, and room for a next frame.
    assert_eq!(taken(&delimited, &Bytes::from_static(&[7; 1000])), [0, 3]);
}

#[test]
fn allocations_of_what_is_only_announced_are_the_codecs_own() {
    let most = |codec: LengthDelimitedCodec| {
        let serializer = CodecSerializer::<_, _, Bytes>::new(codec.clone(), codec);
        let datagram = [0, 0, 0xff, 0, 1];
        measure(|| drop(serializer.deserialize(&datagram).unwrap_err())).bytes_max
    };
    // It makes room for the frame that is told, up to its limit.
    assert!(most(LengthDelimitedCodec::new()) > 60_000);
    let mut bounded = LengthDelimitedCodec::builder();
    assert!(most(bounded.max_frame_length(1000).new_codec()) < 200);
}

#[test]
fn allocations_of_a_protocol_as_a_codec_are_those_of_the_protocol() {
    let protocol = DatagramProtocol::new(RawSerializer);
    let mut codec = ProtocolCodec::new(protocol);
    let packet = Bytes::from_static(&[7; 1000]);
    let mut datagram = BytesMut::with_capacity(2000);
    let sent = measure(|| codec.encode(packet.clone(), &mut datagram).unwrap());
    assert_eq!(sent.count_total, 0);
    let received = measure(|| drop(black_box(codec.decode_eof(&mut datagram).unwrap())));
    let built = measure(|| drop(black_box(protocol.build_packet(&packet).unwrap())));
    assert_eq!(received.count_total, 1);
    assert_eq!(built.count_total, 1);
}
