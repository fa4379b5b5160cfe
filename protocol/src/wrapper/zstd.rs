use std::fmt;

use bytes::BytesMut;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall;
use zstd::zstd_safe::{
    CCtx, DCtx, ErrorCode, compress_bound, find_frame_compressed_size, get_error_name,
    get_frame_content_size, is_error_kind,
};

use super::compression::{Cause, CompressionError, MAX_LEN};
use super::pool::Pool;
use super::replace::replace;
use crate::{BoxError, Flip, Serializer};

/// What every Zstandard frame begins with (RFC 8878).
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// Compresses the datagram with Zstandard (RFC 8878): better and faster than zlib.
///
/// The whole datagram is one Zstandard frame. Bytes left over, another frame, a frame cut short,
/// one that is to be skipped and one that needs a dictionary are errors. Frames are written without
/// a checksum, since UDP has one; where a frame has one, it is checked.
///
/// **A bomb is refused before it is inflated**: at most [`max_len`](Self::with_max_len) bytes come
/// out of a datagram, by default 65,536. A frame that says that it holds more is refused unread.
/// This end does not send more either, so that its packets can be read by a peer that is set up
/// alike.
///
/// **What a stranger can make it cost**: about 15 ms of a core for a datagram of 64 KB, measured,
/// of blocks of a few bytes, where an ordinary one takes less than 1 ms. No bound on the
/// length before compression helps against that. What authenticates (`SignedSerializer`, or
/// `EncryptedSerializer`, but see below) belongs outside of compression, so that strangers never
/// reach it. A server that expects shorter datagrams says so (`Limits::receive_datagram` of
/// `postbox-server`), since the cost grows with the length. Never put a compressor within a
/// compressor: a few hundred bytes then stand for such a datagram of 64 KB.
///
/// Do not compress and then encrypt what holds a secret beside text that an attacker chooses: the
/// length tells whether the two are alike.
///
/// It is the reference library, written in C, which the build compiles. Pure Rust has no compressor
/// for Zstandard yet that does more than its fastest way. Where no C compiler is, take
/// `ZlibSerializer`.
///
/// **Overhead:** datagrams usually become shorter. One of up to 128 KiB that cannot gets at most 12
/// bytes longer. A few dozen bytes seldom become shorter.
///
/// **Memory:** up to some MiB for each thread that compresses at the same time as others, depending
/// on the level and the length, and 100 KiB for each that decompresses, kept until the serializer
/// is dropped. Sending allocates nothing more, receiving one buffer of the length before
/// compression.
///
/// # Examples
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{RawSerializer, Serializer, ZstdSerializer};
///
/// let serializer = ZstdSerializer::new(RawSerializer);
/// let packet = Bytes::from("again and ".repeat(100));
///
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&packet, &mut datagram)?;
/// assert!(datagram.len() < 40);
/// assert_eq!(serializer.deserialize(&datagram)?, packet);
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
pub struct ZstdSerializer<S> {
    serializer: S,
    level: i32,
    max_len: usize,
    compressors: Pool<CCtx<'static>>,
    decompressors: Pool<DCtx<'static>>,
}

impl<S> ZstdSerializer<S> {
    /// Compresses the datagrams of `serializer`.
    pub const fn new(serializer: S) -> Self {
        Self {
            serializer,
            level: 3,
            max_len: MAX_LEN,
            compressors: Pool::new(),
            decompressors: Pool::new(),
        }
    }

    /// Compresses at `level`, from 1 to 22, which is much slower; below 0 it is faster still. The
    /// default is 3; every level reads every other. What is out of range counts as the nearest.
    #[must_use]
    pub const fn with_level(mut self, level: i32) -> Self {
        self.level = level;
        self
    }

    /// Allows `max_len` bytes before compression, in both directions. The default is 65,536.
    #[must_use]
    pub const fn with_max_len(mut self, max_len: usize) -> Self {
        self.max_len = max_len;
        self
    }

    fn too_large(&self) -> CompressionError {
        Cause::TooLarge {
            max_len: self.max_len,
        }
        .into()
    }

