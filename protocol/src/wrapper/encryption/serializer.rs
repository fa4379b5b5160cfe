use std::fmt;
use std::sync::Arc;

use bytes::BytesMut;
use chacha20poly1305::aead::AeadInOut;

use super::keys::EncryptionKeys;
use super::nonces::Nonces;
use super::{ID_LEN, NONCE_LEN, TAG_LEN};
use crate::{BoxError, Flip, Serializer};

const HEADER_LEN: usize = ID_LEN + NONCE_LEN;

/// Encrypts and authenticates the datagram (XChaCha20-Poly1305).
///
/// Only who has the key can read it, and only who has the key can have written it: everything else
/// is refused before the serializer within sees it, with one error for all, which says nothing
/// more.
///
/// ```text
/// key id (1 byte) │ nonce (24 bytes) │ encrypted datagram (as long as it was) │ tag (16 bytes)
/// ```
///
/// Keys have an id, so that they can be [rotated](EncryptionKeys) while the server runs.
///
/// # Nonces
///
/// No nonce may be used twice with a key. By default each is 24 random bytes from the operating
/// system, which takes a system call a datagram, needs no care, and is right for any number of
/// senders that share a key. [`counting`](Self::counting) draws 16 random bytes once, and counts.
/// Both ends have to do the same.
///
/// # What it does not do
///
/// - **Replays.** Who records a datagram can send it again, and it passes, unless
///   [`refusing_replays`](Self::refusing_replays) is set.
/// - **Reflection.** With one key for both directions, a datagram can be thrown back at its sender,
///   and passes, unless the directions have [labels](Self::with_labels).
/// - **Who.** It is *one of those who have the key*, not this client: the address is not part of
///   it. Who has the key can speak for all who have it.
/// - **Forward secrecy.** Who gets the key later can read what was recorded earlier, so rotate.
/// - **Lengths and times** can be seen.
///
/// Where any of these matters, use DTLS or QUIC.
///
/// **Overhead:** [41 bytes](Self::OVERHEAD). Sending allocates nothing, receiving the decrypted
/// bytes once.
///
/// # Examples
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{EncryptedSerializer, EncryptionKeys, Flip, RawSerializer, Serializer};
///
/// # let secret = [7; 32];
/// let server = EncryptedSerializer::new(RawSerializer, EncryptionKeys::new(1, &secret))
///     .with_labels(b"to client", b"to server");
/// let client = server.clone().flip();
///
/// let mut datagram = BytesMut::new();
/// client.serialize(&Bytes::from_static(b"the treasure is here"), &mut datagram)?;
/// assert_eq!(datagram.len(), 20 + 41);
/// assert_eq!(server.deserialize(&datagram)?, "the treasure is here");
///
/// datagram[30] ^= 1;
/// let error = server.deserialize(&datagram).unwrap_err();
/// assert_eq!(error.to_string(), "not authentic");
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
pub struct EncryptedSerializer<S> {
    serializer: S,
    keys: EncryptionKeys,
    // Shared by clones, which would use the same nonces otherwise.
    nonces: Arc<Nonces>,
    sending: Label,
    receiving: Label,
    /// Replays are refused of so many senders for each key.
    max_senders: Option<usize>,
}

impl<S> EncryptedSerializer<S> {
    /// How many bytes a datagram gets longer.
    pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

    /// How long a label can be.
    pub const MAX_LABEL_LEN: usize = Label::MAX_LEN;

    /// Encrypts the datagrams of `serializer` with `keys`.
    pub fn new(serializer: S, keys: EncryptionKeys) -> Self {
        Self {
            serializer,
            keys,
            nonces: Arc::new(Nonces::Random),
            sending: Label::EMPTY,
            receiving: Label::EMPTY,
            max_senders: None,
        }
    }

    /// Says what is sent and what is received, so that neither passes for the other: `to client`
    /// and `to server`, say. [`flip`](Flip::flip) exchanges them.
    ///
    /// Labels are authenticated and not sent. Anything else both ends have to agree on can stand
    /// there too: the program, the version.
    ///
    /// # Panics
    ///
    /// Panics if one is longer than [62 bytes](Self::MAX_LABEL_LEN).
    #[must_use]
    pub fn with_labels(mut self, sending: &[u8], receiving: &[u8]) -> Self {
        self.sending = Label::new(sending);
        self.receiving = Label::new(receiving);
        self
    }

    /// Counts the nonces, from a random start, instead of drawing each. The peers have to do it
    /// too.
    ///
    /// It spares a system call a datagram, and the peers can refuse replays. Everybody sees which
    /// datagrams come from the same sender, and how many it has sent. A process that is forked, or
    /// a virtual machine that is set back, after the first datagram was sent would use nonces
    /// again: there, leave them random.
    #[must_use]
    pub fn counting(mut self) -> Self {
        self.nonces = Arc::new(Nonces::counted());
        self
    }

    /// Refuses a datagram that came before. Nonces are [counted](Self::counting) for that, at all
    /// ends.
    ///
    /// What is promised: **while the keys live, no datagram passes twice**, on any serializer that
    /// has clones of the same [`EncryptionKeys`] and refuses replays. A serializer knows no client,
    /// so a *sender* is whoever drew those 16 random bytes: one serializer with its clones, from
    /// when it was made.
    ///
    /// - Order is free within 960 datagrams of one sender, counting those to others. What comes
    ///   later than that is refused, since nobody knows whether it came before.
    /// - Of each key `max_senders` are remembered, about 200 bytes each, and none is forgotten:
    ///   when they are that many, **new senders are refused** until the key is
    ///   [removed](EncryptionKeys::remove). A client that starts again is a new sender. So make it
    ///   large, watch [`EncryptionKeys::senders`], and rotate. Only who has the key counts.
    /// - What was recorded before this program started passes once, since nobody remembers: use a
    ///   new key, or put into the packets what makes an old one harmless.
    #[must_use]
    pub fn refusing_replays(self, max_senders: usize) -> Self {
        Self {
            max_senders: Some(max_senders),
            ..self.counting()
        }
    }

