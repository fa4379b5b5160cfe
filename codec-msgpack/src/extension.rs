use std::fmt;

use rmp_serde::MSGPACK_EXT_STRUCT_NAME;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A MessagePack extension: bytes with a kind, for what the format has no form of its own.
///
/// The kinds from 0 to 127 are the program's to give a meaning, those below 0 belong to MessagePack
/// (−1 is a [`Timestamp`](crate::Timestamp)).
///
/// In another format it is the pair of the kind and the bytes.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use postbox_codec_msgpack::{Extension, MessagePackSerializer};
/// use postbox_protocol::Serializer;
///
/// let serializer = MessagePackSerializer::<Extension>::new();
/// let color = Extension { kind: 5, data: vec![0xff, 0x80] };
///
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&color, &mut datagram)?;
/// assert_eq!(&datagram[..], [0xd5, 5, 0xff, 0x80]);
/// assert_eq!(serializer.deserialize(&datagram)?, color);
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Extension {
    /// What the bytes are.
    pub kind: i8,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Serialize for Extension {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(self.kind, &self.data, serializer)
    }
}

impl<'de> Deserialize<'de> for Extension {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, |kind, data| {
            Some(Self {
                kind,
                data: data.to_vec(),
            })
        })
    }
}

/// Writes an extension, by the name that rmp-serde knows it by.
pub(crate) fn write<S: Serializer>(
    kind: i8,
    data: &[u8],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_newtype_struct(MSGPACK_EXT_STRUCT_NAME, &(kind, Data(data)))
}

/// Reads an extension and makes a value of it, unless it is none.
pub(crate) fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    make: fn(i8, &[u8]) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_newtype_struct(MSGPACK_EXT_STRUCT_NAME, Whole { make })
}

struct Data<'a>(&'a [u8]);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Takes the extension apart: a pair, whose second half is known when the first was read.
struct Whole<T> {
    make: fn(i8, &[u8]) -> Option<T>,
}

impl<'de, T> Visitor<'de> for Whole<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an extension")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, pair: D) -> Result<T, D::Error> {
        pair.deserialize_tuple(2, self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<T, A::Error> {
        let Some(kind) = pair.next_element()? else {
            return Err(A::Error::invalid_length(0, &self));
        };
        let rest = Rest {
            kind,
            make: self.make,
        };
        match pair.next_element_seed(rest)? {
            Some(value) => Ok(value),
            None => Err(A::Error::invalid_length(1, &self)),
        }
    }
}

/// Takes the bytes of an extension of a known kind.
struct Rest<T> {
    kind: i8,
    make: fn(i8, &[u8]) -> Option<T>,
}

impl<'de, T> DeserializeSeed<'de> for Rest<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, data: D) -> Result<T, D::Error> {
        data.deserialize_bytes(self)
    }
}

impl<'de, T> Visitor<'de> for Rest<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of an extension")
    }

    fn visit_bytes<E: Error>(self, data: &[u8]) -> Result<T, E> {
        let length = data.len();
        (self.make)(self.kind, data).ok_or_else(|| {
            E::custom(format_args!(
                "an extension of kind {} with these {length} bytes is not the expected one",
                self.kind
            ))
        })
    }

    // How formats without byte strings have it.
    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<T, A::Error> {
        let mut data = Vec::new();
        while let Some(byte) = bytes.next_element()? {
            data.push(byte);
        }
        self.visit_bytes(&data)
    }
}