    fn compress(&self, plain: &[u8], compressed: &mut [u8]) -> Result<usize, CompressionError> {
        let make =
            || CCtx::try_create().ok_or_else(|| Cause::Compress("out of memory".into()).into());
        self.compressors.with(make, |compressor| {
            // Begins a frame of its own, whatever came before.
            compressor
                .compress(compressed, plain, self.level)
                .map_err(|code| Cause::Compress(get_error_name(code).into()).into())
        })
    }

    fn decompress(&self, compressed: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let limit = self.limit(compressed)?;
        let make =
            || DCtx::try_create().ok_or_else(|| Cause::Malformed("out of memory".into()).into());
        self.decompressors.with(make, |decompressor| {
            // The limit itself by default. A larger one is not taken at its word: where the frame
            // is small its content is so, too, unless it is very regular.
            let mut capacity = limit.min(compressed.len().saturating_mul(4).max(MAX_LEN));
            loop {
                let mut plain = Vec::with_capacity(capacity);
                match decompressor.decompress(&mut plain, compressed) {
                    Ok(_) if plain.len() > self.max_len => return Err(self.too_large()),
                    Ok(_) => return Ok(plain),
                    Err(code) if !is_error_kind(code, ZSTD_error_dstSize_tooSmall) => {
                        return Err(malformed(code));
                    }
                    Err(_) if capacity == limit => return Err(self.too_large()),
                    Err(_) => capacity = capacity.saturating_mul(2).min(limit),
                }
            }
        })
    }

    /// Returns how many bytes `compressed` may hold, if it is one frame and no more.
    fn limit(&self, compressed: &[u8]) -> Result<usize, CompressionError> {
        if !compressed.starts_with(&MAGIC) {
            return Err(match MAGIC.starts_with(compressed) {
                true => Cause::CutShort.into(),
                false => Cause::Malformed("not a Zstandard frame".into()).into(),
            });
        }
        let limit = match get_frame_content_size(compressed) {
            Ok(Some(len)) if len > self.max_len as u64 => return Err(self.too_large()),
            Ok(Some(len)) => len as usize,
            Ok(None) => self.max_len,
            Err(cause) => return Err(Cause::Malformed(cause.to_string().into()).into()),
        };
        match find_frame_compressed_size(compressed).map_err(malformed)? {
            len if len < compressed.len() => Err(Cause::LeftOver.into()),
            _ => Ok(limit),
        }
    }
}

fn malformed(code: ErrorCode) -> CompressionError {
    Cause::Malformed(get_error_name(code).into()).into()
}

impl<S: Serializer> Serializer for ZstdSerializer<S> {
    type Sent = S::Sent;
    type Received = S::Received;

    fn serialize(&self, packet: &S::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let start = datagram.len();
        self.serializer.serialize(packet, datagram)?;
        let len = datagram.len() - start;
        if len > self.max_len {
            return Err(self.too_large().into());
        }
        replace(datagram, start, compress_bound(len), |plain, compressed| {
            self.compress(plain, compressed)
        })?;
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<S::Received, BoxError> {
        self.serializer.deserialize(&self.decompress(datagram)?)
    }
}

impl<S: Flip> Flip for ZstdSerializer<S> {
    type Flipped = ZstdSerializer<S::Flipped>;

    fn flip(self) -> Self::Flipped {
        ZstdSerializer {
            serializer: self.serializer.flip(),
            level: self.level,
            max_len: self.max_len,
            compressors: self.compressors,
            decompressors: self.decompressors,
        }
    }
}

impl<S: Clone> Clone for ZstdSerializer<S> {
    fn clone(&self) -> Self {
        Self {
            serializer: self.serializer.clone(),
            level: self.level,
            max_len: self.max_len,
            compressors: Pool::new(),
            decompressors: Pool::new(),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for ZstdSerializer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZstdSerializer")
            .field("serializer", &self.serializer)
            .field("level", &self.level)
            .field("max_len", &self.max_len)
            .finish_non_exhaustive()
    }
}
