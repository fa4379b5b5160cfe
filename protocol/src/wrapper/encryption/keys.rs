use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

use super::replays::Senders;

/// The secrets that both ends of an `EncryptedSerializer` share, each with an id.
///
/// It is a handle: clones are the same keys, so that a program keeps one and changes keys while its
/// server runs. To rotate without losing a datagram, at every end
///
/// 1. [`insert`](Self::insert) the new key: it is accepted;
/// 2. when all have it, [`send_with`](Self::send_with) it;
/// 3. when nothing sealed with the old one is under way, [`remove`](Self::remove) that.
///
/// A secret is 32 bytes from a source of randomness for secrets, such as the operating system's. A
/// password is not one. It is never shown, and is overwritten in memory when it is dropped.
///
/// # Examples
///
/// ```
/// use postbox_protocol::EncryptionKeys;
///
/// # let (old, new) = ([1; 32], [2; 32]);
/// let keys = EncryptionKeys::new(1, &old);
/// keys.insert(2, &new);
/// keys.send_with(2)?;
/// keys.remove(1)?;
/// # Ok::<(), postbox_protocol::EncryptionKeyError>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKeys(Arc<RwLock<Ring>>);

struct Ring {
    sending: u8,
    keys: BTreeMap<u8, Arc<Key>>,
}

/// A secret, and who has been heard with it.
pub(super) struct Key {
    pub(super) cipher: XChaCha20Poly1305,
    pub(super) senders: Senders,
    /// The cipher does not tell whether another has the same.
    secret: Zeroizing<[u8; 32]>,
}

impl Key {
    fn new(secret: &[u8; 32]) -> Arc<Self> {
        Arc::new(Self {
            cipher: XChaCha20Poly1305::new(secret.into()),
            senders: Senders::new(),
            secret: Zeroizing::new(*secret),
        })
    }

    /// Returns whether this is the key of `secret`, in the same time wherever they differ.
    fn has(&self, secret: &[u8; 32]) -> bool {
        let bits = self.secret.iter().zip(secret);
        bits.fold(0, |differ, (ours, theirs)| differ | (ours ^ theirs)) == 0
    }
}

impl EncryptionKeys {
    /// Returns the keys of which this is the only one: it is sent with and accepted.
    pub fn new(id: u8, secret: &[u8; 32]) -> Self {
        Self(Arc::new(RwLock::new(Ring {
            sending: id,
            keys: BTreeMap::from([(id, Key::new(secret))]),
        })))
    }

    /// Accepts a key, from now on.
    ///
    /// If there is one of this id with the same secret, nothing changes: who was heard with it is
    /// remembered, so that a program may insert all keys again whenever it reads its configuration.
    /// With another secret the old key is forgotten, and who was heard with it.
    ///
    /// What is sent with does not change, unless the id is that of the key to send with: then the
    /// new secret is sent with at once.
    pub fn insert(&self, id: u8, secret: &[u8; 32]) {
        self.change(|ring| {
            if !ring.keys.get(&id).is_some_and(|key| key.has(secret)) {
                ring.keys.insert(id, Key::new(secret));
            }
        });
    }

    /// Sends with a key that is accepted, from now on.
    ///
    /// # Errors
    ///
    /// Fails if there is no such key. Nothing is changed.
    pub fn send_with(&self, id: u8) -> Result<(), EncryptionKeyError> {
        self.change(|ring| {
            if !ring.keys.contains_key(&id) {
                return Err(EncryptionKeyError(Cause::Unknown { id }));
            }
            ring.sending = id;
            Ok(())
        })
    }

    /// Accepts a key no more, and forgets who was heard with it.
    ///
    /// # Errors
    ///
    /// Fails if it is the one to send with, or if there is no such key. Nothing is changed.
    pub fn remove(&self, id: u8) -> Result<(), EncryptionKeyError> {
        self.change(|ring| {
            if ring.sending == id {
                return Err(EncryptionKeyError(Cause::Sending { id }));
            }
            match ring.keys.remove(&id) {
                Some(_) => Ok(()),
                None => Err(EncryptionKeyError(Cause::Unknown { id })),
            }
        })
    }

    /// Returns how many senders are remembered for a key, so that it can be rotated before they are
    /// too many. It is 0 where no serializer refuses replays.
    pub fn senders(&self, id: u8) -> usize {
        self.get(id).map_or(0, |key| key.senders.len())
    }

    pub(super) fn sending(&self) -> (u8, Option<Arc<Key>>) {
        let ring = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (ring.sending, ring.keys.get(&ring.sending).cloned())
    }

    pub(super) fn get(&self, id: u8) -> Option<Arc<Key>> {
        let ring = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ring.keys.get(&id).cloned()
    }

    fn change<R>(&self, change: impl FnOnce(&mut Ring) -> R) -> R {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("EncryptionKeys")
            .field("sending", &ring.sending)
            .field("accepted", &ring.keys.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Why keys cannot be changed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct EncryptionKeyError(Cause);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Cause {
    #[error("there is no key {id}")]
    Unknown { id: u8 },

    #[error("key {id} is the one to send with")]
    Sending { id: u8 },
}
