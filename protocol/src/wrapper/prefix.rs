use bytes::{Bytes, BytesMut};

use crate::{BoxError, Flip, Serializer};

/// Puts the same bytes before every datagram: a magic number, a version.
///
/// A datagram without them is refused before the serializer within sees it: another program's, or
/// another version's. So are noise and port scans, at the price of a comparison.
///
/// Both directions have the same prefix. Where they differ, staple two.
///
/// **Overhead:** the length of the prefix. Nothing is allocated.
///
/// # Examples
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{PrefixedSerializer, RawSerializer, Serializer};
///
/// let serializer = PrefixedSerializer::new(RawSerializer, &b"game\x02"[..]);
///
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&Bytes::from_static(b"move"), &mut datagram)?;
/// assert_eq!(&datagram[..], b"game\x02move");
///
/// let error = serializer.deserialize(b"game\x01move").unwrap_err();
/// assert_eq!(error.to_string(), r#"the datagram does not begin with b"game\x02""#);
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrefixedSerializer<S> {
    serializer: S,
    prefix: Bytes,
}

impl<S> PrefixedSerializer<S> {
    /// Puts `prefix` before the datagrams of `serializer`.
    pub fn new(serializer: S, prefix: impl Into<Bytes>) -> Self {
        Self {
            serializer,
            prefix: prefix.into(),
        }
    }
}

impl<S: Serializer> Serializer for PrefixedSerializer<S> {
    type Sent = S::Sent;
    type Received = S::Received;

    fn serialize(&self, packet: &S::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        datagram.extend_from_slice(&self.prefix);
        self.serializer.serialize(packet, datagram)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<S::Received, BoxError> {
        match datagram.strip_prefix(&*self.prefix) {
            Some(rest) => self.serializer.deserialize(rest),
            None => Err(PrefixError {
                expected: self.prefix.clone(),
            }
            .into()),
        }
    }
}

impl<S: Flip> Flip for PrefixedSerializer<S> {
    type Flipped = PrefixedSerializer<S::Flipped>;

    fn flip(self) -> Self::Flipped {
        PrefixedSerializer {
            serializer: self.serializer.flip(),
            prefix: self.prefix,
        }
    }
}

/// A datagram does not begin with the prefix of the [`PrefixedSerializer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the datagram does not begin with b\"{}\"", .expected.escape_ascii())]
pub struct PrefixError {
    expected: Bytes,
}
