//! A server's end of the network: what a socket is elsewhere.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use crate::datagram::{Datagram, Marks};
use crate::flight::ArrivalTimer;
use crate::network::check_len;
use crate::queue::QUEUE_LEN;
use crate::state::Clock;
use crate::{Ecn, MemoryNetwork};

/// One member of the group that shares an address, which is one worker of a server.
///
/// It keeps what arrives, within bounds, also while nobody serves it, and frees its address when
/// dropped.
#[derive(Debug)]
pub struct Member {
    network: MemoryNetwork,
    addr: SocketAddr,
    number: usize,
}

/// What a server is told of a datagram.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// Where it was sent to.
    pub destination: SocketAddr,
    /// Its bytes, or those of several that arrived as one.
    pub payload: &'a [u8],
    /// The length of each of those, but the last.
    pub segment: usize,
    /// Its end was lost on the way.
    pub cut: bool,
    /// As in its IP header.
    pub hop_limit: u8,
    /// As in its IP header.
    pub ecn: Ecn,
    /// When it arrived, by the network's clock, where the server asks for that.
    pub arrived: Option<SystemTime>,
}

impl Member {
    /// How many datagrams may wait at most.
    pub const QUEUE_LEN: usize = QUEUE_LEN;

    /// Takes an address for so many members; each client's datagrams go to one of them. With
    /// `stamps` they tell when each datagram arrived.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if somebody has that address.
    pub fn bind(
        network: &MemoryNetwork,
        addr: SocketAddr,
        members: usize,
        stamps: bool,
    ) -> io::Result<Vec<Self>> {
        let members = members.max(1);
        let mut state = network.lock();
        let addr = state.claim(addr, members)?;
        if stamps {
            state.clock(); // begins
            let group = state.addresses.group(addr);
            group.iter_mut().for_each(|queue| queue.stamps = true);
        }
        drop(state);
        let member = |number| Self {
            network: network.clone(),
            addr,
            number,
        };
        Ok((0..members).map(member).collect())
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many datagrams were lost for want of room.
    pub fn lost(&self) -> u64 {
        let mut state = self.network.lock();
        let queue = state.queue(self.addr, self.number);
        queue.map_or(0, |queue| queue.lost)
    }

    /// Begins to be served.
    ///
    /// # Errors
    ///
    /// What the network was told to [fail with](MemoryNetwork::fail_opens).
    pub fn open(&self) -> io::Result<()> {
        let error = self.network.lock().faults.take_open(self.addr);
        error.map_or(Ok(()), Err)
    }

    /// Hands out what is there, `most` datagrams at the most, and answers how many: at least one.
    /// The network is locked meanwhile. One task receives: only its latest waker counts.
    ///
    /// # Errors
    ///
    /// What the network was told to [fail with](MemoryNetwork::fail_receives).
    ///
    /// # Panics
    ///
    /// If it was [told to](MemoryNetwork::panic_at_receive).
    pub fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        timer: &mut ArrivalTimer,
        most: usize,
        mut take: impl FnMut(&Received<'_>),
    ) -> Poll<io::Result<usize>> {
        loop {
            let waker = cx.waker().clone();
            let mut state = self.network.lock();
            if state.faults.take_panic(self.addr) {
                drop(state);
                panic!("receiving was told to panic");
            }
            if let Some(error) = state.faults.take_receive(self.addr) {
                return Poll::Ready(Err(error));
            }
            let clock = state.clock;
            let Some(queue) = state.queue(self.addr, self.number) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let count = queue.datagrams.len().min(most);
            if count > 0 {
                let stamps = clock.filter(|_| queue.stamps);
                for datagram in queue.datagrams.drain(..count) {
                    take(&Received::new(&datagram, stamps));
                }
                return Poll::Ready(Ok(count));
            }
            let old = std::mem::replace(&mut queue.wakers, vec![waker]);
            let due = queue.flight.next();
            drop(state);
            drop(old); // foreign code, like all of a waker: not under the lock
            ready!(timer.poll(due, cx));
        }
    }

    /// Sends a datagram from `source`, which is another address than its own on a wildcard bind.
    ///
    /// Pending where nothing can leave, as [told](MemoryNetwork::block_sends).
    ///
    /// # Errors
    ///
    /// An error if the datagram is longer than UDP allows, and what the network was told to [fail
    /// with](MemoryNetwork::fail_sends).
    pub fn poll_send(
        &self,
        cx: &mut Context<'_>,
        source: SocketAddr,
        payload: &[u8],
        destination: SocketAddr,
    ) -> Poll<io::Result<()>> {
        let fault = ready!(self.poll_fault(cx, destination));
        if let Some(error) = fault.or_else(|| check_len(payload.len(), destination).err()) {
            return Poll::Ready(Err(error));
        }
        let marks = Marks::default();
        self.network
            .deliver(source, payload, payload.len(), destination, marks);
        Poll::Ready(Ok(()))
    }

    /// What a send to `destination` is to fail with, once anything can leave.
    fn poll_fault(&self, cx: &mut Context<'_>, destination: SocketAddr) -> Poll<Option<io::Error>> {
        let state = self.network.lock();
        if !state.faults.is_blocked(self.addr) {
            return Poll::Ready(state.faults.send_error(destination));
        }
        drop(state);
        let waker = cx.waker().clone(); // foreign code: not under the lock
        let mut state = self.network.lock();
        if !state.faults.is_blocked(self.addr) {
            return Poll::Ready(state.faults.send_error(destination));
        }
        let queue = state.queue(self.addr, self.number);
        let old = queue.and_then(|queue| queue.blocked.replace(waker));
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let queue = self.network.lock().release(self.addr, self.number);
        drop(queue); // wakers are foreign code: not under the lock
    }
}

impl<'a> Received<'a> {
    fn new(datagram: &'a Datagram, clock: Option<Clock>) -> Self {
        Self {
            source: datagram.source,
            destination: datagram.destination,
            payload: &datagram.payload,
            segment: datagram.segment as usize,
            cut: datagram.cut,
            hop_limit: datagram.marks.hop_limit,
            ecn: datagram.marks.ecn,
            arrived: clock.and_then(|clock| Some(clock.at(datagram.arrived?))),
        }
    }
}
