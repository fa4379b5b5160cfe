use std::fmt;
use std::marker::PhantomData;

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::{BoxError, Flip, Serializer};

/// A tokio-util `Encoder` and `Decoder` as a serializer: one frame is one datagram.
///
/// Codecs are made for streams. Here the whole datagram has to be exactly one frame:
///
/// - the empty datagram is given to the decoder too, which may take it for a frame;
/// - a decoder that wants more is an error (it is asked with
///   [`decode`](Decoder::decode): nothing ends early because nothing follows);
/// - bytes that it leaves over are an error.
///
/// Codecs may change as they work and serializers may not, so every datagram gets a copy of the two
/// as they were given: what a codec remembers from one frame to the next has no effect. An encoder
/// takes its packets by value, so they are cloned.
///
/// The end mark is that of the codec: with `LinesCodec` a datagram cut short is refused, with
/// `BytesCodec` it is just other bytes, except that it takes no empty ones.
///
/// It flips where encoder and decoder are one codec, of one type of packet, and returns itself: the
/// two have to be configured alike, so that what the one writes the other reads. For all others
/// make the other side of what that side writes and reads:
///
/// ```compile_fail
/// use postbox_protocol::{CodecSerializer, Flip};
/// use tokio_util::codec::{BytesCodec, LengthDelimitedCodec};
///
/// // Writes no length, and reads one: the other side is not in it.
/// CodecSerializer::<_, _, bytes::BytesMut>::new(BytesCodec::new(), LengthDelimitedCodec::new())
///     .flip();
/// ```
///
/// **Memory:** a copy of the datagram, and what the codec and the copies take.
/// `LengthDelimitedCodec` makes room for a frame as long as the datagram claims, up to its
/// `max_frame_length`, which is 8 MiB unless it is set: set it to the longest packet.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use postbox_protocol::{CodecSerializer, Serializer};
/// use tokio_util::codec::LinesCodec;
///
/// let serializer = CodecSerializer::<_, _, String>::new(LinesCodec::new(), LinesCodec::new());
///
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&"hello".to_owned(), &mut datagram)?;
/// assert_eq!(datagram, "hello\n");
/// assert_eq!(serializer.deserialize(b"hello\n")?, "hello");
/// assert!(serializer.deserialize(b"hello").is_err());
/// assert!(serializer.deserialize(b"one\ntwo\n").is_err());
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
pub struct CodecSerializer<E, D, Sent> {
    encoder: E,
    decoder: D,
    sent: PhantomData<fn(Sent)>,
}

impl<E, D, Sent> CodecSerializer<E, D, Sent> {
    /// Returns the serializer that writes with `encoder` and reads with `decoder`.
    pub const fn new(encoder: E, decoder: D) -> Self {
        Self {
            encoder,
            decoder,
            sent: PhantomData,
        }
    }
}

impl<E, D, Sent> Serializer for CodecSerializer<E, D, Sent>
where
    E: Encoder<Sent, Error: Into<BoxError>> + Clone + Send + Sync + 'static,
    D: Decoder<Error: Into<BoxError>> + Clone + Send + Sync + 'static,
    Sent: Clone + 'static,
{
    type Sent = Sent;
    type Received = D::Item;

    fn serialize(&self, packet: &Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        // An encoder may count on a buffer of its own, or change what stands in it.
        if datagram.is_empty() {
            return self.encode(packet, datagram);
        }
        let mut frame = BytesMut::new();
        self.encode(packet, &mut frame)?;
        datagram.extend_from_slice(&frame);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<D::Item, BoxError> {
        let mut rest = BytesMut::from(datagram);
        match self.decoder.clone().decode(&mut rest).map_err(Into::into)? {
            Some(_) if !rest.is_empty() => Err(CodecError(Cause::LeftOver(rest.len())).into()),
            Some(packet) => Ok(packet),
            None => Err(CodecError(Cause::CutShort).into()),
        }
    }
}

impl<E: Encoder<Sent, Error: Into<BoxError>> + Clone, D, Sent: Clone> CodecSerializer<E, D, Sent> {
    fn encode(&self, packet: &Sent, frame: &mut BytesMut) -> Result<(), BoxError> {
        self.encoder
            .clone()
            .encode(packet.clone(), frame)
            .map_err(Into::into)
    }
}

// Of two types each may have a format of its own, which the other does not know.
impl<C: Decoder> Flip for CodecSerializer<C, C, C::Item> {
    type Flipped = Self;

    fn flip(self) -> Self {
        self
    }
}

impl<E: Clone, D: Clone, Sent> Clone for CodecSerializer<E, D, Sent> {
    fn clone(&self) -> Self {
        Self::new(self.encoder.clone(), self.decoder.clone())
    }
}

impl<E: fmt::Debug, D: fmt::Debug, Sent> fmt::Debug for CodecSerializer<E, D, Sent> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodecSerializer")
            .field("encoder", &self.encoder)
            .field("decoder", &self.decoder)
            .finish()
    }
}

/// A datagram is not exactly one frame of the decoder of a [`CodecSerializer`].
///
/// Where the decoder itself fails, its own error is told instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct CodecError(Cause);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Cause {
    #[error("the frame is cut short")]
    CutShort,

    #[error("{0} bytes are left over after the frame")]
    LeftOver(usize),
}
