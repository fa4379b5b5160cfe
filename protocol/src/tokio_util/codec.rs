use std::io;

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::{DatagramMakeError, DatagramParseError, Protocol};

/// A protocol object as a tokio-util codec, for its `UdpFramed`.
///
/// It has none of the traps that codecs for streams have there: an empty datagram is delivered, and
/// once; what is no packet is one error, of the whole datagram, and the next is read; a packet that
/// cannot be sent leaves nothing behind.
///
/// `UdpFramed` itself keeps two: it does not tell who sent what is no packet, and a datagram that
/// the socket refuses is tried again for ever.
///
/// Over a stream (`Framed`) the whole stream is one packet, at its end.
///
/// It allocates what the protocol object allocates, and nothing itself.
///
/// # Examples
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{DatagramProtocol, ProtocolCodec, RawSerializer};
/// use tokio_util::codec::{Decoder, Encoder};
///
/// // `UdpFramed::new(socket, codec)` does this:
/// let mut codec = ProtocolCodec::new(DatagramProtocol::new(RawSerializer));
///
/// let mut datagram = BytesMut::new();
/// codec.encode(Bytes::from_static(b"ping"), &mut datagram)?;
/// assert_eq!(codec.decode_eof(&mut datagram)?, Some(Bytes::from_static(b"ping")));
/// assert_eq!(codec.decode_eof(&mut datagram)?, None);
/// # Ok::<(), postbox_protocol::ProtocolCodecError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProtocolCodec<P> {
    protocol: P,
    /// The datagram in the buffer was told: the next call is told its end.
    told: bool,
}

impl<P> ProtocolCodec<P> {
    /// Returns the codec that speaks `protocol`.
    pub const fn new(protocol: P) -> Self {
        Self {
            protocol,
            told: false,
        }
    }
}

impl<P: Protocol> Encoder<P::Sent> for ProtocolCodec<P> {
    type Error = ProtocolCodecError;

    fn encode(&mut self, packet: P::Sent, datagram: &mut BytesMut) -> Result<(), Self::Error> {
        Ok(self.protocol.make_datagram(packet, datagram)?)
    }
}

impl<P: Protocol> Decoder for ProtocolCodec<P> {
    type Item = P::Received;
    type Error = ProtocolCodecError;

    /// Waits for the end: only then is the datagram whole.
    fn decode(&mut self, _: &mut BytesMut) -> Result<Option<P::Received>, Self::Error> {
        Ok(None)
    }

    fn decode_eof(&mut self, datagram: &mut BytesMut) -> Result<Option<P::Received>, Self::Error> {
        // `UdpFramed` asks again until there is nothing more, also after an error.
        if self.told {
            self.told = false;
            return Ok(None);
        }
        self.told = true;
        let packet = self.protocol.build_packet(datagram);
        datagram.clear();
        Ok(Some(packet?))
    }
}

/// Why a [`ProtocolCodec`] did not send or receive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolCodecError {
    /// What was received is no packet.
    #[error(transparent)]
    Parse(#[from] DatagramParseError),

    /// The packet cannot be sent.
    #[error(transparent)]
    Make(#[from] DatagramMakeError),

    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
