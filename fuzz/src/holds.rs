use std::fmt::Debug;

use allocation_counter::measure;
use bytes::BytesMut;
use postbox_protocol::{BoxError, Serializer};
use sha2::{Digest, Sha256};

/// Returns a secret that is used for this input only. The fuzzer sees what is compared in the
/// process and puts it into later inputs, signatures too: with one secret for all it would find
/// what passes.
pub fn secret(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// Returns the datagram that says `packet`. What stood in the buffer is left alone.
pub fn write<S: Serializer>(serializer: &S, packet: &S::Sent) -> Result<Vec<u8>, BoxError> {
    let mut datagram = BytesMut::from(&b"kept"[..]);
    serializer.serialize(packet, &mut datagram)?;
    assert!(datagram.starts_with(b"kept"));
    Ok(datagram[4..].to_vec())
}

/// Decodes the datagram, which must not take more than `most` bytes of memory at any time. An error
/// can be shown.
pub fn decode<S: Serializer>(
    serializer: &S,
    datagram: &[u8],
    most: usize,
) -> Result<S::Received, BoxError> {
    let mut result = None;
    let used = measure(|| result = Some(serializer.deserialize(datagram)));
    assert!(
        used.bytes_max <= most as u64,
        "{} bytes of memory for a datagram of {}",
        used.bytes_max,
        datagram.len()
    );
    let result = result.expect("it was called");
    if let Err(error) = &result {
        let mut next: Option<&dyn std::error::Error> = Some(&**error);
        while let Some(error) = next {
            assert!(!format!("{error} {error:?}").is_empty());
            next = error.source();
        }
    }
    result
}

/// Decodes the datagram. If it is accepted, its packet is written and read back equal.
pub fn reads<S, T>(serializer: &S, datagram: &[u8], most: usize) -> Option<T>
where
    S: Serializer<Sent = T, Received = T>,
    T: Debug + PartialEq,
{
    let packet = decode(serializer, datagram, most).ok()?;
    read_back(serializer, &packet);
    Some(packet)
}

/// Writes the packet and reads it back equal.
pub fn read_back<S, T>(serializer: &S, packet: &T)
where
    S: Serializer<Sent = T, Received = T>,
    T: Debug + PartialEq,
{
    let written = write(serializer, packet).expect("what was received can be sent");
    let again = serializer
        .deserialize(&written)
        .expect("what was sent can be received");
    same(packet, &again);
}

/// Compares two packets. NaN is like NaN, and negative zero like zero.
pub fn same<T: Debug + PartialEq>(one: &T, other: &T) {
    if one != other {
        let shown = |packet: &T| format!("{packet:?}").replace("-0.0", "0.0");
        let (one, other) = (shown(one), shown(other));
        assert!(one.contains("NaN"), "{one} became {other}");
        assert_eq!(one, other);
    }
}
