use bytes::BytesMut;
use sha2::{Digest, Sha256};

use crate::{BoxError, Flip, Serializer};

/// Appends the SHA-256 of the datagram.
///
/// It finds accidents: a datagram cut short, continued or changed on the way. **It keeps nobody
/// out**, since anybody can compute it: against forgery take a signature (`SignedSerializer`).
///
/// Within a `Base64Serializer` it is what EasyNetwork's `Base64EncoderSerializer` writes and reads
/// with `checksum=True`.
///
/// **Overhead:** [32 bytes](Self::OVERHEAD). Nothing is allocated.
///
/// # Examples
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{ChecksumSerializer, RawSerializer, Serializer};
///
/// let serializer = ChecksumSerializer::new(RawSerializer);
///
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&Bytes::from_static(b"intact"), &mut datagram)?;
/// assert_eq!(datagram.len(), 6 + 32);
/// assert_eq!(serializer.deserialize(&datagram)?, "intact");
///
/// datagram[0] ^= 1;
/// assert!(serializer.deserialize(&datagram).is_err());
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ChecksumSerializer<S> {
    serializer: S,
}

impl<S> ChecksumSerializer<S> {
    /// How many bytes a datagram gets longer.
    pub const OVERHEAD: usize = 32;

    /// Appends a checksum to the datagrams of `serializer`.
    pub const fn new(serializer: S) -> Self {
        Self { serializer }
    }
}

impl<S: Serializer> Serializer for ChecksumSerializer<S> {
    type Sent = S::Sent;
    type Received = S::Received;

    fn serialize(&self, packet: &S::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let start = datagram.len();
        self.serializer.serialize(packet, datagram)?;
        let checksum = Sha256::digest(&datagram[start..]);
        datagram.extend_from_slice(&checksum);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<S::Received, BoxError> {
        match datagram.split_last_chunk::<32>() {
            Some((rest, checksum)) if Sha256::digest(rest)[..] == checksum[..] => {
                self.serializer.deserialize(rest)
            }
            _ => Err(ChecksumError(()).into()),
        }
    }
}

impl<S: Flip> Flip for ChecksumSerializer<S> {
    type Flipped = ChecksumSerializer<S::Flipped>;

    fn flip(self) -> Self::Flipped {
        ChecksumSerializer::new(self.serializer.flip())
    }
}

/// A datagram does not end with its checksum: it was damaged, or never had one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checksum is wrong")]
pub struct ChecksumError(());
