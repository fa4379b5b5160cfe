//! Clients of addresses that have not sent anything.

use std::any::type_name;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::client::SendsFirst;
use super::{Client, ClientKey};
use crate::config::{Secret, SessionTag};
use crate::error::{AddressError, WrongResponse};
use crate::service::ServiceScope;
use crate::transport::{Endpoint, LocalAddr, interface};

/// Makes [`Client`]s for addresses that have not sent anything: peers from a configuration, a
/// multicast group, the port that a request names for its answers. Cheap to clone; given by
/// [`ServiceScope::clients`], and usable from any task or thread while this serving lasts.
///
/// They send like any other client, from the server's own socket, as soon as they are made: also
/// while `service_init` runs. After this serving they answer closed. What such an address sends
/// starts a handler like any other's, once `service_init` is over.
///
/// A server that tells its configured peers of its restart, and keeps what it needs to send to
/// others later:
///
/// ```
/// use std::net::SocketAddr;
/// use std::sync::Mutex;
///
/// use postbox_server::{BoxError, Client, Clients, Handler, Requests, ServiceScope};
///
/// struct Exchange {
///     peers: Vec<SocketAddr>,
///     clients: Mutex<Option<Clients<String>>>, // set for each serving
/// }
///
/// impl Handler for Exchange {
///     type Request = String;
///     type Response = String;
///
///     async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
///         let clients = service.clients::<String>()?;
///         for peer in &self.peers {
///             clients.to(*peer)?.send("restarted".to_owned()).await?;
///         }
///         *self.clients.lock().expect("nobody panics with it") = Some(clients);
///         Ok(())
///     }
/// #   async fn handle(
/// #       &self,
/// #       _: Client<String>,
/// #       _: Requests<String>,
/// #   ) -> Result<(), BoxError> { Ok(()) }
/// }
/// #
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// #     use postbox_codec_json::JsonSerializer;
/// #     use postbox_protocol::DatagramProtocol;
/// #     let network = postbox_server::MemoryNetwork::new();
/// #     let peer = network.socket("127.0.0.1:0".parse()?)?;
/// #     let exchange = Exchange { peers: vec![peer.local_addr()], clients: Mutex::default() };
/// #     let protocol = DatagramProtocol::new(JsonSerializer::<String, String>::new());
/// #     let server = postbox_server::Server::builder(protocol, exchange);
/// #     let server = server.bind_memory(&network, "127.0.0.1:9000".parse()?)?;
/// #     server.serve_until(async {
/// #         let (told, from) = peer.recv_from().await.unwrap();
/// #         assert_eq!((&told[..], from.port()), (&br#""restarted""#[..], 9000));
/// #     }).await?;
/// #     Ok(())
/// # }
/// ```
///
/// A service that announces itself to a group every half minute. How far that goes, and whether
/// this host hears it too, are options of the [sockets](crate::ServerHandle::sockets), and yours to
/// set. The interface is named by its own address ([`local_addr`](Self::local_addr)) for IPv4, and
/// by the zone of the group's address (`[ff02::1%3]:9000`) for IPv6. What the members answer comes
/// from their own addresses.
///
/// ```
/// # use std::net::{Ipv4Addr, SocketAddr};
/// # use std::time::Duration;
/// # use postbox_server::{BoxError, Client, Handler, Requests, ServiceScope};
/// # struct Announced;
/// # impl Handler for Announced {
/// #     type Request = String;
/// #     type Response = String;
/// async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
///     let group = SocketAddr::from((Ipv4Addr::new(239, 255, 2, 1), 9000));
///     let group = service.clients::<String>()?.to(group)?;
///     service.spawn(async move {
///         while !group.is_closing() {
///             group.send("here I am".to_owned()).await?;
///             tokio::time::sleep(Duration::from_secs(30)).await;
///         }
///         Ok::<(), BoxError>(())
///     });
///     Ok(())
/// }
/// #   async fn handle(
/// #       &self,
/// #       _: Client<String>,
/// #       _: Requests<String>,
/// #   ) -> Result<(), BoxError> { Ok(()) }
/// # }
/// ```
///
/// # Who is the same
///
/// A client that is made here is equal to the one that a handler is given for its address, once
/// all is named that tells clients apart. On a wildcard bind that is the
/// [local address](Self::local_addr) too, and where there is a session key the
/// [session](Self::session). Without the local address the system chooses one for each datagram, the
/// client equals none that a handler is given, and is for sending alone. With several
/// [workers](crate::ServerBuilder::workers) the two are equal too, but may send by different
/// sockets of one address: one's datagrams may overtake the other's.
pub struct Clients<Response> {
    sockets: Arc<[Arc<ClientSocket<Response>>]>,
    secret: Secret,
    local: Option<SocketAddr>,
    session: SessionTag,
}

