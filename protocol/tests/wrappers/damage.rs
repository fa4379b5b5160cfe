//! Damage to the datagram of any packet: cut short anywhere, any byte changed, anything appended.

use bytes::Bytes;
use postbox_protocol::{
    Base64Serializer, ChecksumSerializer, EncryptedSerializer, EncryptionKeys, PrefixedSerializer,
    Serializer, SignedSerializer, SigningKey, ZlibSerializer, ZstdSerializer,
};
use proptest::prelude::*;

use super::support::*;

type Object = Box<dyn Serializer<Sent = Bytes, Received = Bytes>>;

fn few_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        (any::<u8>(), 0..80_usize).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn signed() -> SignedSerializer<postbox_protocol::RawSerializer> {
    SignedSerializer::new(RAW, SigningKey::new(&SECRET))
}

fn encrypted() -> EncryptedSerializer<postbox_protocol::RawSerializer> {
    EncryptedSerializer::new(RAW, EncryptionKeys::new(1, &SECRET))
}

/// Wrappers that let nothing pass but what was sent.
fn authenticated() -> [Object; 8] {
    [
        Box::new(signed()),
        Box::new(encrypted()),
        Box::new(encrypted().counting()),
        Box::new(encrypted().with_labels(b"there", b"there")),
        Box::new(Base64Serializer::url_safe(signed())),
        Box::new(Base64Serializer::standard(encrypted())),
        Box::new(ChecksumSerializer::new(encrypted())),
        Box::new(PrefixedSerializer::new(signed(), &b"PB"[..])),
    ]
}

/// The others, and whether a change of one byte is always found.
fn others() -> [(Object, bool); 7] {
    [
        (Box::new(ChecksumSerializer::new(RAW)), true),
        (Box::new(Base64Serializer::url_safe(RAW)), false),
        (Box::new(Base64Serializer::standard(RAW)), false),
        (Box::new(PrefixedSerializer::new(RAW, &b"PB"[..])), false),
        (Box::new(ZlibSerializer::new(RAW)), false),
        (Box::new(ZstdSerializer::new(RAW)), false),
        (
            Box::new(ZlibSerializer::new(ZstdSerializer::new(RAW))),
            false,
        ),
    ]
}

/// Returns `datagram` cut short at every place, with every byte changed by `bits`, and with `more`
/// behind it.
fn damaged(datagram: &[u8], bits: u8, more: &[u8]) -> Vec<Vec<u8>> {
    let cut = (0..datagram.len()).map(|length| datagram[..length].to_vec());
    let changed = (0..datagram.len()).map(|position| {
        let mut changed = datagram.to_vec();
        changed[position] ^= bits;
        changed
    });
    let continued = [datagram, more].concat();
    cut.chain(changed).chain([continued]).collect()
}

proptest! {
    #[test]
    fn damage_to_an_authenticated_datagram_never_passes(
        packet in few_bytes(),
        bits in 1..=u8::MAX,
        more in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        for serializer in authenticated() {
            let datagram = write(&serializer, &packet);
            prop_assert_eq!(read(&serializer, &datagram), &packet);
            for damaged in damaged(&datagram, bits, &more) {
                prop_assert!(serializer.deserialize(&damaged).is_err(), "{:02x?}", damaged);
            }
        }
    }

    #[test]
    fn damage_to_another_datagram_is_an_error_or_a_packet(
        packet in few_bytes(),
        bits in 1..=u8::MAX,
        more in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        for (serializer, always_found) in others() {
            let datagram = write(&serializer, &packet);
            prop_assert_eq!(read(&serializer, &datagram), &packet);
            for damaged in damaged(&datagram, bits, &more) {
                let Ok(other) = serializer.deserialize(&damaged) else { continue };
                prop_assert!(!always_found, "{:02x?}", damaged);
                // Which is as good as any.
                let again = write(&serializer, &other);
                prop_assert_eq!(read(&serializer, again), other);
            }
        }
    }
}
