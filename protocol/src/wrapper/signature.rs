use std::fmt;

use bytes::BytesMut;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
#[cfg(feature = "base64")]
use zeroize::Zeroizing;

use crate::{BoxError, Flip, Serializer};

/// Appends a signature (HMAC-SHA-256) that only who has the key can make.
///
/// A datagram whose signature is wrong is refused before the serializer within sees it, so that
/// only those who have the key reach its parser. The comparison takes the same time wherever the
/// difference is, and the error says nothing but that it is wrong.
///
/// What it does not do: the content can be read by everybody (for that take `EncryptedSerializer`);
/// **a datagram that was recorded can be sent again**, by anybody, to either end, and passes; and
/// whoever has the key can speak for all who have it.
///
/// Within a `Base64Serializer` it is what EasyNetwork's `Base64EncoderSerializer` writes and reads
/// when `checksum` is a key.
///
/// **Overhead:** [32 bytes](Self::OVERHEAD). Nothing is allocated.
///
/// # Examples
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{RawSerializer, Serializer, SignedSerializer, SigningKey};
///
/// # let secret = [7; 32];
/// let serializer = SignedSerializer::new(RawSerializer, SigningKey::new(&secret));
///
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&Bytes::from_static(b"pay 10"), &mut datagram)?;
/// assert_eq!(serializer.deserialize(&datagram)?, "pay 10");
///
/// datagram[4] = b'9';
/// let error = serializer.deserialize(&datagram).unwrap_err();
/// assert_eq!(error.to_string(), "the signature is wrong");
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SignedSerializer<S> {
    serializer: S,
    key: SigningKey,
}

impl<S> SignedSerializer<S> {
    /// How many bytes a datagram gets longer.
    pub const OVERHEAD: usize = 32;

    /// Signs the datagrams of `serializer` with `key`, and asks for that signature.
    pub const fn new(serializer: S, key: SigningKey) -> Self {
        Self { serializer, key }
    }
}

impl<S: Serializer> Serializer for SignedSerializer<S> {
    type Sent = S::Sent;
    type Received = S::Received;

    fn serialize(&self, packet: &S::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let start = datagram.len();
        self.serializer.serialize(packet, datagram)?;
        let signature = self.key.over(&datagram[start..]).finalize().into_bytes();
        datagram.extend_from_slice(&signature);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<S::Received, BoxError> {
        let Some((rest, signature)) = datagram.split_last_chunk::<32>() else {
            return Err(SignatureError(()).into());
        };
        // Compares in constant time.
        self.key
            .over(rest)
            .verify_slice(signature)
            .map_err(|_| SignatureError(()))?;
        self.serializer.deserialize(rest)
    }
}

impl<S: Flip> Flip for SignedSerializer<S> {
    type Flipped = SignedSerializer<S::Flipped>;

    fn flip(self) -> Self::Flipped {
        SignedSerializer::new(self.serializer.flip(), self.key)
    }
}

/// The secret that both ends of a [`SignedSerializer`] share.
///
/// It is 32 bytes from a source of randomness for secrets, such as the operating system's. A
/// password is not one. It is never shown, and is overwritten in memory when it is dropped.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Returns the key that is made of these bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        // Hashes the key into the state once, instead of twice a datagram.
        Self(Hmac::new_from_slice(secret).expect("HMAC takes keys of every length"))
    }

    /// Returns the key as EasyNetwork writes it, for example in a configuration file: the URL-safe
    /// base64 of 32 bytes.
    ///
    /// # Errors
    ///
    /// Fails if the text is anything else. The error does not quote it.
    #[cfg(feature = "base64")]
    pub fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        let mut room = Zeroizing::new([0; 33]);
        super::base64::decode_key(text, &mut room)
            .map(Self::new)
            .ok_or(InvalidKey(()))
    }

    fn over(&self, bytes: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(bytes)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// A datagram does not end with the signature of the key. It tells no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is wrong")]
pub struct SignatureError(());

/// A text is not the URL-safe base64 of 32 bytes.
#[cfg(feature = "base64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is not the URL-safe base64 of 32 bytes")]
pub struct InvalidKey(());
