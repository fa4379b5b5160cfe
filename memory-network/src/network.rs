//! The network as its users have it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::MemorySocket;
use crate::datagram::Marks;
use crate::state::State;

/// The largest UDP payload over IPv4: 65,535 - 20 (IP header) - 8 (UDP header), RFC 791 and RFC
/// 768.
const MAX_PAYLOAD_V4: usize = 65_507;

/// The largest UDP payload over IPv6 without jumbograms: 65,535 - 8, RFC 8200 section 3 and RFC
/// 768.
const MAX_PAYLOAD_V6: usize = 65_527;

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
/// A server is on it by `bind_memory`, and a typed client, which talks to that server in packets,
/// by `connect_memory`. [`socket`](Self::socket) is for bytes: for datagrams that are no packet,
/// and for a server that is none of Postbox.
///
/// ```
/// use postbox_client::UdpClient;
/// use postbox_codec_json::JsonSerializer;
/// use postbox_protocol::{BoxError, DatagramProtocol, Flip};
/// use postbox_server::{MemoryNetwork, Server};
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
/// let address = "127.0.0.1:9000".parse()?;
/// let server = server.bind_memory(&network, address)?;
/// let client = UdpClient::connect_memory(&network, address, protocol.flip())?;
///
/// server.serve_until(async {
///     client.send("hello".to_owned()).await.unwrap();
///     assert_eq!(client.recv().await.unwrap(), 5);
/// })
/// .await?;
/// # Ok(())
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
        let addr = self.lock().claim(specified(addr), 1)?;
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
    /// a datagram arrived (`Arrival::kernel_time`).
    ///
    /// It begins at the Unix epoch when it is asked first, by this or by a server that asks for the
    /// kernel's time, and goes with tokio's clock, paused or running.
    pub fn time(&self) -> SystemTime {
        self.lock().clock().at(Instant::now())
    }

    /// Sends a datagram on its way, and wakes who waits for it once nothing is locked.
    pub(crate) fn deliver(
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
    pub(crate) fn change(&self, addr: SocketAddr, change: impl FnOnce(&mut State)) {
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
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers as the kernel does to a datagram that is too long.
pub(crate) fn check_len(len: usize, destination: SocketAddr) -> io::Result<()> {
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

/// The loopback address in place of the unspecified one.
pub(crate) fn specified(addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        SocketAddr::new(loopback(addr.is_ipv4()), addr.port())
    } else {
        addr
    }
}

/// Returns the loopback address of a family.
pub fn loopback(v4: bool) -> IpAddr {
    if v4 {
        Ipv4Addr::LOCALHOST.into()
    } else {
        Ipv6Addr::LOCALHOST.into()
    }
}

/// Returns the wildcard address of a family.
pub(crate) fn unspecified(v4: bool) -> IpAddr {
    if v4 {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    }
}
