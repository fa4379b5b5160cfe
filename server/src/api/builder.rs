//! What a user configures before binding.

mod arrival;
mod bounds;
#[cfg(feature = "metrics")]
mod metrics;
mod sessions;
mod socket_options;

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use postbox_protocol::Protocol;

use super::Server;
use crate::admission::InForce;
use crate::config::addresses::{self, BindAddrs, Requested};
use crate::config::{self, Limits, Sessions};
use crate::error::BindError;
use crate::handler::Handler;
use crate::service::Shared;
use crate::serving::{App, Application};
use crate::transport::socket::{ServerSocket, SocketConfig, open_group, shares_port};
#[cfg(all(target_os = "linux", not(postbox_plain)))]
use crate::transport::{COALESCED_LEN, UdpEndpoint};
use crate::transport::{Endpoint, InfoAsked, MemoryEndpoint, MemoryNetwork, PlainEndpoint};

/// A server that is not bound yet. Made by [`Server::builder`] or [`Server::builder_fn`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use postbox_protocol::{BoxError, DatagramProtocol, RawSerializer};
/// use postbox_server::{Limits, Server};
///
/// #[tokio::main]
/// async fn main() -> Result<(), BoxError> {
///     let protocol = DatagramProtocol::new(RawSerializer);
///     let builder = Server::builder_fn(protocol, |client, mut requests| async move {
///         client.send(requests.recv().await?).await?;
///         Ok(())
///     });
///     let server = builder
///         .limits(Limits::default().clients(10_000))
///         .grace(Duration::from_secs(5))
///         .workers(2)
///         .bind_every_interface(9000)?;
///     server.serve_until(tokio::signal::ctrl_c()).await?;
///     Ok(())
/// }
/// ```
#[must_use = "a builder does nothing until it is bound"]
pub struct ServerBuilder {
    app: Arc<dyn Application>,
    limits: Limits,
    workers: usize,
    admission: InForce,
    sessions: Sessions,
    /// `None` where it follows from the other options.
    allow_own_source: Option<bool>,
    plain_transport: bool,
    offloads: bool,
    sockets: SocketConfig,
    #[cfg(feature = "metrics")]
    measures_times: bool,
}

impl ServerBuilder {
    pub(crate) fn new<P, H>(protocol: P, handler: H) -> Self
    where
        H: Handler,
        P: Protocol<Sent = H::Response, Received = H::Request>,
    {
        Self {
            app: Arc::new(App {
                protocol: Arc::new(protocol),
                handler: Arc::new(handler),
            }),
            limits: Limits::default(),
            workers: 1,
            admission: None,
            sessions: Sessions::default(),
            allow_own_source: None,
            plain_transport: false,
            offloads: true,
            sockets: SocketConfig::default(),
            #[cfg(feature = "metrics")]
            measures_times: false,
        }
    }
}

/// # Workers and transport
///
/// How many receive loops there are, and what they receive and send with.
impl ServerBuilder {
    /// Sets the number of workers, each with a socket of its own for each address. Default, and the
    /// least, 1; more than 4,096 make binding fail.
    ///
    /// More than one needs Linux; elsewhere binding a socket fails. The kernel keeps each client on
    /// one worker.
    ///
    /// A multicast or broadcast address takes one worker: binding it with more fails, since each
    /// would get every datagram. Bound to every interface the workers all get what is sent to a
    /// broadcast address too, and one of them handles it. With
    /// [`plain_transport`](Self::plain_transport), which cannot tell such a datagram from others,
    /// all of them do: use one worker there if clients broadcast.
    ///
    /// Workers are tasks: they run in parallel, and shield their clients from handlers that block
    /// another worker, on the multi-thread runtime. On the current-thread runtime all share one
    /// thread.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Uses tokio's own socket, one datagram at a time, also where batched system calls are at
    /// hand. It cannot tell the local address on a wildcard bind, nor a truncated datagram, hears
    /// no [ICMP errors](Self::icmp_errors), and with several [`workers`](Self::workers) on a
    /// wildcard bind each of them answers a broadcast. Default off.
    pub fn plain_transport(mut self, plain: bool) -> Self {
        self.plain_transport = plain;
        self
    }

