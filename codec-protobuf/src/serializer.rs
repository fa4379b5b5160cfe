use std::fmt;
use std::marker::PhantomData;

use bytes::BytesMut;
use postbox_protocol::{BoxError, Flip, Serializer};
use prost::Message;

use crate::ProtobufError;

/// One protobuf message a datagram, by prost.
///
/// Any [`prost::Message`] can be sent, and any that has a default can be received: all that are
/// made from a `.proto` file, and those with prost's derive.
///
/// # What the format cannot know
///
/// A message says neither what it is nor where it ends. It is a list of numbered fields, and any
/// number of them is a message. So these are **not errors**, here and in every other
/// implementation:
///
/// - **the empty datagram is a message**: the one whose fields all have their defaults (and such a
///   message is sent as an empty datagram);
/// - a datagram cut short between two fields is the message without the rest;
/// - **bytes left over, if they are fields, merge**: of two numbers or strings the last wins, lists
///   become longer, messages within merge in the same way;
/// - a message of another type is read as far as its field numbers mean something here, and unknown
///   fields are ignored. They are gone when the message is sent on.
///
/// Tell the messages that can arrive at one port apart by a `oneof` in one message. Where damage
/// must be noticed, wrap the serializer in one that adds a checksum or a signature.
///
/// # What is sent
///
/// Fields in the order of their numbers, lists of numbers packed, and nothing for a field that has
/// its default (unless it is `optional` or of a `oneof`). prost takes negative zero for the default
/// of a float, so alone in a field, or in a map, it comes back as zero. Maps that are `HashMap`s
/// are sent in any order.
///
/// # What is received
///
/// Each of these is an error, a [`ProtobufError`], and never a panic, a stack overflow or an
/// allocation of what was only announced:
///
/// - a field cut short, a length beyond the end of the datagram;
/// - a known field in another form than its type has, text that is not UTF-8;
/// - the field number 0, the forms 6 and 7 that are none, a group that has no end or no beginning;
/// - a number longer than ten bytes, or than 64 bits;
/// - more than 100 messages within one another, in unknown groups too (unless another crate of the
///   program turned on prost's feature `no-recursion-limit`).
///
/// Fields may come in any order, numbers in more bytes than needed, and lists of numbers packed or
/// not. A number too large for its field loses its high bits, and an enum keeps a number that has
/// no name, as the format says.
///
/// `docs/oracles.md` in the repository has every difference from Python's `protobuf`.
///
/// # Allocations
///
/// Sending allocates nothing itself: the message is written straight to the engine's buffer, which
/// keeps its capacity. Receiving allocates what the message owns: each string once, each byte
/// string twice (once, if it is a `Bytes` and not a `Vec<u8>`), lists and maps as they grow. A
/// message of numbers allocates nothing. An error allocates.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use postbox_codec_protobuf::ProtobufSerializer;
/// use postbox_protocol::Serializer;
///
/// /// What prost makes of `message Person { string name = 1; uint32 age = 2; }`.
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Person {
///     #[prost(string, tag = "1")]
///     name: String,
///     #[prost(uint32, tag = "2")]
///     age: u32,
/// }
///
/// let serializer = ProtobufSerializer::<Person>::new();
///
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&Person { name: "Ann".to_owned(), age: 7 }, &mut datagram)?;
/// assert_eq!(&datagram[..], b"\x0a\x03Ann\x10\x07");
/// assert_eq!(serializer.deserialize(&datagram)?.age, 7);
///
/// // The empty datagram is a message.
/// assert_eq!(serializer.deserialize(b"")?, Person::default());
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
pub struct ProtobufSerializer<Sent, Received = Sent> {
    // A function pointer, so that `Send` and `Sync` do not depend on the types.
    types: PhantomData<fn(Sent) -> Received>,
}

impl<Sent, Received> ProtobufSerializer<Sent, Received> {
    /// Returns the serializer of these messages.
    pub const fn new() -> Self {
        Self { types: PhantomData }
    }
}

impl<Sent, Received> Serializer for ProtobufSerializer<Sent, Received>
where
    Sent: Message + 'static,
    Received: Message + Default + 'static,
{
    type Sent = Sent;
    type Received = Received;

    fn serialize(&self, packet: &Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        // It fails if there is no room, but there always is: the buffer grows.
        Ok(packet.encode(datagram)?)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Received, BoxError> {
        Ok(Received::decode(datagram).map_err(ProtobufError::read)?)
    }
}

impl<Sent, Received> Flip for ProtobufSerializer<Sent, Received> {
    type Flipped = ProtobufSerializer<Received, Sent>;

    fn flip(self) -> Self::Flipped {
        ProtobufSerializer::new()
    }
}

impl<Sent, Received> Clone for ProtobufSerializer<Sent, Received> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Sent, Received> Copy for ProtobufSerializer<Sent, Received> {}

impl<Sent, Received> Default for ProtobufSerializer<Sent, Received> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Sent, Received> fmt::Debug for ProtobufSerializer<Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProtobufSerializer")
    }
}
