//! What is known of a datagram beside its bytes: when and how it arrived.

use std::net::SocketAddr;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::transport::{Addressing, Ecn, PacketInfo};

/// When and how a datagram arrived: see [`Requests::arrival`](crate::Requests::arrival).
///
/// What has to be asked for is `None` unless it was, and where the transport cannot tell it:
/// [`Capabilities`](crate::Capabilities) say what it can.
///
/// A time server answers with the time at which the kernel received the question, whatever it did
/// meanwhile (RFC 5905 section 8, T2), and treats those from beyond its own link as strangers:
///
/// ```
/// use std::time::{SystemTime, UNIX_EPOCH};
///
/// use postbox_protocol::{DatagramProtocol, RawSerializer};
/// use postbox_server::{BoxError, MemoryNetwork, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let protocol = DatagramProtocol::new(RawSerializer);
/// let builder = Server::builder_fn(protocol, |client, mut requests| async move {
///     requests.recv().await?;
///     let Some(arrival) = requests.arrival() else { return Ok(()) };
///     // A hop limit of 255 tells that no router was on the way (RFC 5082).
///     if arrival.is_broadcast() || arrival.hop_limit() != Some(255) {
///         return Ok(());
///     }
///     let received = arrival.kernel_time().unwrap_or_else(SystemTime::now);
///     let nanos = received.duration_since(UNIX_EPOCH)?.as_nanos() as u64;
///     client.send(nanos.to_be_bytes().to_vec().into()).await?;
///     Ok(())
/// });
/// let builder = builder.recv_kernel_time(true).recv_hop_limit(true);
///
/// // On a network in memory, whose clock stands in for the kernel's:
/// let network = MemoryNetwork::new();
/// let server = builder.bind_memory(&network, "127.0.0.1:123".parse()?)?;
/// let client = network.socket("127.0.0.1:0".parse()?)?;
/// client.set_hop_limit(255);
/// let talk = async {
///     let sent = network.time();
///     client.send_to(b"what time is it?", "127.0.0.1:123".parse()?)?;
///     let (answer, _) = client.recv_from().await?;
///     let nanos = u64::from_be_bytes(answer[..8].try_into()?);
///     assert!(u128::from(nanos) >= sent.duration_since(UNIX_EPOCH)?.as_nanos());
///     Ok::<(), BoxError>(())
/// };
/// let mut talked = Ok(());
/// server.serve_until(async { talked = talk.await }).await?;
/// # talked
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub(crate) at: Instant,
    pub(crate) len: usize,
    pub(crate) local_addr: Option<SocketAddr>,
    pub(crate) addressing: Option<Addressing>,
    pub(crate) info: PacketInfo,
}

impl Arrival {
    /// When the worker received it, by tokio's clock.
    ///
    /// The worker reads its clock once a turn, before it receives, and keeps whole microseconds: so
    /// datagrams that were received together have one time, up to a turn before they came. One that
    /// waited in the client's queue has the time at which it was put there. What waited in the kernel
    /// before that is told by [`kernel_time`](Self::kernel_time).
    pub fn at(&self) -> Instant {
        self.at
    }

    /// When the kernel received it, by the system's clock, in nanoseconds (`SO_TIMESTAMPNS`); asked
    /// for by [`recv_kernel_time`](crate::ServerBuilder::recv_kernel_time).
    ///
    /// The system's clock can be set: two times may be in another order than their datagrams. What a
    /// network in memory tells is its own [`time`](crate::MemoryNetwork::time).
    pub fn kernel_time(&self) -> Option<SystemTime> {
        self.info.kernel_time
    }

    /// The address that it was sent to, with the port of the socket: as
    /// [`Client::local_addr`](crate::Client::local_addr). `None` on a wildcard bind where the transport cannot tell.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Whether that address is this host's alone, a broadcast or a multicast address. `None` where
    /// the address is.
    pub fn addressing(&self) -> Option<Addressing> {
        self.addressing
    }

    /// Whether it was sent to a broadcast address, as far as that is known.
    pub fn is_broadcast(&self) -> bool {
        self.addressing == Some(Addressing::Broadcast)
    }

    /// Whether it was sent to a multicast address, as far as that is known.
    pub fn is_multicast(&self) -> bool {
        self.addressing == Some(Addressing::Multicast)
    }

    /// Its length in bytes, from 0 to 65,527. Of one that was cut short, the part that was received.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many routers more it might have passed: the TTL (IPv4) or hop limit (IPv6) that was left
    /// when it arrived, 0 to 255; asked for by
    /// [`recv_hop_limit`](crate::ServerBuilder::recv_hop_limit).
    pub fn hop_limit(&self) -> Option<u8> {
        self.info.hop_limit
    }

    /// What it says of congestion on its way; asked for by
    /// [`recv_ecn`](crate::ServerBuilder::recv_ecn).
    pub fn ecn(&self) -> Option<Ecn> {
        self.info.ecn
    }
}