    /// Lets the kernel coalesce received datagrams and segment runs of equal-sized answers to one
    /// client (`UDP_GRO`, `UDP_SEGMENT`; Linux). Default on, and off by itself where the kernel
    /// refuses.
    ///
    /// On the server's own machine a capture, such as tcpdump's, shows a run as one long datagram.
    ///
    /// Sockets that [you made](Self::from_sockets) receive coalesced datagrams only if `UDP_GRO` is on
    /// when you give them.
    ///
    /// It saves CPU, but a client gets the first of such answers with the last. So they leave as
    /// one where the datagrams came as one that they answer, where there are more of them than
    /// datagrams, and where the worker has a full batch to answer.
    pub fn offloads(mut self, allow: bool) -> Self {
        self.offloads = allow;
        self
    }
}

/// # Binding
///
/// The last step: each of these makes the [`Server`], which listens from then on.
impl ServerBuilder {
    /// Binds one host or several. All addresses of a name are bound, but for those of a family
    /// (IPv4 or IPv6) that this host lacks; duplicates are removed.
    ///
    /// # Errors
    ///
    /// [`BindError`] names the address, or the name that has none. If one fails the others are
    /// closed again. [`BindError::Limit`] names a number that cannot work, before any is opened.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, where a name has to be looked up. Addresses need none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future binds nothing: it binds only once every name is looked up, and all at
    /// once.
    pub async fn bind(self, addrs: impl BindAddrs) -> Result<Server, BindError> {
        let wanted = addresses::resolve(addrs.hosts()).await?;
        self.bind_all(&wanted)
    }

    /// Binds every interface: all IPv4 and all IPv6 addresses of this host, each family with a
    /// socket of its own. A family that cannot be bound here is skipped. Port 0 picks a free
    /// port for each.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_every_interface(self, port: u16) -> Result<Server, BindError> {
        self.bind_all(&addresses::every_interface(port))
    }

    /// Serves sockets that the user made and bound, one worker each. They keep the options that
    /// they have: those of this builder, and its number of workers, are for the sockets that it
    /// opens itself, but for [`recv_kernel_time`](Self::recv_kernel_time) and its like.
    ///
    /// If you keep a duplicate, the socket is again as you gave it, options and `O_NONBLOCK`, once the
    /// server is closed or dropped, or could not be made. Until then it does not block, and on
    /// Linux some options may be others:
    ///
    /// - off: what would join datagrams, or keep them back (`UDP_CORK`, `UDP_SEGMENT`,
    ///   `SO_TIMESTAMPING`); `UDP_GRO`, if the [`offloads`](Self::offloads) are off,
    ///   [`Limits::receive_datagram`] is below 65,535, or the kernel's time is asked for; and on the [plain
    ///   transport](Self::plain_transport) `UDP_GRO` and `IP_RECVERR`. What had been coalesced
    ///   before stays one datagram.
    /// - on: `IP_PKTINFO` and `IPV6_RECVPKTINFO` on a wildcard address; with `IP_RECVERR`, which
    ///   counts as [`icmp_errors`](Self::icmp_errors), `SO_SELECT_ERR_QUEUE`; `SO_TIMESTAMPNS`,
    ///   `IP_RECVTTL`, `IPV6_RECVHOPLIMIT`, `IP_RECVTOS` and `IPV6_RECVTCLASS`, as asked for.
    ///
    /// Two things that the server does for sockets of its own are yours to do here: a larger receive
    /// buffer (see [`recv_buffer`](Self::recv_buffer)); and `UDP_GRO`, by which the kernel coalesces
    /// the bursts of a client. The server does not switch that on, since what still waits when you
    /// have the socket back would be joined.
    ///
    /// # Errors
    ///
    /// [`BindError::Socket`] if one of them is not bound, or cannot be made non-blocking;
    /// [`BindError::Nothing`] if there is none; [`BindError::Limit`] as [`bind`](Self::bind).
    pub fn from_sockets(
        self,
        sockets: impl IntoIterator<Item = UdpSocket>,
    ) -> Result<Server, BindError> {
        self.build(|builder| {
            let mut endpoints = Vec::new();
            let mut is_shared = false;
            // Before any is changed: some may be duplicates of others.
            let sockets: Vec<_> = sockets.into_iter().map(ServerSocket::given).collect();
            for socket in sockets {
                let prepared = socket.prepare(builder.coalesces());
                let addr = prepared.map_err(BindError::Socket)?;
                let asked = socket.ask(builder.sockets.info);
                asked.map_err(BindError::Socket)?;
                is_shared |= shares_port(&socket);
                endpoints.push(builder.endpoint(socket, addr, 0));
            }
            builder.allow_own_source.get_or_insert(is_shared);
            Ok(endpoints)
        })
    }

    /// Serves an address of a network in memory: for tests of handlers, and for simulations.
    ///
    /// # Errors
    ///
    /// [`BindError::Bind`] if the address is taken on that network; [`BindError::Limit`] as
    /// [`bind`](Self::bind).
    pub fn bind_memory(
        self,
        network: &MemoryNetwork,
        addr: SocketAddr,
    ) -> Result<Server, BindError> {
        self.build(|builder| {
            let group = MemoryEndpoint::bind(network, addr, builder.workers, builder.sockets.info)
                .map_err(|source| BindError::Bind { addr, source })?;
            let endpoint = |member| Arc::new(member) as Arc<dyn Endpoint>;
            Ok(group.into_iter().map(endpoint).collect())
        })
    }
}

