//! The network itself: who uses which address, and where a datagram goes.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::faults::Faults;
use super::{Datagram, MemoryEndpoint, MemorySocket, QUEUE_LEN};
use crate::transport::{MAX_PAYLOAD_V4, MAX_PAYLOAD_V6};

/// The first port that is handed out where the user asks for port 0: the first of the range that
/// systems use for it.
const FIRST_PORT: u16 = 49_152;

/// A network in memory: servers and clients on it reach each other, and nobody else.
///
/// Clones are the same network. No clock, no threads and no async runtime are involved, so a
/// handler's test sees the same order of events each time it runs.
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
    /// Makes an empty network.
    pub fn new() -> Self {
        Self::default()
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
        self.deliver(source, datagram, datagram.len(), destination);
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
        self.deliver(source, datagrams, segment, destination);
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

    /// Hands a datagram to whoever is there, and wakes it once nothing is locked.
    pub(super) fn deliver(
        &self,
        source: SocketAddr,
        payload: &[u8],
        segment: usize,
        destination: SocketAddr,
    ) {
        let mut state = self.lock();
        let Some(queue) = state.find(source, destination) else {
            return;
        };
        queue.push(Datagram {
            source,
            destination,
            payload: payload.to_vec(),
            segment,
        });
        let wakers = std::mem::take(&mut queue.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes everybody who waits at `addr`, after `change` was made.
    pub(super) fn change(&self, addr: SocketAddr, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers: Vec<Waker> = state
            .bound
            .get_mut(&addr)
            .into_iter()
            .flatten()
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

/// Everything that the network knows.
#[derive(Debug, Default)]
pub(super) struct State {
    /// By address: one queue for a client, one for each member of a server's group.
    bound: HashMap<SocketAddr, Vec<RecvQueue>, ahash::RandomState>,
    pub(super) faults: Faults,
    last_port: Option<u16>,
}

/// One member's end of the network.
#[derive(Debug, Default)]
pub(super) struct RecvQueue {
    pub(super) datagrams: VecDeque<Datagram>,
    /// How many were lost for want of room.
    pub(super) lost: u64,
    /// Those who wait for a datagram.
    pub(super) wakers: Vec<Waker>,
    /// Who waits until he may send.
    pub(super) blocked: Option<Waker>,
    /// The member has gone, others of its group have not.
    closed: bool,
}

impl RecvQueue {
    fn push(&mut self, datagram: Datagram) {
        if self.datagrams.len() < QUEUE_LEN {
            self.datagrams.push_back(datagram);
        } else {
            self.lost += 1;
        }
    }
}

impl State {
    /// Takes an address for `members` to share.
    fn claim(&mut self, addr: SocketAddr, members: usize) -> io::Result<SocketAddr> {
        let addr = if addr.port() == 0 {
            SocketAddr::new(addr.ip(), self.free_port(addr.ip())?)
        } else if self.is_taken(addr) {
            return Err(io::ErrorKind::AddrInUse.into());
        } else {
            addr
        };
        let queues = std::iter::repeat_with(RecvQueue::default).take(members);
        self.bound.insert(addr, queues.collect());
        Ok(addr)
    }

    /// Picks the next free port, in order, so that a port is not soon used again.
    fn free_port(&mut self, ip: IpAddr) -> io::Result<u16> {
        for _ in FIRST_PORT..=u16::MAX {
            let next = self.last_port.and_then(|port| port.checked_add(1));
            let port = next.unwrap_or(FIRST_PORT);
            self.last_port = Some(port);
            if !self.is_taken(SocketAddr::new(ip, port)) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    /// A wildcard address and any other with the same port exclude each other.
    fn is_taken(&self, addr: SocketAddr) -> bool {
        let wildcard = SocketAddr::new(unspecified(addr.is_ipv4()), addr.port());
        let same_port =
            |taken: &SocketAddr| taken.port() == addr.port() && taken.is_ipv4() == addr.is_ipv4();
        self.bound.contains_key(&addr)
            || self.bound.contains_key(&wildcard)
            || (addr == wildcard && self.bound.keys().any(same_port))
    }

    /// Finds the queue for a datagram: at its very address, or at the wildcard of its port.
    fn find(&mut self, source: SocketAddr, destination: SocketAddr) -> Option<&mut RecvQueue> {
        let place = if self.bound.contains_key(&destination) {
            destination
        } else {
            SocketAddr::new(unspecified(destination.is_ipv4()), destination.port())
        };
        let members = self.bound.get_mut(&place)?;
        let mut hasher = DefaultHasher::new(); // not seeded: the same member in every run
        source.hash(&mut hasher);
        let member = hasher.finish() % members.len() as u64;
        // The remainder is below the number of members, a usize.
        members
            .get_mut(member as usize)
            .filter(|queue| !queue.closed)
    }

    /// Returns a member's queue, which exists until the member lets go of it.
    pub(super) fn queue(&mut self, addr: SocketAddr, member: usize) -> Option<&mut RecvQueue> {
        self.bound.get_mut(&addr)?.get_mut(member)
    }

    /// Lets go of a queue, and of the address with the last of its group. What waited there is
    /// handed back, to be dropped once nothing is locked.
    pub(super) fn release(&mut self, addr: SocketAddr, member: usize) -> Option<RecvQueue> {
        let members = self.bound.get_mut(&addr)?;
        let closed = RecvQueue {
            closed: true,
            ..RecvQueue::default()
        };
        let queue = std::mem::replace(members.get_mut(member)?, closed);
        if members.iter().all(|queue| queue.closed) {
            self.bound.remove(&addr);
        }
        Some(queue)
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

fn unspecified(v4: bool) -> IpAddr {
    if v4 {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    }
}
