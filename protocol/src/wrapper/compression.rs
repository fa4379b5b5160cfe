//! What the wrappers that compress have in common.

use crate::BoxError;

/// How many bytes a datagram may hold before it is compressed, if the user says nothing else: what
/// would have fitted in a datagram without. It bounds memory: compressing gives the serializer
/// within no more to work on than it would have had, and a bomb of one datagram is refused after
/// this much. It does not bound the work of decompressing, which grows with the datagram: tables
/// are built for each block, however little comes out of it.
pub(crate) const MAX_LEN: usize = 65_536;

/// Why a datagram cannot be decompressed, or is too large to be compressed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct CompressionError(#[from] pub(crate) Cause);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("more than {max_len} bytes before compression")]
    TooLarge { max_len: usize },

    #[error("the compressed data is cut short")]
    CutShort,

    #[error("bytes are left over after the compressed data")]
    LeftOver,

    #[error("not compressed data")]
    Malformed(#[source] BoxError),

    #[error("cannot compress")]
    Compress(#[source] BoxError),
}

impl CompressionError {
    /// Returns whether there are more bytes before compression than the serializer allows.
    ///
    /// Of a datagram that was received it says that its content would be larger: a bomb, or a peer
    /// that allows more.
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, Cause::TooLarge { .. })
    }
}
