//! A client's socket on the network in memory.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use crate::datagram::Marks;
use crate::flight::ArrivalTimer;
use crate::network::{check_len, specified};
use crate::{Ecn, MemoryNetwork};

/// A socket of bytes on a [`MemoryNetwork`].
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
    pub(crate) fn new(network: MemoryNetwork, addr: SocketAddr) -> Self {
        let marks = Mutex::default();
        Self {
            network,
            addr,
            marks,
        }
    }

    /// Sets the hop limit with which what is sent from now on arrives: what a server tells where it
    /// asks for it (`ServerBuilder::recv_hop_limit`). 64 by default; the network has no routers, so
    /// it stays as it is.
    pub fn set_hop_limit(&self, hops: u8) {
        self.marks().hop_limit = hops;
    }

    /// Sets what the datagrams say of congestion that are sent from now on: what a server tells
    /// where it asks for it (`ServerBuilder::recv_ecn`). [`Ecn::NotEct`] by default.
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

    /// Connects it: from now on it receives only what `peer` sends, and what others have sent is
    /// dropped. Of the unspecified address that is the loopback one.
    pub fn connect(&self, peer: SocketAddr) {
        let mut state = self.network.lock();
        if let Some(queue) = state.queue(self.addr, 0) {
            queue.connect(specified(peer));
        }
    }

    /// Returns whom it is [connected](Self::connect) to.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        let mut state = self.network.lock();
        state.queue(self.addr, 0).and_then(|queue| queue.peer)
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
    /// As [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no datagram.
    pub async fn recv_from(&self) -> io::Result<(Vec<u8>, SocketAddr)> {
        loop {
            match self.try_recv_from() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable().await,
                result => return result,
            }
        }
    }

    /// Waits until a datagram is there. Another task may be faster to receive it.
    ///
    /// # Panics
    ///
    /// If it has to wait for a datagram that is [delayed](crate::Conditions::delay), outside of a
    /// tokio runtime, or in one without its time enabled.
    ///
    /// # Cancel safety
    ///
    /// It takes nothing.
    pub async fn readable(&self) {
        let mut timer = ArrivalTimer::default();
        poll_fn(|cx| {
            loop {
                let waker = cx.waker().clone(); // foreign code: not under the lock
                let mut state = self.network.lock();
                let Some(queue) = state.queue(self.addr, 0) else {
                    return Poll::Ready(());
                };
                if !queue.datagrams.is_empty() {
                    return Poll::Ready(());
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
        .await;
    }

    /// Receives a datagram that is there already.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none.
    pub fn try_recv_from(&self) -> io::Result<(Vec<u8>, SocketAddr)> {
        let mut state = self.network.lock();
        let queue = state.queue(self.addr, 0);
        let datagram = queue
            .ok_or(io::ErrorKind::NotConnected)?
            .datagrams
            .pop_front();
        let datagram = datagram.ok_or(io::ErrorKind::WouldBlock)?;
        Ok((datagram.payload, datagram.source))
    }
}

impl Drop for MemorySocket {
    fn drop(&mut self) {
        let queue = self.network.lock().release(self.addr, 0);
        drop(queue); // wakers are foreign code: not under the lock
    }
}
