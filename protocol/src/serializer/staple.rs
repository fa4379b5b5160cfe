use bytes::BytesMut;

use crate::{BoxError, Flip, Serializer};

/// Two serializers, one for each direction.
///
/// # Examples
///
/// A server that is asked in plain bytes and answers with a number:
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{BoxError, RawSerializer, Serializer, StapledSerializer};
///
/// struct Number;
///
/// impl Serializer for Number {
///     type Sent = u32;
///     type Received = u32;
///
///     fn serialize(&self, packet: &u32, datagram: &mut BytesMut) -> Result<(), BoxError> {
///         datagram.extend_from_slice(&packet.to_be_bytes());
///         Ok(())
///     }
///
///     fn deserialize(&self, datagram: &[u8]) -> Result<u32, BoxError> {
///         Ok(u32::from_be_bytes(datagram.try_into()?))
///     }
/// }
///
/// let serializer = StapledSerializer::new(Number, RawSerializer);
///
/// let mut answer = BytesMut::new();
/// serializer.serialize(&7, &mut answer)?;
/// assert_eq!(&answer[..], [0, 0, 0, 7]);
/// assert_eq!(serializer.deserialize(b"how many?")?, "how many?");
/// # Ok::<(), BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StapledSerializer<Sending, Receiving> {
    sending: Sending,
    receiving: Receiving,
}

impl<Sending, Receiving> StapledSerializer<Sending, Receiving> {
    /// Returns the serializer that writes with `sending` and reads with `receiving`.
    pub fn new(sending: Sending, receiving: Receiving) -> Self {
        Self { sending, receiving }
    }
}

impl<Sending: Serializer, Receiving: Serializer> Serializer
    for StapledSerializer<Sending, Receiving>
{
    type Sent = Sending::Sent;
    type Received = Receiving::Received;

    fn serialize(&self, packet: &Self::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        self.sending.serialize(packet, datagram)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Self::Received, BoxError> {
        self.receiving.deserialize(datagram)
    }
}

impl<Sending: Flip, Receiving: Flip> Flip for StapledSerializer<Sending, Receiving> {
    type Flipped = StapledSerializer<Receiving::Flipped, Sending::Flipped>;

    fn flip(self) -> Self::Flipped {
        StapledSerializer::new(self.receiving.flip(), self.sending.flip())
    }
}