impl<Response> Clients<Response> {
    /// The address of this server that datagrams leave from, in the form of
    /// [`Client::local_addr`]: one of the server's [addresses](crate::ServerHandle::addresses), or,
    /// where that is a wildcard address, any address of this host with its port. So it chooses the
    /// socket too. For an IPv4 group it is what names the interface.
    ///
    /// Without it (`None`), they leave from the first of the server's addresses that can send to
    /// the client; a loopback address comes last. A transport that cannot tell the local address on
    /// a wildcard bind (see [`Capabilities`](crate::Capabilities)) does not send from it either:
    /// there this only chooses the socket.
    pub fn local_addr(&self, local: impl Into<Option<SocketAddr>>) -> Self {
        Self {
            local: local.into().map(canonical),
            ..self.clone()
        }
    }

    /// The session, where the server has a [session key](crate::ServerBuilder::session_key): what
    /// this gives to [`Origin::key`](crate::Origin::key) for the datagrams of the client. Those of
    /// [`Session::bytes`](crate::Session::bytes) are slices, those of
    /// [`Session::be_u16`](crate::Session::be_u16) and its like numbers of that type.
    ///
    /// Without it, it is the session of the address.
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use postbox_server::{BoxError, Client, Clients};
    ///
    /// // The keys are `Session::be_u16(0)`.
    /// fn invite(clients: &Clients<String>, peer: SocketAddr, call: u16) -> Result<Client<String>, BoxError> {
    ///     Ok(clients.session(call).to(peer)?)
    /// }
    /// ```
    pub fn session(&self, key: impl Hash) -> Self {
        Self {
            session: SessionTag::key(self.secret.id(key)),
            ..self.clone()
        }
    }

    /// Makes the client of an address: of one host, or of a group.
    ///
    /// # Errors
    ///
    /// [`AddressError`], where nothing could ever be sent to it. Whether the system lets a datagram
    /// out is told by [`Client::flush`]: that needs a route, for a broadcast address
    /// [`set_broadcast`](crate::SocketOptions::set_broadcast), and for a link-local one its zone.
    ///
    /// # Examples
    ///
    /// A request names the port that it wants its answer at:
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use postbox_server::{BoxError, Client, Clients};
    ///
    /// async fn answer(
    ///     clients: &Clients<String>, // of `service_init`
    ///     client: &Client<String>,
    ///     port: u16,
    /// ) -> Result<(), BoxError> {
    ///     let to = SocketAddr::new(client.remote_addr().ip(), port);
    ///     let to = clients.local_addr(client.local_addr()).to(to)?; // the address that it asked
    ///     Ok(to.send("here".to_owned()).await?)
    /// }
    /// ```
    pub fn to(&self, remote: SocketAddr) -> Result<Client<Response>, AddressError> {
        let (socket, client) = self.find(canonical(remote))?;
        Ok(Client::new(Arc::clone(&socket.worker).client(client)))
    }

    /// The socket to send from, and the client as that has it.
    fn find(
        &self,
        remote: SocketAddr,
    ) -> Result<(&ClientSocket<Response>, ClientKey), AddressError> {
        let ip = remote.ip();
        if remote.port() == 0 || ip.is_unspecified() {
            return Err(AddressError::Nobody { remote });
        }
        let mut sockets: Vec<_> = self.sockets.iter().collect();
        if let Some(local) = self.local {
            sockets.retain(|socket| socket.has(&local));
            if sockets.is_empty() {
                return Err(AddressError::NoSocket { local });
            }
        }
        sockets.retain(|socket| socket.write(&remote).is_some());
        if sockets.is_empty() {
            return Err(AddressError::Family { remote });
        }
        let stays = ip.is_loopback() || ip.is_multicast();
        sockets.retain(|socket| stays || !socket.is_loopback());
        // The first of the best.
        let rank = |socket: &&Arc<ClientSocket<_>>| {
            (Some(socket.bound()) != self.local, socket.is_loopback())
        };
        let best = sockets.into_iter().min_by_key(rank);
        let socket = best.ok_or(AddressError::Loopback { remote })?;
        let client = ClientKey {
            remote: socket.write(&remote).unwrap_or(remote),
            local: self.local.and_then(|local| socket.local(&local)),
            session: self.session,
        };
        Ok((socket, client))
    }
}

