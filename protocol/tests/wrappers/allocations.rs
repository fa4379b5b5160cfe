//! How often a datagram takes memory: what the docs of each wrapper promise.
//!
//! `RawSerializer` stands within: it takes none to send, and one copy to receive.

use std::hint::black_box;

use allocation_counter::measure;
use bytes::{Bytes, BytesMut};
use postbox_protocol::{
    Base64Serializer, ChecksumSerializer, EncryptedSerializer, EncryptionKeys, PrefixedSerializer,
    Serializer, SignedSerializer, SigningKey, ZlibSerializer, ZstdSerializer,
};

use super::support::*;

fn keys() -> EncryptionKeys {
    EncryptionKeys::new(1, &SECRET)
}

/// Returns how often sending and receiving take memory, once the serializer has done both.
fn taken<S: Serializer<Sent = Bytes, Received = Bytes>>(serializer: &S) -> [u64; 2] {
    let packet = noise(1000);
    let mut datagram = BytesMut::with_capacity(10_000);
    let mut taken = [0; 2];
    for _ in 0..2 {
        datagram.clear();
        let sent = measure(|| serializer.serialize(&packet, &mut datagram).unwrap());
        let received = measure(|| drop(black_box(read(serializer, &datagram))));
        taken = [sent.count_total, received.count_total];
    }
    taken
}

#[test]
fn allocations_of_wrappers_that_look_and_take_off_are_none() {
    assert_eq!(taken(&RAW), [0, 1]);
    assert_eq!(taken(&PrefixedSerializer::new(RAW, &b"PB"[..])), [0, 1]);
    assert_eq!(taken(&ChecksumSerializer::new(RAW)), [0, 1]);
    let key = SigningKey::new(&SECRET);
    assert_eq!(taken(&SignedSerializer::new(RAW, key)), [0, 1]);
}

#[test]
fn allocations_of_wrappers_that_make_other_bytes_are_one_buffer_to_receive() {
    assert_eq!(taken(&Base64Serializer::url_safe(RAW)), [0, 2]);
    assert_eq!(taken(&Base64Serializer::standard(RAW)), [0, 2]);
    assert_eq!(taken(&ZlibSerializer::new(RAW)), [0, 2]);
    assert_eq!(taken(&ZstdSerializer::new(RAW)), [0, 2]);
    let encrypted = EncryptedSerializer::new(RAW, keys());
    assert_eq!(taken(&encrypted), [0, 2]);
    assert_eq!(taken(&encrypted.clone().counting()), [0, 2]);
    assert_eq!(taken(&encrypted.with_labels(b"to", b"to")), [0, 2]);
}

#[test]
fn allocations_of_wrappers_in_one_another_add_up() {
    let signed = SignedSerializer::new(ZlibSerializer::new(RAW), SigningKey::new(&SECRET));
    let nested = PrefixedSerializer::new(Base64Serializer::url_safe(signed), &b"PB"[..]);
    assert_eq!(taken(&nested), [0, 3]);
}

#[test]
fn allocations_of_a_window_against_replays_are_made_once_a_sender() {
    let keys = keys();
    let receiver = EncryptedSerializer::new(RAW, keys.clone()).refusing_replays(1000);
    let senders: Vec<_> = (0..1000)
        .map(|_| EncryptedSerializer::new(RAW, keys.clone()).refusing_replays(0))
        .collect();
    let hear_all = || {
        let datagrams: Vec<_> = senders.iter().map(|sender| write(sender, b"")).collect();
        measure(|| {
            for datagram in &datagrams {
                drop(black_box(read(&receiver, datagram)));
            }
        })
    };
    let first = hear_all();
    assert_eq!(keys.senders(1), 1000);
    assert!(
        (150_000..250_000).contains(&first.bytes_current),
        "{first:?}"
    );
    let later = hear_all();
    assert_eq!(later.bytes_current, 0, "{later:?}");
}

#[test]
fn allocations_of_refusals_are_small() {
    let stranger = noise(1000);
    let refused = |serializer: &dyn Serializer<Sent = Bytes, Received = Bytes>| {
        let refuse = || measure(|| drop(black_box(serializer.deserialize(&stranger).unwrap_err())));
        // Those that decompress make their tables the first time.
        refuse();
        refuse().bytes_max
    };
    let key = SigningKey::new(&SECRET);
    assert_eq!(refused(&SignedSerializer::new(RAW, key)), 0);
    assert_eq!(refused(&ChecksumSerializer::new(RAW)), 0);
    assert!(refused(&PrefixedSerializer::new(RAW, &b"PB"[..])) < 100);
    assert!(refused(&ZstdSerializer::new(RAW)) < 200);
    // The room for what comes out.
    assert!(refused(&Base64Serializer::url_safe(RAW)) < 1000);
    assert!(refused(&EncryptedSerializer::new(RAW, keys())) < 1100);
    assert!(refused(&ZlibSerializer::new(RAW)) < 4300);
}
