mod keys;
mod nonces;
mod replays;
mod serializer;

pub use keys::{EncryptionKeyError, EncryptionKeys};
pub use serializer::{EncryptedSerializer, EncryptionError};

/// Bytes of a key's id, before everything else.
const ID_LEN: usize = 1;
/// Bytes of a nonce of XChaCha20.
const NONCE_LEN: usize = 24;
/// Bytes of a tag of Poly1305, after everything else.
const TAG_LEN: usize = 16;