impl ServerBuilder {
    pub(crate) fn bind_all(self, wanted: &[Requested]) -> Result<Server, BindError> {
        self.build(|builder| {
            let open = |addr| builder.open(addr);
            addresses::open_all(wanted, open, addresses::has_family)
        })
    }

    /// Opens the sockets of one address.
    fn open(&self, addr: SocketAddr) -> io::Result<Vec<Arc<dyn Endpoint>>> {
        let sockets = open_group(addr, self.workers, &self.sockets)?;
        let endpoint = |(member, socket): (usize, socket2::Socket)| {
            let addr = socket.local_addr()?.as_socket();
            let addr = addr.ok_or_else(|| io::Error::other("not an IP socket"))?;
            Ok(self.endpoint(ServerSocket::opened(socket), addr, member))
        };
        sockets.into_iter().enumerate().map(endpoint).collect()
    }

    /// Whether datagrams that the kernel coalesces can be received.
    fn coalesces(&self) -> bool {
        #[cfg(all(target_os = "linux", not(postbox_plain)))]
        {
            let room = self.limits.max_receive_datagram();
            let allowed = self.offloads && !self.sockets.info.kernel_time;
            !self.plain_transport && allowed && room >= COALESCED_LEN
        }
        #[cfg(any(not(target_os = "linux"), postbox_plain))]
        false
    }

    /// What serves this socket, which is a member of a group.
    fn endpoint(&self, socket: ServerSocket, addr: SocketAddr, member: usize) -> Arc<dyn Endpoint> {
        #[cfg(all(target_os = "linux", not(postbox_plain)))]
        if !self.plain_transport {
            let (unicast_only, info) = (member > 0, self.sockets.info);
            let endpoint = UdpEndpoint::new(socket, addr, unicast_only, self.offloads, info);
            return Arc::new(endpoint);
        }
        let _ = member;
        Arc::new(PlainEndpoint::new(socket, addr))
    }

    /// The end of every way of binding.
    pub(crate) fn build(
        mut self,
        open: impl FnOnce(&mut Self) -> Result<Vec<Arc<dyn Endpoint>>, BindError>,
    ) -> Result<Server, BindError> {
        if !self.sessions.has_concurrency()
            && let Some(runs) = self.app.concurrency()
        {
            self.sessions.set_concurrency(runs);
        }
        config::check(&self.limits, self.workers, &self.sessions, &self.sockets)?;
        if self.plain_transport {
            self.sockets.info = InfoAsked::default(); // which it cannot tell
        }
        let endpoints = open(&mut self)?;
        if endpoints.is_empty() {
            return Err(BindError::Nothing);
        }
        let may_meet = self.sockets.may_meet_own_address();
        let allow_own_source = self.allow_own_source.unwrap_or(may_meet);
        let (limits, admission, sessions) = (self.limits, self.admission, self.sessions);
        let shared = Shared::new(limits, endpoints, admission, sessions, allow_own_source);
        #[cfg(feature = "metrics")]
        if self.measures_times {
            shared.measure_times();
        }
        Ok(Server::new(shared, self.app))
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("limits", &self.limits)
            .field("workers", &self.workers)
            .field("sessions", &self.sessions)
            .field("plain_transport", &self.plain_transport)
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}
