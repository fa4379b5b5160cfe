use std::sync::Arc;

use bytes::BytesMut;

use crate::{DatagramMakeError, DatagramParseError};

/// Makes datagrams from packets and packets from datagrams: what a server or a client is given.
///
/// One object is shared by every client and every worker, so it takes `&self` and keeps no state
/// from one datagram to the next. The trait is object safe: `Arc<dyn Protocol<Sent = A, Received =
/// Q>>` is a protocol too.
///
/// There is seldom a reason to implement it: [`DatagramProtocol`](crate::DatagramProtocol) does,
/// for every [`Serializer`](crate::Serializer).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a protocol object",
    label = "not a `Protocol`",
    note = "make one from a serializer: `DatagramProtocol::new(serializer)`",
    note = "and from a serializer and a converter: `.with_converter(converter)`"
)]
pub trait Protocol: Send + Sync + 'static {
    /// The packets that this end sends.
    type Sent;

    /// The packets that this end receives.
    type Received;

    /// Appends the bytes of exactly one datagram that says `packet`.
    ///
    /// # Errors
    ///
    /// Fails if the packet cannot be said in this protocol. The buffer is then as it was before.
    fn make_datagram(
        &self,
        packet: Self::Sent,
        datagram: &mut BytesMut,
    ) -> Result<(), DatagramMakeError>;

    /// Returns the packet that the whole of `datagram` says. It may be empty.
    ///
    /// # Errors
    ///
    /// Fails if the datagram is no packet, and tells which step refused it.
    fn build_packet(&self, datagram: &[u8]) -> Result<Self::Received, DatagramParseError>;
}

impl<P: Protocol + ?Sized> Protocol for Arc<P> {
    type Sent = P::Sent;
    type Received = P::Received;

    fn make_datagram(
        &self,
        packet: Self::Sent,
        datagram: &mut BytesMut,
    ) -> Result<(), DatagramMakeError> {
        (**self).make_datagram(packet, datagram)
    }

    fn build_packet(&self, datagram: &[u8]) -> Result<Self::Received, DatagramParseError> {
        (**self).build_packet(datagram)
    }
}

impl<P: Protocol + ?Sized> Protocol for Box<P> {
    type Sent = P::Sent;
    type Received = P::Received;

    fn make_datagram(
        &self,
        packet: Self::Sent,
        datagram: &mut BytesMut,
    ) -> Result<(), DatagramMakeError> {
        (**self).make_datagram(packet, datagram)
    }

    fn build_packet(&self, datagram: &[u8]) -> Result<Self::Received, DatagramParseError> {
        (**self).build_packet(datagram)
    }
}
