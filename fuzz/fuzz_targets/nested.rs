//! Wrappers in wrappers, up to four of them, in the order that the first bytes tell.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use postbox_fuzz::{Input, decode, secret, write};
use postbox_protocol::{
    Base64Serializer, ChecksumSerializer, CodecSerializer, EncryptedSerializer, EncryptionKeys,
    PrefixedSerializer, RawSerializer, Serializer, SignedSerializer, SigningKey, ZlibSerializer,
    ZstdSerializer,
};
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

type Object = Box<dyn Serializer<Sent = Bytes, Received = Bytes>>;

/// How many bytes may come out of each wrapper that compresses, and of a frame.
const BOUND: usize = 8192;

/// What passes a composition.
#[derive(Clone, Copy, PartialEq)]
enum Passes {
    /// Whatever has the form.
    Anything,
    /// The packets that were sent, in any datagram that says them.
    Sent,
    /// The datagrams that were sent.
    Untouched,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (serializer, passes) = compose(&mut input, &secret(data));
    // What the wrappers that compress make when they are new, and their buffers.
    let most = |datagram: &[u8]| (300 << 10) + 16 * BOUND + 4 * datagram.len();

    let read = |datagram: &[u8]| {
        let packet = decode(&serializer, datagram, most(datagram)).ok()?;
        // It can be too long for a wrapper that compresses what another wrote.
        if let Ok(written) = write(&serializer, &packet) {
            let again = serializer.deserialize(&written).expect("it was sent");
            assert_eq!(again, packet);
        }
        Some(packet)
    };
    let passed = read(input.0).is_some();
    assert!(passes == Passes::Anything || !passed);

    let damage = input.damage();
    let packet = input.packet();
    let Ok(datagram) = write(&serializer, &packet) else {
        assert!(packet.len() > BOUND / 4);
        return;
    };
    assert_eq!(read(&datagram).expect("it was sent"), packet);
    let damaged = damage.of(&datagram);
    if let Some(other) = read(&damaged) {
        match passes {
            Passes::Anything => {}
            Passes::Sent => assert_eq!(other, packet),
            Passes::Untouched => assert_eq!(damaged, datagram),
        }
    }
});

fn compose(input: &mut Input<'_>, secret: &[u8; 32]) -> (Object, Passes) {
    let which = input.byte();
    let mut object: Object = match which % 2 {
        0 => Box::new(RawSerializer),
        _ => Box::new(counted()),
    };
    let mut passes = Passes::Anything;
    for _ in 0..1 + which / 2 % 4 {
        object = match input.byte() % 8 {
            0 => Box::new(Base64Serializer::url_safe(object)),
            1 => Box::new(Base64Serializer::standard(object)),
            2 => Box::new(ChecksumSerializer::new(object)),
            3 => Box::new(PrefixedSerializer::new(object, &b"PB"[..])),
            4 => {
                passes = Passes::Untouched;
                let keys = EncryptionKeys::new(1, secret);
                Box::new(EncryptedSerializer::new(object, keys))
            }
            5 => {
                passes = Passes::Untouched;
                Box::new(SignedSerializer::new(object, SigningKey::new(secret)))
            }
            compressing => {
                // The same bytes can be compressed in many ways.
                if passes == Passes::Untouched {
                    passes = Passes::Sent;
                }
                match compressing {
                    6 => Box::new(ZlibSerializer::new(object).with_max_len(BOUND)),
                    _ => Box::new(ZstdSerializer::new(object).with_max_len(BOUND)),
                }
            }
        };
    }
    (object, passes)
}

/// A codec of tokio-util that tells the length first.
fn counted() -> impl Serializer<Sent = Bytes, Received = Bytes> {
    let codec = LengthDelimitedCodec::builder()
        .max_frame_length(BOUND)
        .new_codec();
    CodecSerializer::new(codec.clone(), Frozen(codec))
}

/// Its decoder hands out `BytesMut`.
#[derive(Clone)]
struct Frozen(LengthDelimitedCodec);

impl Decoder for Frozen {
    type Item = Bytes;
    type Error = std::io::Error;

    fn decode(&mut self, datagram: &mut BytesMut) -> std::io::Result<Option<Bytes>> {
        Ok(self.0.decode(datagram)?.map(BytesMut::freeze))
    }
}
