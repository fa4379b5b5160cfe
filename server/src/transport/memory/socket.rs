//! A client's socket on the network in memory.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use super::flight::ArrivalTimer;
use super::network::check_len;
use super::{Marks, MemoryNetwork};
use crate::transport::Ecn;

/// A client's socket on a [`MemoryNetwork`].
///
/// It can be used from several tasks at once, on any async runtime or on none. Where datagrams are
/// [delayed](crate::Conditions::delay) it receives in a tokio runtime.
#[derive(Debug)]
pub struct MemorySocket {
    network: MemoryNetwork,
    addr: SocketAddr,
    marks: Mutex<Marks>,
}

impl MemorySocket {
    /// Takes over an address that was claimed for it.
    pub(super) fn new(network: MemoryNetwork, addr: SocketAddr) -> Self {
        let marks = Mutex::default();
        Self {
            network,
            addr,
            marks,
        }
    }

    /// Sets the hop limit with which what is sent from now on arrives: what a server tells where it
    /// [asks for it](crate::ServerBuilder::recv_hop_limit). 64 by default; the network has no
    /// routers, so it stays as it is.
    pub fn set_hop_limit(&self, hops: u8) {
        self.marks().hop_limit = hops;
    }

    /// Sets what the datagrams say of congestion that are sent from now on: what a server tells
    /// where it [asks for it](crate::ServerBuilder::recv_ecn). [`Ecn::NotEct`] by default.
    pub fn set_ecn(&self, ecn: Ecn) {
        self.marks().ecn = ecn;
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the address that answers are sent to.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends a datagram. One that nobody receives is lost, which is no error.
    ///
    /// # Errors
    ///
    /// An error if the datagram is longer than UDP allows.
    pub fn send_to(&self, datagram: &[u8], destination: SocketAddr) -> io::Result<()> {
        check_len(datagram.len(), destination)?;
        let marks = *self.marks();
        self.network
            .deliver(self.addr, datagram, datagram.len(), destination, marks);
        Ok(())
    }

    /// Receives the next datagram, and tells who sent it.
    ///
    /// # Errors
    ///
    /// None today.
    ///
    /// # Panics
    ///
    /// If it has to wait for a datagram that is [delayed](crate::Conditions::delay), outside of a
    /// tokio runtime, or in one without its time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no datagram.
    pub async fn recv_from(&self) -> io::Result<(Vec<u8>, SocketAddr)> {
        let mut timer = ArrivalTimer::default();
        poll_fn(|cx| {
            loop {
                let waker = cx.waker().clone(); // foreign code: not under the lock
                let mut state = self.network.lock();
                let Some(queue) = state.queue(self.addr, 0) else {
                    return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
                };
                if let Some(datagram) = queue.datagrams.pop_front() {
                    return Poll::Ready(Ok((datagram.payload, datagram.source)));
                }
                // All who wait are woken by each datagram: should one of them have lost interest,
                // another gets it.
                if !queue.wakers.iter().any(|known| known.will_wake(&waker)) {
                    queue.wakers.push(waker);
                }
                let due = queue.flight.next();
                drop(state);
                ready!(timer.poll(due, cx));
            }
        })
        .await
    }

    /// Receives a datagram that is there already.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none.
    pub fn try_recv_from(&self) -> io::Result<(Vec<u8>, SocketAddr)> {
        let mut state = self.network.lock();
        let queue = state.queue(self.addr, 0);
        match queue.and_then(|queue| queue.datagrams.pop_front()) {
            Some(datagram) => Ok((datagram.payload, datagram.source)),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Drop for MemorySocket {
    fn drop(&mut self) {
        let queue = self.network.lock().release(self.addr, 0);
        drop(queue); // wakers are foreign code: not under the lock
    }
}
