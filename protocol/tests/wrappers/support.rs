//! The ways there and back, and all the damage that is done to one datagram.

use std::error::Error;
use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use postbox_protocol::{BoxError, DatagramProtocol, Flip, Protocol, RawSerializer, Serializer};
use proptest::prelude::*;

/// What serializers within write and read in these tests: bytes as they are.
pub(crate) const RAW: RawSerializer = RawSerializer;

pub(crate) const SECRET: [u8; 32] = {
    let mut secret = [0; 32];
    let mut index = 0;
    while index < 32 {
        secret[index] = index as u8;
        index += 1;
    }
    secret
};

/// `SECRET` as EasyNetwork writes it.
pub(crate) const SECRET_IN_BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Packets of bytes: none, few, many alike.
pub(crate) fn packets() -> [Bytes; 4] {
    [
        Bytes::new(),
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"ten bytes!"),
        Bytes::from(vec![b'a'; 50]),
    ]
}

pub(crate) fn any_packet() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        // What compresses well.
        (any::<u8>(), 0..20_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ]
    .prop_map(Bytes::from)
}

/// Returns the datagram that says `packet`.
pub(crate) fn write<S: Serializer<Sent = Bytes>>(
    serializer: &S,
    packet: impl AsRef<[u8]>,
) -> Vec<u8> {
    let packet = Bytes::copy_from_slice(packet.as_ref());
    let mut datagram = BytesMut::new();
    serializer.serialize(&packet, &mut datagram).unwrap();
    datagram.to_vec()
}

/// Returns what `datagram` says.
pub(crate) fn read<S: Serializer<Received = Bytes>>(
    serializer: &S,
    datagram: impl AsRef<[u8]>,
) -> Bytes {
    serializer.deserialize(datagram.as_ref()).unwrap()
}

/// Returns the wrapper's own error.
pub(crate) fn refusal<E: Error + 'static>(
    serializer: &impl Serializer<Received: Debug>,
    datagram: impl AsRef<[u8]>,
) -> E {
    *serializer
        .deserialize(datagram.as_ref())
        .unwrap_err()
        .downcast()
        .unwrap()
}

/// Returns `datagram` cut short at every place, with every byte changed to every other, and with
/// each byte after it.
pub(crate) fn damaged(datagram: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..datagram.len()).map(|length| datagram[..length].to_vec());
    let changed = (0..datagram.len()).flat_map(move |position| {
        (1..=u8::MAX).map(move |bits| {
            let mut changed = datagram.to_vec();
            changed[position] ^= bits;
            changed
        })
    });
    let continued = (0..=u8::MAX).map(move |byte| [datagram, &[byte]].concat());
    cut.chain(changed).chain(continued)
}

/// Checks that no damage to the datagram of any packet passes.
pub(crate) fn refuses_all_damage<S>(serializer: &S)
where
    S: Serializer<Sent = Bytes, Received = Bytes>,
{
    for packet in packets() {
        let datagram = write(serializer, packet);
        for damaged in damaged(&datagram) {
            if let Ok(packet) = serializer.deserialize(&damaged) {
                panic!("{damaged:02x?} was taken for {packet:?}");
            }
        }
    }
}

/// Checks that all damage to the datagram of any packet is an error or a value.
pub(crate) fn survives_all_damage<S>(serializer: &S)
where
    S: Serializer<Sent = Bytes, Received = Bytes>,
{
    for packet in packets() {
        for damaged in damaged(&write(serializer, packet)) {
            let _ = serializer.deserialize(&damaged);
        }
    }
}

/// A serializer that goes each way with other types: bytes there, a length back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length;

impl Serializer for Length {
    type Sent = Bytes;
    type Received = usize;

    fn serialize(&self, packet: &Bytes, datagram: &mut BytesMut) -> Result<(), BoxError> {
        RAW.serialize(packet, datagram)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<usize, BoxError> {
        Ok(usize::from_be_bytes(datagram.try_into()?))
    }
}

impl Flip for Length {
    type Flipped = Flipped;

    fn flip(self) -> Flipped {
        Flipped
    }
}

/// The other side of `Length`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flipped;

impl Serializer for Flipped {
    type Sent = usize;
    type Received = Bytes;

    fn serialize(&self, packet: &usize, datagram: &mut BytesMut) -> Result<(), BoxError> {
        datagram.extend_from_slice(&packet.to_be_bytes());
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Bytes, BoxError> {
        RAW.deserialize(datagram)
    }
}

impl Flip for Flipped {
    type Flipped = Length;

    fn flip(self) -> Length {
        Length
    }
}

/// Checks that `near`, a wrapper of `Length`, and its other side understand each other.
pub(crate) fn flips<S>(near: S)
where
    S: Serializer<Sent = Bytes, Received = usize> + Flip + Clone,
    S::Flipped: Serializer<Sent = usize, Received = Bytes> + Flip<Flipped = S>,
{
    let asking = DatagramProtocol::new(near.clone());
    let answering = DatagramProtocol::new(near.flip());
    let mut datagram = BytesMut::new();
    asking
        .make_datagram(Bytes::from_static(b"how long?"), &mut datagram)
        .unwrap();
    assert_eq!(answering.build_packet(&datagram).unwrap(), "how long?");

    datagram.clear();
    answering.make_datagram(9, &mut datagram).unwrap();
    assert_eq!(asking.build_packet(&datagram).unwrap(), 9);

    // The other side of the other side is the first again.
    assert_eq!(answering.flip().build_packet(&datagram).unwrap(), 9);
}

/// Returns `length` bytes that nothing makes shorter.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Returns the bytes that these digits say.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// Returns text of so many words, which gets the shorter the more is done.
pub(crate) fn words(count: usize) -> Bytes {
    let words = ["alpha ", "beta ", "of ", "the ", "it ", "is ", "postbox "];
    let text: String = noise(count)
        .iter()
        .map(|byte| words[usize::from(*byte) % words.len()])
        .collect();
    text.into()
}
