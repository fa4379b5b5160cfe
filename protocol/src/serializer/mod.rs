mod append;
mod raw;
mod staple;

pub use append::Append;
pub use raw::RawSerializer;
pub use staple::StapledSerializer;

use std::sync::Arc;

use bytes::BytesMut;

use crate::BoxError;

/// Turns plain data into the bytes of one datagram and back: the format.
///
/// One serializer serves every client and every worker at once, so it takes `&self` and keeps no
/// state from one datagram to the next. It may be given anything a stranger can send, so
/// [`deserialize`](Self::deserialize) answers every input with a value or an error; a panic is a
/// defect of the serializer (and still harms nobody else).
///
/// The `conformance` feature has these rules as a suite that the tests of a serializer run.
///
/// # Examples
///
/// ```
/// use bytes::{BufMut, BytesMut};
/// use postbox_protocol::{BoxError, Serializer};
///
/// /// One temperature, as four bytes.
/// struct Celsius;
///
/// impl Serializer for Celsius {
///     type Sent = f32;
///     type Received = f32;
///
///     fn serialize(&self, packet: &f32, datagram: &mut BytesMut) -> Result<(), BoxError> {
///         datagram.put_f32(*packet);
///         Ok(())
///     }
///
///     fn deserialize(&self, datagram: &[u8]) -> Result<f32, BoxError> {
///         // The whole datagram: neither too short nor too long.
///         Ok(f32::from_be_bytes(datagram.try_into()?))
///     }
/// }
///
/// let mut datagram = BytesMut::new();
/// Celsius.serialize(&36.6, &mut datagram)?;
/// assert_eq!(Celsius.deserialize(&datagram)?, 36.6);
/// assert!(Celsius.deserialize(b"").is_err());
/// # Ok::<(), BoxError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a serializer",
    label = "not a `Serializer`",
    note = "take the serializer of a codec crate, or implement `Serializer` for your format"
)]
pub trait Serializer: Send + Sync + 'static {
    /// What this end sends.
    type Sent;

    /// What this end receives.
    type Received;

    /// Appends the bytes of exactly one datagram that says `packet`.
    ///
    /// The engine hands over an empty scratch buffer. What stands in the buffer is never changed. A
    /// library that writes from the beginning of a buffer, as those of DNS do, is given one of its
    /// own, and what it wrote is appended.
    ///
    /// # Errors
    ///
    /// Fails if the format cannot say this packet. What was appended until then is thrown away by
    /// the caller.
    fn serialize(&self, packet: &Self::Sent, datagram: &mut BytesMut) -> Result<(), BoxError>;

    /// Returns what the whole of `datagram` says. It may be empty. Where a protocol answers also
    /// what is malformed, let that be a value of `Received`, with what the answer needs, such as an
    /// id.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not exactly one document of the format. Where the format marks its
    /// own end, bytes left over and a document cut short are errors; a format that does not says
    /// so.
    fn deserialize(&self, datagram: &[u8]) -> Result<Self::Received, BoxError>;
}

impl<S: Serializer + ?Sized> Serializer for Arc<S> {
    type Sent = S::Sent;
    type Received = S::Received;

    fn serialize(&self, packet: &Self::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        (**self).serialize(packet, datagram)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Self::Received, BoxError> {
        (**self).deserialize(datagram)
    }
}

impl<S: Serializer + ?Sized> Serializer for Box<S> {
    type Sent = S::Sent;
    type Received = S::Received;

    fn serialize(&self, packet: &Self::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        (**self).serialize(packet, datagram)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Self::Received, BoxError> {
        (**self).deserialize(datagram)
    }
}
