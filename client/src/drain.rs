use std::fmt;
use std::iter::FusedIterator;

use crate::{UdpClient, UdpRecvError};

/// The iterator of [`UdpClient::drain`].
#[must_use = "iterators do nothing unless consumed"]
pub struct Drain<'a, Sent, Received> {
    client: &'a UdpClient<Sent, Received>,
    ended: bool,
}

impl<'a, Sent, Received> Drain<'a, Sent, Received> {
    pub(crate) fn new(client: &'a UdpClient<Sent, Received>) -> Self {
        Self {
            client,
            ended: false,
        }
    }
}

impl<Sent: 'static, Received: 'static> Iterator for Drain<'_, Sent, Received> {
    type Item = Result<Received, UdpRecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.client.try_recv();
        // A socket that fails may fail for ever.
        self.ended = matches!(next, None | Some(Err(UdpRecvError::Io(_))));
        next
    }
}

impl<Sent: 'static, Received: 'static> FusedIterator for Drain<'_, Sent, Received> {}

impl<Sent: 'static, Received: 'static> fmt::Debug for Drain<'_, Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("client", self.client)
            .field("ended", &self.ended)
            .finish()
    }
}