impl<Response> Clone for Clients<Response> {
    fn clone(&self) -> Self {
        Self {
            sockets: Arc::clone(&self.sockets),
            secret: self.secret.clone(),
            local: self.local,
            session: self.session,
        }
    }
}

impl<Response> fmt::Debug for Clients<Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl ServiceScope {
    /// What makes [`Client`]s for addresses that have not sent anything: see [`Clients`].
    ///
    /// # Errors
    ///
    /// [`WrongResponse`] where `Response` is not the handler's
    /// [`Response`](crate::Handler::Response).
    pub fn clients<Response: 'static>(&self) -> Result<Clients<Response>, WrongResponse> {
        let sockets = self.sockets.iter().cloned();
        let typed = sockets.map(Arc::downcast::<ClientSocket<Response>>);
        let sockets: Result<_, _> = typed.collect();
        match sockets {
            Ok(sockets) => Ok(Clients {
                sockets,
                secret: self.secret(),
                local: None,
                session: SessionTag::ADDRESS,
            }),
            Err(_) => Err(WrongResponse {
                asked: type_name::<Response>(),
            }),
        }
    }
}

/// A socket of the server, as clients are made on it.
pub(crate) struct ClientSocket<Response> {
    bound: SocketAddr,
    /// It is an IPv6 socket that takes IPv4 too.
    takes_v4: bool,
    /// On a wildcard bind it tells clients apart by the address that they asked.
    tells_local: bool,
    worker: Arc<dyn SendsFirst<Response>>,
}

impl<Response> ClientSocket<Response> {
    pub(crate) fn new(endpoint: &dyn Endpoint, worker: Arc<dyn SendsFirst<Response>>) -> Self {
        Self {
            bound: endpoint.local_addr(),
            takes_v4: endpoint.takes_v4(),
            tells_local: endpoint.capabilities().local_addr,
            worker,
        }
    }

    fn bound(&self) -> SocketAddr {
        canonical(self.bound)
    }

    fn is_loopback(&self) -> bool {
        self.bound().ip().is_loopback()
    }

    /// Whether datagrams can leave from this address.
    fn has(&self, local: &SocketAddr) -> bool {
        let any = self.bound.ip().is_unspecified() && !local.ip().is_unspecified();
        let has_any = any && self.bound.port() == local.port() && self.write(local).is_some();
        has_any || self.bound() == *local
    }

    /// The address as this socket has it, if it is of its family.
    fn write(&self, addr: &SocketAddr) -> Option<SocketAddr> {
        match (self.bound.ip(), addr.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) => Some(*addr),
            (IpAddr::V6(bound), IpAddr::V6(_)) => bound.to_ipv4_mapped().is_none().then_some(*addr),
            (IpAddr::V6(bound), IpAddr::V4(ip)) => {
                let both = bound.is_unspecified() || bound.to_ipv4_mapped().is_some();
                let mapped = SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port());
                (self.takes_v4 && both).then_some(mapped)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => None,
        }
    }

    /// What a datagram to this address, which it has, would tell of it.
    fn local(&self, local: &SocketAddr) -> Option<LocalAddr> {
        let tells = self.tells_local && self.bound.ip().is_unspecified();
        let asked = !local.ip().is_unspecified();
        let written = (tells && asked).then(|| self.write(local)).flatten()?;
        Some(LocalAddr::of(&written))
    }
}

/// The address without what does not make it another one: an IPv4-mapped address is the IPv4
/// address, a flow label is none of it, and the zone counts where the address means nothing without.
fn canonical(addr: SocketAddr) -> SocketAddr {
    let mut plain = SocketAddr::new(addr.ip().to_canonical(), addr.port());
    if let SocketAddr::V6(plain) = &mut plain {
        plain.set_scope_id(interface(&addr));
    }
    plain
}

#[cfg(test)]
mod tests;