    /// Returns the key's id and the tag.
    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        plain: &mut [u8],
    ) -> Result<(u8, [u8; TAG_LEN]), Cause> {
        let (id, Some(key)) = self.keys.sending() else {
            return Err(Cause::NoKey);
        };
        let (label, len) = self.sending.with(self.nonces.kind(), id);
        let tag = key
            .cipher
            .encrypt_inout_detached(&(*nonce).into(), &label[..len], plain.into())
            // Beyond 256 GiB.
            .map_err(|_| Cause::TooLong)?;
        Ok((id, tag.into()))
    }

    fn open(&self, datagram: &[u8]) -> Result<Vec<u8>, Cause> {
        let (id, rest) = datagram.split_first().ok_or(Cause::NotAuthentic)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(Cause::NotAuthentic)?;
        let (sealed, tag) = rest
            .split_last_chunk::<TAG_LEN>()
            .ok_or(Cause::NotAuthentic)?;
        let key = self.keys.get(*id).ok_or(Cause::NotAuthentic)?;
        let (label, len) = self.receiving.with(self.nonces.kind(), *id);
        let mut plain = sealed.to_vec();
        // Compares the tag in constant time, before anything is decrypted.
        key.cipher
            .decrypt_inout_detached(
                &(*nonce).into(),
                &label[..len],
                plain.as_mut_slice().into(),
                &(*tag).into(),
            )
            .map_err(|_| Cause::NotAuthentic)?;
        if let Some(max_senders) = self.max_senders {
            key.senders.hear(nonce, max_senders)?;
        }
        Ok(plain)
    }
}

impl<S: Serializer> Serializer for EncryptedSerializer<S> {
    type Sent = S::Sent;
    type Received = S::Received;

    fn serialize(&self, packet: &S::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let start = datagram.len();
        datagram.extend_from_slice(&[0; HEADER_LEN]);
        self.serializer.serialize(packet, datagram)?;
        let nonce = self.nonces.draw().map_err(EncryptionError)?;
        let (header, plain) = datagram[start..].split_at_mut(HEADER_LEN);
        header[ID_LEN..].copy_from_slice(&nonce);
        let (id, tag) = self.seal(&nonce, plain).map_err(EncryptionError)?;
        header[0] = id;
        datagram.extend_from_slice(&tag);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<S::Received, BoxError> {
        let plain = self.open(datagram).map_err(EncryptionError)?;
        self.serializer.deserialize(&plain)
    }
}

impl<S: Flip> Flip for EncryptedSerializer<S> {
    type Flipped = EncryptedSerializer<S::Flipped>;

    fn flip(self) -> Self::Flipped {
        EncryptedSerializer {
            serializer: self.serializer.flip(),
            keys: self.keys,
            nonces: self.nonces,
            sending: self.receiving,
            receiving: self.sending,
            max_senders: self.max_senders,
        }
    }
}

impl<S: Clone> Clone for EncryptedSerializer<S> {
    fn clone(&self) -> Self {
        Self {
            serializer: self.serializer.clone(),
            keys: self.keys.clone(),
            nonces: Arc::clone(&self.nonces),
            sending: self.sending,
            receiving: self.receiving,
            max_senders: self.max_senders,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for EncryptedSerializer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedSerializer")
            .field("serializer", &self.serializer)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// What is authenticated beside the datagram: the kind of nonces, the key's id, the direction.
#[derive(Clone, Copy)]
struct Label {
    bytes: [u8; 64],
    len: usize,
}

impl Label {
    const MAX_LEN: usize = 62;
    const EMPTY: Self = Self {
        bytes: [0; 64],
        len: 2,
    };

    fn new(label: &[u8]) -> Self {
        assert!(
            label.len() <= Self::MAX_LEN,
            "the label is longer than {} bytes",
            Self::MAX_LEN
        );
        let mut new = Self::EMPTY;
        new.len += label.len();
        new.bytes[2..new.len].copy_from_slice(label);
        new
    }

    const fn with(mut self, nonces: u8, id: u8) -> ([u8; 64], usize) {
        self.bytes[0] = nonces;
        self.bytes[1] = id;
        (self.bytes, self.len)
    }
}

/// Why an [`EncryptedSerializer`] refuses a datagram, or cannot send one.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct EncryptionError(Cause);

#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    // One for all: too short, no such key, another key, another label, changed anywhere.
    #[error("not authentic")]
    NotAuthentic,

    #[error("a datagram that came before, or too late to tell")]
    Replayed,

    #[error("too many senders for this key")]
    TooManySenders,

    #[error("no randomness for a nonce")]
    NoRandomness(#[source] BoxError),

    #[error("every nonce is used up")]
    UsedUp,

    #[error("there is no key to send with")]
    NoKey,

    #[error("too long to be encrypted")]
    TooLong,
}

impl EncryptionError {
    /// Returns whether the datagram is not authentic. Strangers cause it.
    pub fn is_not_authentic(&self) -> bool {
        matches!(self.0, Cause::NotAuthentic)
    }

    /// Returns whether the datagram is authentic, and came before, or so late that nobody knows.
    pub fn is_replay(&self) -> bool {
        matches!(self.0, Cause::Replayed)
    }

    /// Returns whether the datagram is authentic, and of a new sender where no more can be
    /// remembered: it is time for a new key.
    pub fn is_too_many_senders(&self) -> bool {
        matches!(self.0, Cause::TooManySenders)
    }
}
