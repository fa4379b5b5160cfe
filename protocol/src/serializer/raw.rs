use bytes::{Bytes, BytesMut};

use crate::{BoxError, Flip, Serializer};

/// The datagram's bytes as they are.
///
/// Every sequence of bytes is a packet, the empty one too. There is no end mark: a datagram cut
/// short, or with bytes left over, is just another packet.
///
/// Receiving copies the bytes out of the engine's buffer (one allocation, none if empty).
///
/// # Examples
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{RawSerializer, Serializer};
///
/// let mut datagram = BytesMut::new();
/// RawSerializer.serialize(&Bytes::from_static(b"as is"), &mut datagram)?;
/// assert_eq!(&datagram[..], b"as is");
/// assert_eq!(RawSerializer.deserialize(b"")?, Bytes::new());
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RawSerializer;

impl Serializer for RawSerializer {
    type Sent = Bytes;
    type Received = Bytes;

    fn serialize(&self, packet: &Bytes, datagram: &mut BytesMut) -> Result<(), BoxError> {
        datagram.extend_from_slice(packet);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Bytes, BoxError> {
        Ok(Bytes::copy_from_slice(datagram))
    }
}

impl Flip for RawSerializer {
    type Flipped = Self;

    fn flip(self) -> Self {
        self
    }
}
