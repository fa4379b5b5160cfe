use std::fmt;
use std::marker::PhantomData;

use bytes::BytesMut;
use postbox_protocol::{Append, BoxError, Flip, Serializer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::MessagePackError;
use crate::check::check;

/// One MessagePack value a datagram, by serde.
///
/// The types need serde's derives. A value of no known type is what `rmpv` has (`rmpv::Value`, with
/// its feature `with-serde`).
///
/// # What is sent
///
/// | Rust | [`new`](Self::new) | [`compact`](Self::compact) |
/// |---|---|---|
/// | `struct Person { name: "Ann", age: 7 }` | `82 a4 "name" a3 "Ann" a3 "age" 07` | `92 a3 "Ann" 07` |
/// | `struct Pair(1, 2)`, `(1, 2)`, `[1, 2]` | `92 01 02` | the same |
/// | `struct Meters(1.5)` | what is in it: `cb 3ff8…` | the same |
/// | `struct Nothing` | the empty array: `90` | the same |
/// | `()`, `None` | nil: `c0` | the same |
/// | `enum`: `Point` | its name: `a5 "Point"` | the same |
/// | `Circle(2)`, `Line(1, 2)` | its name and data: `81 a6 "Circle" 02`, `81 a4 "Line" 92 01 02` | the same |
/// | `Square { side: 3 }` | `81 a6 "Square" 81 a4 "side" 03` | `81 a6 "Square" 91 03` |
/// | `Vec<u8>` | an array of numbers: `92 01 02` | the same |
/// | `Vec<u8>` with `#[serde(with = "serde_bytes")]` | a byte string: `c4 02 01 02` | the same |
/// | `i128`, `u128` | a byte string of 16, the first byte the highest | the same |
/// | `IpAddr`, `SocketAddr` | their text: `a9 "127.0.0.1"` | the same |
///
/// **`new` is what peers in other languages expect**: a struct is their dictionary or object, its
/// fields can be told apart, added and left out. `compact` names no field, so both ends must have
/// the same fields in the same order. Whichever is sent, **both are understood**, but `compact` is
/// not for types with these attributes of serde:
///
/// - `skip_serializing_if`, and `skip_serializing` or `skip_deserializing` alone: they would shift
///   what follows;
/// - `tag` of a struct: it cannot be read;
/// - `tag` with `content`: a variant with named fields, or with none, cannot be read;
/// - `untagged`: a variant with named fields cannot be read, or is read as another variant.
///
/// Integers, and the heads of strings, arrays and maps, have the shortest form. Floats keep their
/// width and their bits, NaN and the infinities too. Types with a form for people and another for
/// machines (addresses, uuids) use the one for people: peers in other languages write it, it keeps
/// the scope of an IPv6 address, and serde reads no other where it sets values aside. (A peer that
/// uses rmp-serde itself asks it for that by `with_human_readable`.) Arrays and maps are sent at any
/// depth, also where it is more than is received.
///
/// **Everything reads back equal, but for what serde does not say.** There is one nil, so
/// `Some(None)` and `Some(())` come back as `None`. The flow information of a `SocketAddrV6` is
/// lost. A flattened field or a tag with the name of another field is there twice, and refused when
/// it is read. An `untagged` enum is read as the first variant that fits.
///
/// # What is received
///
/// The whole datagram is one value. Each of these is an error, a [`MessagePackError`], and never a
/// panic, a stack overflow or an allocation of what was only announced:
///
/// - bytes left over, a value cut short, the empty datagram;
/// - a string that is not UTF-8, also where nobody reads it (writers from before 2013 sent byte
///   strings so);
/// - the byte `c1`, which MessagePack never uses;
/// - the text `$serde_json::private::RawValue`, by which a `serde_json::Value` would parse texts
///   within texts, so deep that the stack ends, if any crate of the program asks it for `raw_value`;
/// - more than 127 arrays and maps within one another, also where nobody reads them;
/// - a length beyond the end of the datagram;
/// - a missing field, a field of another type, an integer out of its type's range;
/// - the same field of a struct twice.
///
/// All forms of a value are taken, not only the shortest (but the 16 bytes of an `i128` or a `u128`
/// in theirs alone). A float field takes integers and floats of both widths, since the writers of
/// some languages have but one kind of number: what is no `f32` becomes the nearest, and infinite
/// out of its range. Text fields take byte strings that are UTF-8, byte fields take text, and both
/// kinds of sequences are taken for one another; of a byte string that is read as a tuple or a
/// struct, bytes left over are ignored. The number of a struct's field or of an enum's variant, from
/// 0, is taken for its name.
///
/// serde's attributes hold: fields that the struct does not know are ignored unless it says
/// `#[serde(deny_unknown_fields)]`, and a missing `Option` is `None`. In a map, **the last of
/// several equal keys wins**. A negative integer where a `u128` is expected is read as the `i128`
/// with these bits.
///
/// **What serde sets aside** before it knows the type, for `flatten`, `tag` and `untagged`, can be no
/// `i128` or `u128`: they are refused. So is a unit struct as a value of a flattened map, or as all
/// that a variant or a key of an `untagged` enum holds. Where a flattened field is an `Option`, what
/// is refused is `None`.
///
/// **An `untagged` enum that contains itself can take exponential time**, since serde tries each
/// variant at each level: 60 bytes then take seconds. Do not receive such a type from strangers.
///
/// `docs/oracles.md` in the repository has every difference from Python's `msgpack`.
///
/// # Allocations
///
/// Sending allocates nothing itself: the value is written straight to the engine's buffer, which
/// keeps its capacity. Only what has no length beforehand is gathered in a buffer first:
/// `#[serde(flatten)]` makes such maps. Receiving allocates what the packet owns: each `String`
/// once, each `Vec` once (of more than 1 MiB as it grows), maps as they grow. A struct of numbers
/// allocates nothing. An error allocates.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use postbox_codec_msgpack::MessagePackSerializer;
/// use postbox_protocol::Serializer;
/// use rmpv::Value;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Person {
///     name: String,
///     age: u8,
/// }
///
/// let ann = Person { name: "Ann".to_owned(), age: 7 };
///
/// let named = MessagePackSerializer::<Person>::new();
/// let mut datagram = BytesMut::new();
/// named.serialize(&ann, &mut datagram)?;
/// assert_eq!(&datagram[..], b"\x82\xa4name\xa3Ann\xa3age\x07");
///
/// let compact = MessagePackSerializer::<Person>::compact();
/// let mut datagram = BytesMut::new();
/// compact.serialize(&ann, &mut datagram)?;
/// assert_eq!(&datagram[..], b"\x92\xa3Ann\x07");
///
/// // Either is understood by both.
/// assert_eq!(named.deserialize(&datagram)?.name, "Ann");
///
/// // Any value at all.
/// let untyped = MessagePackSerializer::<Value>::new();
/// assert_eq!(untyped.deserialize(&datagram)?[1], Value::from(7));
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
pub struct MessagePackSerializer<Sent, Received = Sent> {
    compact: bool,
    // A function pointer, so that `Send` and `Sync` do not depend on the types.
    types: PhantomData<fn(Sent) -> Received>,
}

impl<Sent, Received> MessagePackSerializer<Sent, Received> {
    /// Returns the serializer that sends structs as maps from their fields' names: what peers in
    /// other languages expect.
    pub const fn new() -> Self {
        Self {
            compact: false,
            types: PhantomData,
        }
    }

    /// Returns the serializer that sends structs as arrays, without their fields' names: for peers
    /// that know the same structs.
    pub const fn compact() -> Self {
        Self {
            compact: true,
            types: PhantomData,
        }
    }
}

impl<Sent, Received> Serializer for MessagePackSerializer<Sent, Received>
where
    Sent: Serialize + 'static,
    Received: DeserializeOwned + 'static,
{
    type Sent = Sent;
    type Received = Received;

    fn serialize(&self, packet: &Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let end = Append::new(datagram);
        let mut array = rmp_serde::Serializer::new(end).with_human_readable();
        let written = if self.compact {
            packet.serialize(&mut array)
        } else {
            packet.serialize(&mut array.with_struct_map())
        };
        Ok(written.map_err(MessagePackError::write)?)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Received, BoxError> {
        check(datagram).map_err(MessagePackError::malformed)?;
        let mut value = rmp_serde::Deserializer::from_read_ref(datagram).with_human_readable();
        Ok(Received::deserialize(&mut value).map_err(MessagePackError::read)?)
    }
}

impl<Sent, Received> Flip for MessagePackSerializer<Sent, Received> {
    type Flipped = MessagePackSerializer<Received, Sent>;

    fn flip(self) -> Self::Flipped {
        MessagePackSerializer {
            compact: self.compact,
            types: PhantomData,
        }
    }
}

impl<Sent, Received> Clone for MessagePackSerializer<Sent, Received> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Sent, Received> Copy for MessagePackSerializer<Sent, Received> {}

impl<Sent, Received> Default for MessagePackSerializer<Sent, Received> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Sent, Received> fmt::Debug for MessagePackSerializer<Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagePackSerializer")
            .field("compact", &self.compact)
            .finish()
    }
}
