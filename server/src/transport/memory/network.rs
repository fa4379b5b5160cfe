//! The network as its users have it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::SystemTime;

use tokio::time::Instant;

use super::state::State;
use super::{Marks, MemoryEndpoint, MemorySocket};
use crate::transport::{MAX_PAYLOAD_V4, MAX_PAYLOAD_V6};

/// A network in memory: servers and clients on it reach each other, and nobody else.
///
/// Clones are the same network. Unless [`Conditions`](crate::Conditions) are set it is perfect: no
/// clock, no threads and no async runtime are involved, and a handler's test sees the same order of
/// events each time it runs.
///
/// With conditions it loses, delays, reorders, duplicates, corrupts and truncates datagrams, and
/// addresses can be [cut off](Self::partition) from each other. All that follows from one
/// [seed](Self::seeded), so that a failing test fails again: on a current-thread runtime, with
/// tokio's clock paused from the start, everything that the network and the server choose is the
/// same each time. What your own code leaves to chance is not: a `select!` that is not `biased`
/// picks a branch at random, and a `HashMap` is gone through in another order each time.
///
/// Its sockets carry bytes: there is no typed client for it. A test makes the bytes of a request,
/// and reads an answer's, with the other side of the server's protocol object: `make_datagram` and
/// `build_packet` of `protocol.flip()`.
///
/// ```
/// use bytes::BytesMut;
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::{DatagramProtocol, Flip, Protocol};
/// use postbox_server::{BoxError, MemoryNetwork, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // The server sends the length of what it receives.
/// let protocol = DatagramProtocol::new(JsonSerializer::<usize, String>::new());
/// let server = Server::builder_fn(protocol, |client, mut requests| async move {
///     client.send(requests.recv().await?.len()).await?;
///     Ok(())
/// });
/// let network = MemoryNetwork::new();
/// let server = server.bind_memory(&network, "127.0.0.1:9000".parse()?)?;
/// let client = network.socket("127.0.0.1:0".parse()?)?;
/// let other_side = protocol.flip();
///
/// let talk = async {
///     let mut request = BytesMut::new();
///     other_side.make_datagram("hello".to_owned(), &mut request)?;
///     client.send_to(&request, "127.0.0.1:9000".parse()?)?;
///     let (answer, from) = client.recv_from().await?;
///     assert_eq!((other_side.build_packet(&answer)?, from), (5, "127.0.0.1:9000".parse()?));
///     Ok::<(), BoxError>(())
/// };
/// let mut talked = Ok(());
/// server.serve_until(async { talked = talk.await }).await?;
/// # talked
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    state: Arc<Mutex<State>>,
}

impl MemoryNetwork {
    /// Makes an empty network: that of seed 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty network on which everything that is left to chance is drawn from `seed`. Only
    /// [`Conditions`] leave anything to chance.
    ///
    /// The same seed does the same to the same datagrams, sent in the same order, with the same
    /// version of this crate and of what it depends on.
    ///
    /// [`Conditions`]: crate::Conditions
    pub fn seeded(seed: u64) -> Self {
        let state = Arc::new(Mutex::new(State::seeded(seed)));
        Self { state }
    }

    /// Opens a client's socket at `addr`.
    ///
    /// Port 0 picks a free port, and the unspecified address becomes the loopback one. The
    /// address is free again once the socket is dropped.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if somebody has that address.
    pub fn socket(&self, addr: SocketAddr) -> io::Result<MemorySocket> {
        let ip = if addr.ip().is_unspecified() {
            loopback(addr.is_ipv4())
        } else {
            addr.ip()
        };
        let addr = self.lock().claim(SocketAddr::new(ip, addr.port()), 1)?;
        Ok(MemorySocket::new(self.clone(), addr))
    }

    /// Sends a datagram from any source address at all, whether somebody uses it or not.
    ///
    /// With it a test can be many clients at once, or a stranger who forges an address.
    ///
    /// # Errors
    ///
    /// An error if the datagram is longer than UDP allows. One that does not arrive is no error.
    pub fn send_from(
        &self,
        source: SocketAddr,
        datagram: &[u8],
        destination: SocketAddr,
    ) -> io::Result<()> {
        check_len(datagram.len(), destination)?;
        let marks = Marks::default();
        self.deliver(source, datagram, datagram.len(), destination, marks);
        Ok(())
    }

    /// Sends several datagrams, each of `segment` bytes but the last, that arrive as one: as where
    /// the kernel coalesces a burst of one client (`UDP_GRO`). A server handles them one after the
    /// other all the same.
    pub fn send_coalesced(
        &self,
        source: SocketAddr,
        datagrams: &[u8],
        segment: usize,
        destination: SocketAddr,
    ) {
        self.deliver(source, datagrams, segment, destination, Marks::default());
    }

    /// What the network's clock shows now. It stands in for the kernel's: by it a server tells when
    /// a datagram arrived ([`Arrival::kernel_time`](crate::Arrival::kernel_time)).
    ///
    /// It begins at the Unix epoch when it is asked first, by this or by a server that asks for the
    /// kernel's time, and goes with tokio's clock, paused or running.
    pub fn time(&self) -> SystemTime {
        self.lock().clock().at(Instant::now())
    }

    /// Opens `group` endpoints at one address; each client's datagrams go to one of them.
    pub(crate) fn bind(
        &self,
        addr: SocketAddr,
        group: usize,
    ) -> io::Result<Vec<Arc<MemoryEndpoint>>> {
        let group = group.max(1);
        let addr = self.lock().claim(addr, group)?;
        let endpoint = |i| Arc::new(MemoryEndpoint::new(self.clone(), addr, i));
        Ok((0..group).map(endpoint).collect())
    }

    /// Sends a datagram on its way, and wakes who waits for it once nothing is locked.
    pub(super) fn deliver(
        &self,
        source: SocketAddr,
        payload: &[u8],
        segment: usize,
        destination: SocketAddr,
        marks: Marks,
    ) {
        let mut state = self.lock();
        let wakers = state.send(source, payload, segment, destination, marks);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes everybody who waits at `addr`, after `change` was made.
    pub(super) fn change(&self, addr: SocketAddr, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers: Vec<Waker> = state
            .addresses
            .group(addr)
            .iter_mut()
            .flat_map(|queue| {
                std::mem::take(&mut queue.wakers)
                    .into_iter()
                    .chain(queue.blocked.take())
            })
            .collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Locks the state. No user code runs under the lock, so a panic elsewhere harms nothing.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers as the kernel does to a datagram that is too long.
pub(super) fn check_len(len: usize, destination: SocketAddr) -> io::Result<()> {
    let most = if destination.is_ipv4() {
        MAX_PAYLOAD_V4
    } else {
        MAX_PAYLOAD_V6
    };
    if len > most {
        let text = "message too long";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

/// Returns the loopback address of a family.
pub(super) fn loopback(v4: bool) -> IpAddr {
    if v4 {
        Ipv4Addr::LOCALHOST.into()
    } else {
        Ipv6Addr::LOCALHOST.into()
    }
}

/// Returns the wildcard address of a family.
pub(super) fn unspecified(v4: bool) -> IpAddr {
    if v4 {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    }
}
