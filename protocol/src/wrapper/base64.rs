use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE};
use base64::{DecodeError, Engine};
use bytes::BytesMut;

use super::replace::replace;
use crate::{BoxError, Flip, Serializer};

/// Writes the datagram as base64 text, with padding: where only text passes, or people read it.
///
/// It writes what EasyNetwork's `Base64EncoderSerializer` writes, and reads it. Its `checksum`
/// option is a wrapper of its own here: put a `ChecksumSerializer` within for `checksum=True`, a
/// `SignedSerializer` for a key.
///
/// Only the one encoding that this end would write is read: letters of the other alphabet, line
/// ends and other white space, missing padding, letters that stand for bits beyond the last byte
/// are all refused. (Python's decoder leaves out what it does not know.) So equal packets have
/// equal text.
///
/// It has no end mark of its own: text that is cut after a multiple of 4 letters is the text of
/// fewer bytes, so whether that is noticed is for the serializer within. Padding does end it: what
/// follows is refused.
///
/// **Overhead:** a third, rounded up to a multiple of 4: see [`encoded_len`](Self::encoded_len).
/// Sending allocates nothing, receiving the decoded bytes once.
///
/// # Examples
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{Base64Serializer, RawSerializer, Serializer};
///
/// let serializer = Base64Serializer::url_safe(RawSerializer);
///
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&Bytes::from_static(b"\xfb\xff"), &mut datagram)?;
/// assert_eq!(datagram, "-_8=");
/// assert_eq!(serializer.deserialize(b"-_8=")?, &b"\xfb\xff"[..]);
/// assert!(serializer.deserialize(b"+/8=").is_err());
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Base64Serializer<S> {
    serializer: S,
    alphabet: Alphabet,
}

#[derive(Clone, Copy, Debug)]
enum Alphabet {
    Standard,
    UrlSafe,
}

impl Alphabet {
    const fn engine(self) -> &'static GeneralPurpose {
        match self {
            Self::Standard => &STANDARD,
            Self::UrlSafe => &URL_SAFE,
        }
    }
}

impl<S> Base64Serializer<S> {
    /// Writes the datagrams of `serializer` in the URL-safe alphabet, with `-` and `_`. It is
    /// EasyNetwork's default.
    pub const fn url_safe(serializer: S) -> Self {
        Self {
            serializer,
            alphabet: Alphabet::UrlSafe,
        }
    }

    /// Writes the datagrams of `serializer` in the standard alphabet, with `+` and `/`.
    pub const fn standard(serializer: S) -> Self {
        Self {
            serializer,
            alphabet: Alphabet::Standard,
        }
    }

    /// Returns how long a datagram of `len` bytes becomes.
    pub const fn encoded_len(len: usize) -> usize {
        len.div_ceil(3) * 4
    }
}

impl<S: Serializer> Serializer for Base64Serializer<S> {
    type Sent = S::Sent;
    type Received = S::Received;

    fn serialize(&self, packet: &S::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let start = datagram.len();
        self.serializer.serialize(packet, datagram)?;
        let room = Self::encoded_len(datagram[start..].len());
        replace(datagram, start, room, |bytes, text| {
            self.alphabet.engine().encode_slice(bytes, text)
        })?;
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<S::Received, BoxError> {
        let bytes = self
            .alphabet
            .engine()
            .decode(datagram)
            .map_err(Base64Error)?;
        self.serializer.deserialize(&bytes)
    }
}

impl<S: Flip> Flip for Base64Serializer<S> {
    type Flipped = Base64Serializer<S::Flipped>;

    fn flip(self) -> Self::Flipped {
        Base64Serializer {
            serializer: self.serializer.flip(),
            alphabet: self.alphabet,
        }
    }
}

/// A datagram is not base64 in the alphabet of the [`Base64Serializer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the datagram is not base64")]
pub struct Base64Error(#[source] DecodeError);

/// Reads a key as EasyNetwork writes it.
///
/// It is decoded into `room`, which 44 letters fill at most, so that it stands nowhere else.
#[cfg(feature = "signature")]
pub(super) fn decode_key<'a>(text: &str, room: &'a mut [u8; 33]) -> Option<&'a [u8; 32]> {
    let len = URL_SAFE.decode_slice(text, &mut room[..]).ok()?;
    room[..len].try_into().ok()
}
