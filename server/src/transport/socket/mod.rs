//! Opens UDP sockets: one for each worker, on one address.

mod options;
mod server_socket;
#[cfg(all(target_os = "linux", not(postbox_plain)))] // elsewhere there are no groups
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(all(target_os = "linux", not(postbox_plain)))]
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};

pub use options::SocketOptions;
pub(crate) use server_socket::ServerSocket;

use crate::transport::InfoAsked;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
use crate::transport::sys;

/// The receive buffer asked for. The kernel's default holds about 280 small datagrams, which is
/// less than a millisecond at full load.
pub(crate) const DEFAULT_RECV_BUFFER: usize = 4 << 20;

/// The send buffer asked for. What waits for a neighbour that does not answer (ARP, NDP) stays in it
/// for seconds, and nobody else's answer leaves while it is full of that.
pub(crate) const DEFAULT_SEND_BUFFER: usize = 4 << 20;

/// How sockets are opened.
#[derive(Clone, Debug)]
pub(crate) struct SocketConfig {
    /// Share the port with other sockets of the same user that ask for it as well.
    pub(crate) reuse_port: bool,
    /// Bytes that may wait to be received; `None` leaves the system's default.
    pub(crate) recv_buffer: Option<usize>,
    /// Bytes that may wait to be sent; `None` leaves the system's default.
    pub(crate) send_buffer: Option<usize>,
    /// The type of service (IPv4) or traffic class (IPv6) of what is sent.
    pub(crate) tos: Option<u32>,
    /// The hops that what is sent may take.
    pub(crate) ttl: Option<u32>,
    /// Refuse what is longer than the device takes, instead of sending it in fragments; Linux only.
    pub(crate) dont_fragment: bool,
    /// Ask for ICMP errors; Linux only.
    pub(crate) icmp_errors: bool,
    /// What to tell of each datagram; Linux only.
    pub(crate) info: InfoAsked,
    /// The groups to join. Those of the other address family are passed over.
    pub(crate) multicast: Vec<MulticastGroup>,
}

/// A multicast group, and where to join it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MulticastGroup {
    /// An interface is named by its address; the unspecified one lets the system choose.
    V4 {
        group: Ipv4Addr,
        interface: Ipv4Addr,
    },
    /// An interface is named by its index; 0 lets the system choose.
    V6 { group: Ipv6Addr, interface: u32 },
}

impl SocketConfig {
    /// Whether others on this host may use the same address, as the user wanted.
    pub(crate) fn may_meet_own_address(&self) -> bool {
        self.reuse_port || !self.multicast.is_empty()
    }
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            reuse_port: false,
            recv_buffer: Some(DEFAULT_RECV_BUFFER),
            send_buffer: Some(DEFAULT_SEND_BUFFER),
            tos: None,
            ttl: None,
            dont_fragment: false,
            icmp_errors: false,
            info: InfoAsked::default(),
            multicast: Vec::new(),
        }
    }
}

/// Opens `sockets` non-blocking sockets on one address, IPv6 ones for IPv6 only.
///
/// Port 0 picks a free port for all. A port in use is an error unless the config shares it,
/// however many sockets are asked for. With several, the kernel keeps each client on one of them,
/// from the first datagram on: none is received before the group is complete. What is sent to a
/// broadcast or multicast address reaches them all, though; see `UdpEndpoint`.
pub(crate) fn open_group(
    addr: SocketAddr,
    sockets: usize,
    config: &SocketConfig,
) -> io::Result<Vec<Socket>> {
    let sockets = sockets.max(1);
    if sockets > 1 {
        may_share(addr)?;
    }
    let first = open(addr, config)?;
    // Without it, a port that others share is in use as well. And with it, the kernel that has to
    // choose a port may choose one that others share.
    if config.reuse_port && addr.port() != 0 {
        set_reuse_port(&first)?;
    }
    if sockets > 1 {
        attach_drop_filter(&first)?;
    }
    first.bind(&addr.into())?;
    let mut addr = addr; // with its scope, if it has one
    addr.set_port(local_addr(&first)?.port());
    if config.reuse_port || sockets > 1 {
        set_reuse_port(&first)?;
    }
    let mut group = vec![first];
    while group.len() < sockets {
        let next = open(addr, config)?;
        set_reuse_port(&next)?;
        attach_drop_filter(&next)?;
        next.bind(&addr.into())?;
        group.push(next);
    }
    join_groups(&group, addr, config)?;
    if sockets > 1 {
        group.iter().try_for_each(detach_drop_filter)?;
    }
    Ok(group)
}

/// Returns how many datagrams the kernel dropped on arrival at this socket, where it tells.
pub(crate) fn kernel_drops(socket: &Socket) -> Option<u64> {
    #[cfg(all(target_os = "linux", not(postbox_plain)))]
    {
        sys::kernel_drops(socket.as_fd()).ok()
    }
    #[cfg(any(not(target_os = "linux"), postbox_plain))]
    {
        let _ = socket;
        None
    }
}

/// How many datagrams its receive buffer holds at most: the smallest takes more than this of it.
pub(super) fn capacity(socket: &Socket) -> usize {
    const SMALLEST: usize = 512;
    socket.recv_buffer_size().unwrap_or(0) / SMALLEST + 1
}

/// Whether a socket lets others share its port (`SO_REUSEPORT`), where there is that.
pub(crate) fn shares_port(socket: &Socket) -> bool {
    #[cfg(all(
        unix,
        not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
    ))]
    {
        socket.reuse_port().unwrap_or(false)
    }
    #[cfg(any(
        not(unix),
        target_os = "solaris",
        target_os = "illumos",
        target_os = "cygwin"
    ))]
    {
        let _ = socket;
        false
    }
}

