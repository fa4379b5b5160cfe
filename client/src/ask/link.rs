use std::io;
use std::pin::Pin;
use std::sync::Arc;

use crate::shared::{Shared, failure};
use crate::{UdpRecvError, UdpSendError};

/// What questions are sent and answers received with: the shared half of a client, or a test's.
pub(crate) trait Link: Send + Sync + 'static {
    type Sent: 'static;
    type Received: Send + 'static;

    /// The datagram of a packet, to be sent several times.
    fn encode(&self, packet: Self::Sent, limit: usize) -> Result<Box<[u8]>, UdpSendError>;

    /// Sends a datagram. Dropping the future before it is ready sends nothing.
    fn send(&self, datagram: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Receives what is there.
    fn try_recv(&self) -> Option<Result<Self::Received, UdpRecvError>>;

    /// Waits until there may be something to receive.
    fn arrival(self: Arc<Self>) -> Arrival;
}

pub(crate) type Arrival = Pin<Box<dyn Future<Output = Result<(), UdpRecvError>> + Send>>;

impl<Sent: 'static, Received: Send + 'static> Link for Shared<Sent, Received> {
    type Sent = Sent;
    type Received = Received;

    fn encode(&self, packet: Sent, limit: usize) -> Result<Box<[u8]>, UdpSendError> {
        self.encoded(packet, limit)
    }

    async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram).await
    }

    fn try_recv(&self) -> Option<Result<Received, UdpRecvError>> {
        Self::try_recv(self)
    }

    fn arrival(self: Arc<Self>) -> Arrival {
        Box::pin(async move { self.socket.arrival().await.map_err(failure) })
    }
}
