//! Flushes, and what the network said of the datagrams that they wait for.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::FlushError;
use crate::handler::ClientKey;

/// One call of `flush`: a place where the worker leaves the result.
#[derive(Debug, Default)]
pub(crate) struct Flush(Mutex<FlushState>);

#[derive(Debug, Default)]
struct FlushState {
    result: Option<Result<(), FlushError>>,
    waiting: Option<Waker>,
}

impl Flush {
    fn lock(&self) -> MutexGuard<'_, FlushState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn complete(&self, result: Result<(), FlushError>) {
        let waker = {
            let mut state = self.lock();
            state.result.get_or_insert(result);
            state.waiting.take()
        };
        waker.into_iter().for_each(crate::support::panics::wake);
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<(), FlushError>> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if let Some(result) = state.result.take() {
            return Poll::Ready(result);
        }
        let replaced = state.waiting.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

/// Who waits for a flush. Dropped before its end, it takes its waker along: what is left in the
/// outbox then holds no foreign code, and can be forgotten under a lock.
pub(crate) struct Flushing(pub(crate) Arc<Flush>);

impl Drop for Flushing {
    fn drop(&mut self) {
        let waker = self.0.lock().waiting.take();
        drop(waker);
    }
}

/// The last send_failures, each kept for its client's next flush.
#[derive(Debug, Default)]
pub(crate) struct SendFailures(VecDeque<(Refused, io::Error)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Client(ClientKey),
    /// Said by ICMP, which does not know whence the datagram left: any client with this address.
    Remote(SocketAddr),
}

impl SendFailures {
    /// Clients that never flush must not fill the memory: the oldest refusal goes.
    const KEPT: usize = 256;

    /// The system refused a datagram to this client.
    pub(crate) fn keep(&mut self, client: ClientKey, error: io::Error) {
        self.add(Refused::Client(client), error);
    }

    /// A datagram to this address left, and did not arrive.
    pub(crate) fn keep_icmp(&mut self, remote: SocketAddr, error: io::Error) {
        self.add(Refused::Remote(remote), error);
    }

    fn add(&mut self, refused: Refused, error: io::Error) {
        self.0.retain(|(other, _)| *other != refused);
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back((refused, error));
    }

    pub(crate) fn take(&mut self, client: &ClientKey) -> Result<(), FlushError> {
        let is_its = |(refused, _): &(Refused, io::Error)| match refused {
            Refused::Client(other) => other == client,
            Refused::Remote(remote) => *remote == client.remote,
        };
        match self.0.iter().position(is_its) {
            Some(at) => match self.0.remove(at) {
                Some((_, error)) => Err(FlushError::Io(error)),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SessionTag;

    fn client(port: u16) -> ClientKey {
        ClientKey {
            remote: ([192, 0, 2, 1], port).into(),
            local: None,
            session: SessionTag::ADDRESS,
        }
    }

    fn poll(flush: &Flush) -> Option<Result<(), FlushError>> {
        match flush.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    #[test]
    fn v7_flushing_wakes_who_polled_last_and_tells_the_first_result() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        struct Bell(AtomicUsize);
        impl std::task::Wake for Bell {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let bells = [(); 2].map(|()| Arc::new(Bell(AtomicUsize::new(0))));
        let flush = Flush::default();
        for bell in &bells {
            let waker = Waker::from(Arc::clone(bell));
            assert!(flush.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        flush.complete(Ok(()));
        flush.complete(Err(FlushError::Closed));
        let rings = bells.map(|bell| bell.0.load(Ordering::Relaxed));
        assert_eq!(rings, [0, 1]);
        assert!(matches!(poll(&flush), Some(Ok(()))));
    }

    #[test]
    fn v7_a_refusal_is_told_once_to_its_own_client() {
        let mut send_failures = SendFailures::default();
        let said = |result: Result<(), FlushError>| match result {
            Err(FlushError::Io(error)) => Some(error.kind()),
            Err(FlushError::Closed) => panic!("not closed"),
            Ok(()) => None,
        };
        send_failures.keep(client(1), io::ErrorKind::PermissionDenied.into());
        send_failures.keep(client(2), io::ErrorKind::NetworkUnreachable.into());
        send_failures.keep(client(1), io::ErrorKind::HostUnreachable.into());
        assert_eq!(said(send_failures.take(&client(3))), None);
        let last = Some(io::ErrorKind::HostUnreachable);
        assert_eq!(said(send_failures.take(&client(1))), last);
        assert_eq!(said(send_failures.take(&client(1))), None);
        let other = Some(io::ErrorKind::NetworkUnreachable);
        assert_eq!(said(send_failures.take(&client(2))), other);
        // ICMP knows the address, and not whence the datagram left.
        send_failures.keep_icmp(client(1).remote, io::ErrorKind::ConnectionRefused.into());
        assert_eq!(said(send_failures.take(&client(2))), None);
        let icmp = Some(io::ErrorKind::ConnectionRefused);
        assert_eq!(said(send_failures.take(&client(1))), icmp);
        assert_eq!(said(send_failures.take(&client(1))), None);
    }

    #[test]
    fn l1_refusals_that_nobody_asks_for_are_bounded() {
        let mut send_failures = SendFailures::default();
        for port in 0..1000 {
            send_failures.keep(client(port), io::ErrorKind::PermissionDenied.into());
        }
        assert_eq!(send_failures.0.len(), SendFailures::KEPT);
        assert!(send_failures.take(&client(0)).is_ok(), "the oldest went");
        assert!(send_failures.take(&client(999)).is_err());
    }
}
