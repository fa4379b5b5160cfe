//! Wrappers in wrappers.

use bytes::{Bytes, BytesMut};
use postbox_protocol::conformance::Conformance;
use postbox_protocol::{
    Base64Serializer, ChecksumSerializer, EncryptedSerializer, EncryptionKeys, Flip,
    PrefixedSerializer, Serializer, SignedSerializer, SigningKey, ZlibSerializer, ZstdSerializer,
};

use super::support::*;

/// A wrapper as an object: what it makes of an object.
type Wrapper = fn(Object) -> Object;
type Object = Box<dyn Serializer<Sent = Bytes, Received = Bytes>>;

const WRAPPERS: [Wrapper; 7] = [
    |within| Box::new(Base64Serializer::url_safe(within)),
    |within| Box::new(ChecksumSerializer::new(within)),
    |within| {
        let keys = EncryptionKeys::new(1, &SECRET);
        Box::new(EncryptedSerializer::new(within, keys))
    },
    |within| Box::new(PrefixedSerializer::new(within, &b"PB"[..])),
    |within| Box::new(SignedSerializer::new(within, SigningKey::new(&SECRET))),
    |within| Box::new(ZlibSerializer::new(within)),
    |within| Box::new(ZstdSerializer::new(within)),
];

#[test]
fn wrappers_nest_in_every_order_of_three() {
    for first in WRAPPERS {
        for second in WRAPPERS {
            for third in WRAPPERS {
                let serializer = third(second(first(Box::new(RAW))));
                for packet in packets() {
                    let mut datagram = BytesMut::from("kept");
                    serializer.serialize(&packet, &mut datagram).unwrap();
                    assert!(datagram.starts_with(b"kept"));
                    assert_eq!(read(&serializer, &datagram[4..]), packet);
                }
            }
        }
    }
}

#[test]
fn wrappers_around_a_signature_let_no_damage_pass() {
    let signed = || SignedSerializer::new(RAW, SigningKey::new(&SECRET));
    refuses_all_damage(&Base64Serializer::url_safe(signed()));
    refuses_all_damage(&Base64Serializer::standard(signed()));
    refuses_all_damage(&PrefixedSerializer::new(signed(), &b"PB"[..]));
    refuses_all_damage(&ChecksumSerializer::new(signed()));
    let keys = EncryptionKeys::new(1, &SECRET);
    refuses_all_damage(&Base64Serializer::url_safe(EncryptedSerializer::new(
        ZlibSerializer::new(RAW),
        keys,
    )));
    refuses_all_damage(&SignedSerializer::new(
        ZlibSerializer::new(ZstdSerializer::new(RAW)),
        SigningKey::new(&SECRET),
    ));
    refuses_all_damage(&SignedSerializer::new(
        Base64Serializer::url_safe(RAW),
        SigningKey::new(&SECRET),
    ));
}

#[test]
fn p2_wrappers_of_wrappers_flip() {
    let keys = EncryptionKeys::new(1, &SECRET);
    flips(EncryptedSerializer::new(
        Base64Serializer::url_safe(SignedSerializer::new(
            PrefixedSerializer::new(
                ZlibSerializer::new(ZstdSerializer::new(ChecksumSerializer::new(Length))),
                &b"PB"[..],
            ),
            SigningKey::new(&SECRET),
        )),
        keys,
    ));
}

#[test]
fn p1_p4_p6_nested_wrappers_conform() {
    let nested = PrefixedSerializer::new(
        Base64Serializer::url_safe(SignedSerializer::new(RAW, SigningKey::new(&SECRET))),
        &b"PB"[..],
    );
    Conformance::between(nested.clone(), nested.flip())
        .packets(packets())
        .refuses_datagrams([&b""[..], b"PB", b"PBAAAA"])
        .check();
}
