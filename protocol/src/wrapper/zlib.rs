use std::fmt;

use bytes::BytesMut;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::compression::{Cause, CompressionError, MAX_LEN};
use super::pool::Pool;
use super::replace::replace;
use crate::{BoxError, Flip, Serializer};

/// Compresses the datagram with zlib (RFC 1950), which is read everywhere.
///
/// EasyNetwork's `ZlibCompressorSerializer` reads what it writes, and it reads that one's.
///
/// The whole datagram is one zlib stream. Bytes left over, a stream cut short, a wrong checksum, a
/// preset dictionary and a reference to bytes before the first are errors.
///
/// **A bomb is refused before it is inflated**: at most [`max_len`](Self::with_max_len) bytes come
/// out of a datagram, by default 65,536, and one more is the error. This end does not send more
/// either, so that its packets can be read by a peer that is set up alike.
///
/// **What a stranger can make it cost**: about 15 ms of a core for a datagram of 64 KB, measured,
/// of nothing but the heads of blocks, where an ordinary one takes less than 1 ms. No bound on the
/// length before compression helps against that. What authenticates (`SignedSerializer`, or
/// `EncryptedSerializer`, but see below) belongs outside of compression, so that strangers never
/// reach it. A server that expects shorter datagrams says so (`Limits::receive_datagram` of
/// `postbox-server`), since the cost grows with the length. Never put a compressor within a
/// compressor: a few hundred bytes then stand for such a datagram of 64 KB.
///
/// Do not compress and then encrypt what holds a secret beside text that an attacker chooses: the
/// length tells whether the two are alike.
///
/// **Overhead:** datagrams usually become shorter. One that cannot gets at most 11 bytes longer up
/// to 31 KiB, 21 up to 64 KiB (70 at level 1). A few dozen bytes seldom become shorter.
///
/// **Memory:** about 300 KiB for each thread that compresses at the same time as others, and 50 KiB
/// for each that decompresses, kept until the serializer is dropped. Sending allocates nothing
/// more, receiving a buffer of four times what was received, of at least 256 bytes and never of
/// more than `max_len` and one. Where that is too small, one four times as large takes its place.
///
/// # Examples
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{RawSerializer, Serializer, ZlibSerializer};
///
/// let serializer = ZlibSerializer::new(RawSerializer);
/// let packet = Bytes::from("again and ".repeat(100));
///
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&packet, &mut datagram)?;
/// assert!(datagram.len() < 40);
/// assert_eq!(serializer.deserialize(&datagram)?, packet);
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
pub struct ZlibSerializer<S> {
    serializer: S,
    level: Compression,
    max_len: usize,
    compressors: Pool<Compress>,
    decompressors: Pool<Decompress>,
}

impl<S> ZlibSerializer<S> {
    /// Compresses the datagrams of `serializer`.
    pub const fn new(serializer: S) -> Self {
        Self {
            serializer,
            level: Compression::new(6),
            max_len: MAX_LEN,
            compressors: Pool::new(),
            decompressors: Pool::new(),
        }
    }

    /// Compresses at `level`, from 0 (not at all) to 9, which is slower and seldom shorter. The
    /// default is 6; every level reads every other. What is above 9 counts as 9.
    #[must_use]
    pub fn with_level(mut self, level: u32) -> Self {
        self.level = Compression::new(level.min(9));
        // Those that are there have their level.
        self.compressors = Pool::new();
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
        let make = || Ok(Compress::new(self.level, true));
        self.compressors.with(make, |compressor| {
            compressor.reset();
            let status = compressor
                .compress(plain, compressed, FlushCompress::Finish)
                .map_err(|cause| Cause::Compress(cause.into()))?;
            match status {
                // Less than there was room for.
                Status::StreamEnd => Ok(compressor.total_out() as usize),
                Status::Ok | Status::BufError => {
                    Err(Cause::Compress("the compressor did not finish".into()).into())
                }
            }
        })
    }

    fn decompress(&self, compressed: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let make = || Ok(Decompress::new(true));
        self.decompressors.with(make, |decompressor| {
            // One byte more than is allowed, which is the one that tells a bomb.
            let limit = self.max_len.saturating_add(1);
            let mut capacity = limit.min(compressed.len().saturating_mul(4).max(256));
            loop {
                decompressor.reset(true);
                let mut plain = Vec::with_capacity(capacity);
                // The whole in one go, and again where there was no room for it. In pieces,
                // miniz_oxide does not notice what refers to bytes before the first: it takes them
                // for zeros.
                let status = decompressor
                    .decompress_vec(compressed, &mut plain, FlushDecompress::Finish)
                    .map_err(|cause| Cause::Malformed(cause.into()))?;
                match status {
                    Status::StreamEnd if plain.len() > self.max_len => return Err(self.too_large()),
                    Status::StreamEnd if decompressor.total_in() < compressed.len() as u64 => {
                        return Err(Cause::LeftOver.into());
                    }
                    Status::StreamEnd => return Ok(plain),
                    _ if plain.len() < plain.capacity() => return Err(Cause::CutShort.into()),
                    _ if capacity == limit => return Err(self.too_large()),
                    _ => capacity = limit.min(capacity.saturating_mul(4)),
                }
            }
        })
    }
}

impl<S: Serializer> Serializer for ZlibSerializer<S> {
    type Sent = S::Sent;
    type Received = S::Received;

    fn serialize(&self, packet: &S::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let start = datagram.len();
        self.serializer.serialize(packet, datagram)?;
        let len = datagram.len() - start;
        if len > self.max_len {
            return Err(self.too_large().into());
        }
        // More than any compressor that flate2 can be built with needs at worst.
        let room = len + len / 7 + 128;
        replace(datagram, start, room, |plain, compressed| {
            self.compress(plain, compressed)
        })?;
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<S::Received, BoxError> {
        self.serializer.deserialize(&self.decompress(datagram)?)
    }
}

impl<S: Flip> Flip for ZlibSerializer<S> {
    type Flipped = ZlibSerializer<S::Flipped>;

    fn flip(self) -> Self::Flipped {
        ZlibSerializer {
            serializer: self.serializer.flip(),
            level: self.level,
            max_len: self.max_len,
            compressors: self.compressors,
            decompressors: self.decompressors,
        }
    }
}

impl<S: Clone> Clone for ZlibSerializer<S> {
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

impl<S: fmt::Debug> fmt::Debug for ZlibSerializer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZlibSerializer")
            .field("serializer", &self.serializer)
            .field("level", &self.level.level())
            .field("max_len", &self.max_len)
            .finish_non_exhaustive()
    }
}
