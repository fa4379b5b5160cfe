use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::{UdpClient, UdpRecvError};

/// A receive that has begun. It is one future over all its polls, so that several clones can wait
/// at the same time.
pub(crate) type Wait<Received> =
    Option<Pin<Box<dyn Future<Output = Result<Received, UdpRecvError>> + Send + Sync>>>;

impl<Sent: 'static, Received: 'static> Stream for UdpClient<Sent, Received> {
    type Item = Result<Received, UdpRecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let wait = this.wait.get_or_insert_with(|| {
            let shared = Arc::clone(&this.shared);
            Box::pin(async move { shared.recv().await })
        });
        let result = ready!(wait.as_mut().poll(cx));
        this.wait = None;
        Poll::Ready(Some(result))
    }
}
