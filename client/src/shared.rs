use std::io;

use postbox_protocol::Protocol;
use tokio::task::coop;

use crate::codec::{decode, encode};
use crate::endpoint::Endpoint;
use crate::socket::is_refusal;
use crate::{UdpRecvError, UdpSendError, scratch};

/// What the clones of a client share: packets on one side, datagrams on the other.
pub(crate) struct Shared<Sent, Received> {
    pub(crate) socket: Endpoint,
    protocol: Box<dyn Protocol<Sent = Sent, Received = Received>>,
}

impl<Sent: 'static, Received: 'static> Shared<Sent, Received> {
    pub(crate) fn new(
        socket: Endpoint,
        protocol: Box<dyn Protocol<Sent = Sent, Received = Received>>,
    ) -> Self {
        Self { socket, protocol }
    }

    pub(crate) async fn send(&self, packet: Sent, limit: usize) -> Result<(), UdpSendError> {
        let mut datagram = scratch::take_encoding();
        let result = match encode(&*self.protocol, packet, limit, &mut datagram) {
            Ok(()) => self.socket.send(&datagram).await.map_err(UdpSendError::Io),
            failed => failed,
        };
        scratch::put_encoding(datagram);
        result
    }

    /// The datagram of a packet, to be sent several times.
    pub(crate) fn encoded(&self, packet: Sent, limit: usize) -> Result<Box<[u8]>, UdpSendError> {
        let mut datagram = scratch::take_encoding();
        let result = encode(&*self.protocol, packet, limit, &mut datagram);
        let result = result.map(|()| Box::from(&datagram[..]));
        scratch::put_encoding(datagram);
        result
    }

    pub(crate) async fn recv(&self) -> Result<Received, UdpRecvError> {
        // A server that sends without a pause must not keep the other tasks from running.
        coop::consume_budget().await;
        loop {
            if let Some(result) = self.try_recv() {
                return result;
            }
            self.socket.arrival().await.map_err(failure)?;
        }
    }

    pub(crate) fn try_recv(&self) -> Option<Result<Received, UdpRecvError>> {
        let mut buffer = scratch::take_receiving();
        let result = match self.socket.try_recv(&mut buffer) {
            Ok(len) => Some(decode(&*self.protocol, &buffer[..len])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(failure(error))),
        };
        scratch::put_receiving(buffer);
        result
    }
}

pub(crate) fn failure(error: io::Error) -> UdpRecvError {
    if is_refusal(&error) {
        UdpRecvError::Refused
    } else {
        UdpRecvError::Io(error)
    }
}
