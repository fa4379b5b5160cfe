//! A protocol object at work, which may panic.

use bytes::BytesMut;
use postbox_protocol::{Protocol, panics};

use crate::{UdpRecvError, UdpSendError};

/// Writes the datagram of a packet, of at most `limit` bytes, into an empty buffer.
pub(crate) fn encode<P: Protocol + ?Sized>(
    protocol: &P,
    packet: P::Sent,
    limit: usize,
    datagram: &mut BytesMut,
) -> Result<(), UdpSendError> {
    match panics::catch(|| protocol.make_datagram(packet, datagram)) {
        Ok(Ok(())) => match datagram.len() {
            len if len > limit => Err(UdpSendError::TooLarge { len, limit }),
            _ => Ok(()),
        },
        Ok(Err(error)) => Err(UdpSendError::Make(error)),
        Err(message) => Err(UdpSendError::Crashed { message }),
    }
}

/// Reads the packet of a datagram.
pub(crate) fn decode<P: Protocol + ?Sized>(
    protocol: &P,
    datagram: &[u8],
) -> Result<P::Received, UdpRecvError> {
    match panics::catch(|| protocol.build_packet(datagram)) {
        Ok(result) => result.map_err(UdpRecvError::Parse),
        Err(message) => Err(UdpRecvError::Crashed { message }),
    }
}
