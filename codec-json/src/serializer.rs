use std::fmt;
use std::marker::PhantomData;

use bytes::BytesMut;
use postbox_protocol::{Append, BoxError, Flip, Serializer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::finite::Finite;
use crate::{JsonError, kept_keys};

/// One JSON document a datagram, by serde.
///
/// The types need serde's derives; [`serde_json::Value`] takes any document.
///
/// # What is sent
///
/// Compact UTF-8, without a line feed. Every float reads back equal, bit for bit (an `f32` may not
/// where serde sets it aside: see below). Arrays and objects are sent at any depth, also where it
/// is more than is received.
///
/// **NaN and the infinities are refused**, since JSON has no form for them: sending answers the
/// error. (The `null` that others write in their place would be read as a missing value, silently.)
/// If a number may be absent, say so with an `Option`. A [`Value`](serde_json::Value) can hold none
/// of them: `json!(f64::NAN)` is `null` before it comes here. Map keys that are neither strings,
/// numbers, `bool`s nor `char`s are refused too.
///
/// **Everything else reads back equal, but for what serde does not say.** There is one `null`, so
/// `Some(None)` comes back as `None`, and so does a `Some` of `()`, of a unit struct or of
/// [`Value::Null`](serde_json::Value::Null). The flow information of a `SocketAddrV6` is lost, its
/// scope is kept. A flattened field or a tag with the name of another field is there twice, and
/// refused when it is read. An `untagged` enum is read as the first variant that fits.
///
/// # What is received
///
/// The whole datagram is one document, which white space may surround. Each of these is an error, a
/// [`JsonError`] that names the line and column, and never a panic:
///
/// - bytes left over, a document cut short, the empty datagram;
/// - invalid UTF-8, also outside strings; a byte order mark;
/// - `NaN`, `Infinity`, comments, trailing commas, single quotes;
/// - more than 127 arrays and objects within one another (in a field that nobody reads, any depth
///   passes: no stack is used for it);
/// - a missing field, a field of another type, a number out of its type's range;
/// - the same field of a struct twice.
///
/// serde's attributes hold: fields that the struct does not know are ignored unless it says
/// `#[serde(deny_unknown_fields)]`, and a missing `Option` is `None`.
///
/// A number that stands alone has no end mark: `12` cut short is `1`. Put it in an array or a
/// struct.
///
/// In a map, and in a [`Value`](serde_json::Value), **the last of several equal keys wins**, as in
/// most JSON parsers. In a `Value` an integer beyond 64 bits becomes the nearest float. `-0` is the
/// float −0.0, as which no integer of up to 64 bits reads it.
///
/// **What serde sets aside** before it knows the type, for `flatten`, `tag` and `untagged`, is a
/// 64-bit number there. So an `f32` is rounded twice and may come back as the next one to it, and
/// out of its range it is infinite and no error; an `i128` or a `u128` is always refused. Map keys
/// are text there: those of numbers and `bool`s are refused, and an `untagged` key is never a
/// number. Where a flattened field is an `Option`, what is refused is `None`.
///
/// **serde_json's features are those of the whole program.** If any crate asks for
/// `arbitrary_precision`, no float can be set aside: it is refused like an `i128`; and a `Value`
/// keeps numbers as they are written, of any size. If any asks for that or for `raw_value`, an
/// object with a key `$serde_json::private::…` is refused: serde_json would take it for something
/// else.
///
/// **An `untagged` enum that contains itself can take exponential time**, since serde tries each
/// variant at each level: 120 bytes then take seconds. Do not receive such a type from strangers.
///
/// `docs/oracles.md` in the repository has every difference from Python's `json`.
///
/// # Allocations
///
/// Sending allocates nothing itself: the document is written straight to the engine's buffer,
/// which keeps its capacity. Receiving allocates what the packet owns: each `String` once, `Vec`s
/// and maps as they grow, and one buffer for a document whose strings have escapes. A struct of
/// numbers allocates nothing. An error allocates.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::Serializer;
/// use serde_json::{Value, json};
///
/// let serializer = JsonSerializer::<Value>::new();
///
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&json!({ "answer": 42 }), &mut datagram)?;
/// assert_eq!(datagram, r#"{"answer":42}"#);
/// assert_eq!(serializer.deserialize(b" [1, 2]\n")?, json!([1, 2]));
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
pub struct JsonSerializer<Sent, Received = Sent> {
    // A function pointer, so that `Send` and `Sync` do not depend on the types.
    types: PhantomData<fn(Sent) -> Received>,
}

impl<Sent, Received> JsonSerializer<Sent, Received> {
    /// Returns the serializer of these types.
    pub const fn new() -> Self {
        Self { types: PhantomData }
    }
}

impl<Sent, Received> Serializer for JsonSerializer<Sent, Received>
where
    Sent: Serialize + 'static,
    Received: DeserializeOwned + 'static,
{
    type Sent = Sent;
    type Received = Received;

    fn serialize(&self, packet: &Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let mut json = serde_json::Serializer::new(Append::new(datagram));
        Ok(packet
            .serialize(Finite(&mut json))
            .map_err(JsonError::write)?)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Received, BoxError> {
        // One check of the whole is faster than serde_json's own check of each string.
        let document =
            str::from_utf8(datagram).map_err(|error| JsonError::utf8(datagram, error))?;
        if let Some(position) = kept_keys::find(document) {
            return Err(JsonError::kept_key(document, position).into());
        }
        Ok(serde_json::from_str(document).map_err(JsonError::read)?)
    }
}

impl<Sent, Received> Flip for JsonSerializer<Sent, Received> {
    type Flipped = JsonSerializer<Received, Sent>;

    fn flip(self) -> Self::Flipped {
        JsonSerializer::new()
    }
}

impl<Sent, Received> Clone for JsonSerializer<Sent, Received> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Sent, Received> Copy for JsonSerializer<Sent, Received> {}

impl<Sent, Received> Default for JsonSerializer<Sent, Received> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Sent, Received> fmt::Debug for JsonSerializer<Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonSerializer")
    }
}