/// Makes a socket with its options, not yet bound.
fn open(addr: SocketAddr, config: &SocketConfig) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Some(bytes) = config.recv_buffer {
        set_recv_buffer(&socket, bytes)?;
    }
    if let Some(bytes) = config.send_buffer {
        set_send_buffer(&socket, bytes)?;
    }
    if let Some(tos) = config.tos {
        options::set_tos(&socket, addr.is_ipv6(), tos)?;
    }
    if let Some(ttl) = config.ttl {
        options::set_ttl(&socket, addr.is_ipv6(), ttl)?;
    }
    if config.dont_fragment {
        set_dont_fragment(&socket, addr.is_ipv6())?;
    }
    if config.icmp_errors {
        ask_for_errors(&socket, addr)?;
    }
    // Before it is bound: what arrives before this is asked for has no time of its own.
    #[cfg(all(target_os = "linux", not(postbox_plain)))]
    sys::set_recv_info(socket.as_fd(), config.info, addr.is_ipv4(), addr.is_ipv6())?;
    Ok(socket)
}

/// Asks for a receive buffer, beyond the system's limit if this process may. The system grants
/// less than asked for without an error.
fn set_recv_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    #[cfg(all(target_os = "linux", not(postbox_plain)))]
    if sys::force_recv_buffer(socket.as_fd(), bytes).is_ok() {
        return Ok(());
    }
    socket.set_recv_buffer_size(bytes)
}

/// The same, for the send buffer.
fn set_send_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    #[cfg(all(target_os = "linux", not(postbox_plain)))]
    if sys::force_send_buffer(socket.as_fd(), bytes).is_ok() {
        return Ok(());
    }
    socket.set_send_buffer_size(bytes)
}

fn set_dont_fragment(socket: &Socket, v6: bool) -> io::Result<()> {
    #[cfg(all(target_os = "linux", not(postbox_plain)))]
    {
        sys::set_dont_fragment(socket.as_fd(), v6)
    }
    #[cfg(any(not(target_os = "linux"), postbox_plain))]
    {
        let _ = (socket, v6);
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn ask_for_errors(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    #[cfg(all(target_os = "linux", not(postbox_plain)))]
    {
        sys::set_recv_errors(socket.as_fd(), addr.is_ipv4(), addr.is_ipv6())
    }
    #[cfg(any(not(target_os = "linux"), postbox_plain))]
    {
        let _ = (socket, addr);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Joins the groups of the address's family, with the first socket alone: a datagram to a group
/// goes to every socket that joined it, and each would answer.
fn join_groups(sockets: &[Socket], addr: SocketAddr, config: &SocketConfig) -> io::Result<()> {
    let [first, others @ ..] = sockets else {
        return Ok(());
    };
    for group in &config.multicast {
        match group {
            MulticastGroup::V4 { group, interface } if addr.is_ipv4() => {
                first.join_multicast_v4(group, interface)?;
            }
            MulticastGroup::V6 { group, interface } if addr.is_ipv6() => {
                first.join_multicast_v6(group, *interface)?;
            }
            _ => {}
        }
    }
    // By default Linux also delivers what any other socket of the machine has joined.
    #[cfg(all(target_os = "linux", not(postbox_plain)))]
    for other in others {
        if addr.is_ipv4() {
            other.set_multicast_all_v4(false)?;
        } else {
            other.set_multicast_all_v6(false)?;
        }
    }
    #[cfg(any(not(target_os = "linux"), postbox_plain))]
    let _ = others;
    Ok(())
}

/// Returns the address a socket is bound to.
fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    let addr = socket.local_addr()?;
    addr.as_socket()
        .ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Refuses what a group of sockets cannot do.
fn may_share(addr: SocketAddr) -> io::Result<()> {
    if cfg!(any(not(target_os = "linux"), postbox_plain)) {
        let text = "several sockets on one address need Linux";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    if addr.ip().to_canonical().is_multicast() || is_broadcast(addr)? {
        let text = "every socket on a multicast or broadcast address would get every datagram";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

/// Whether it is a broadcast address. Which ones are, beside the one of all networks, only the
/// kernel's table of interfaces knows: it lets nobody connect to one who may not send to it.
pub(crate) fn is_broadcast(addr: SocketAddr) -> io::Result<bool> {
    let IpAddr::V4(ip) = addr.ip().to_canonical() else {
        return Ok(false);
    };
    if ip.is_broadcast() || ip.is_unspecified() {
        return Ok(ip.is_broadcast());
    }
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    let connects = || socket.connect(&SocketAddr::from((ip, 9)).into()); // nothing is sent
    let refused = connects().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    socket.set_broadcast(true)?;
    Ok(refused && connects().is_ok())
}

#[cfg(unix)]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    #[cfg(not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))]
    {
        socket.set_reuse_port(true)
    }
    #[cfg(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))]
    {
        let _ = socket;
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(not(unix))]
fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes the kernel drop all that arrives.
///
/// The kernel chooses among the sockets that are there: what came before the last one was bound
/// could sit in another socket's queue than what the same client sends later.
#[cfg(all(target_os = "linux", not(postbox_plain)))]
fn attach_drop_filter(socket: &Socket) -> io::Result<()> {
    let keep_nothing = socket2::SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
    socket.attach_filter(&[keep_nothing])
}

#[cfg(all(target_os = "linux", not(postbox_plain)))]
fn detach_drop_filter(socket: &Socket) -> io::Result<()> {
    socket.detach_filter()
}

#[cfg(any(not(target_os = "linux"), postbox_plain))]
fn attach_drop_filter(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

#[cfg(any(not(target_os = "linux"), postbox_plain))]
fn detach_drop_filter(_socket: &Socket) -> io::Result<()> {
    Ok(())
}
