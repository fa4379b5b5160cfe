//! The bounds of a server, with the reason for each default.

use std::time::Duration;

use crate::transport::MAX_PAYLOAD_V6;

/// How much a server may hold, and for how long.
///
/// Every queue of the server is bounded by one of these. Over a bound the newest datagram is
/// dropped and counted by reason (see [`Stats`](crate::Stats)); nothing is ever dropped silently.
///
/// ```
/// use std::time::Duration;
///
/// use postbox_server::Limits;
///
/// let limits = Limits::default().client_datagrams(16).clients(1_000).idle(Duration::from_secs(60));
/// assert_eq!(limits.max_clients(), 1_000);
/// assert_eq!(limits.idle_timeout(), Some(Duration::from_secs(60)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    client_datagrams: usize,
    client_bytes: usize,
    clients: usize,
    total_bytes: usize,
    outbox_bytes: usize,
    receive_datagram: usize,
    send_datagram: usize,
    idle: Option<Duration>,
    grace: Duration,
    exit: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_datagrams: 64,
            client_bytes: 256 * 1024,
            clients: 65_536,
            total_bytes: 64 * 1024 * 1024,
            outbox_bytes: 4 * 1024 * 1024,
            receive_datagram: 65_535,
            send_datagram: MAX_PAYLOAD_V6,
            idle: Some(Duration::from_secs(5 * 60)),
            grace: Duration::from_secs(1),
            exit: Duration::from_secs(10),
        }
    }
}

/// Each limit has a setter of its name, and a reader.
impl Limits {
    /// Datagrams that wait in one client's queue while its handler is busy.
    ///
    /// Default 64: a burst as large as one receive batch fits, and a client that outruns its
    /// handler for longer than that gains nothing by a longer queue but older answers.
    pub fn client_datagrams(mut self, limit: usize) -> Self {
        self.client_datagrams = limit;
        self
    }

    /// Bytes that wait in one client's queue, 32 bytes of overhead for each datagram included.
    ///
    /// Default 256 KiB: three datagrams of the largest size, or 63 of 4 KiB.
    pub fn client_bytes(mut self, limit: usize) -> Self {
        self.client_bytes = limit;
        self
    }

    /// Clients whose handler waits at the same time, over all workers. Workers count without a
    /// lock: with n sockets the bound can be passed by n - 1 clients.
    ///
    /// Default 65,536: at some 290 bytes a waiting client, with what a small handler holds, 19 MB.
    pub fn clients(mut self, limit: usize) -> Self {
        self.clients = limit;
        self
    }

    /// Bytes that wait in all queues together, over all workers.
    ///
    /// Default 64 MiB: what strangers can make the server hold is then below that of one web page
    /// in a browser, whatever their number.
    pub fn total_bytes(mut self, limit: usize) -> Self {
        self.total_bytes = limit;
        self
    }

    /// Bytes of answers that wait in each worker's outbox, 64 bytes of overhead for each included.
    /// While it is full the worker stops receiving, and senders wait in order.
    ///
    /// Default 4 MiB, as much as the socket's own receive buffer. At least 66 KiB are kept, so that
    /// the largest datagram fits.
    pub fn outbox_bytes(mut self, limit: usize) -> Self {
        self.outbox_bytes = limit;
        self
    }

    /// The largest datagram that is received whole, in bytes; a longer one is truncated, which is
    /// counted and told to the handler.
    ///
    /// Default 65,535, more than any UDP payload (65,507 bytes over IPv4, 65,527 over IPv6 by RFC
    /// 768 and RFC 8200), so that nothing is truncated.
    pub fn receive_datagram(mut self, limit: usize) -> Self {
        self.receive_datagram = limit;
        self
    }

    /// The largest datagram that is sent, in bytes. A larger answer is an error of `send`.
    ///
    /// Default 65,507 over IPv4 and 65,527 over IPv6, the most that UDP can carry. RFC 8085 section
    /// 3.2 advises to stay below the path's MTU (1,200 bytes are safe on the Internet).
    pub fn send_datagram(mut self, limit: usize) -> Self {
        self.send_datagram = limit;
        self
    }

    /// How long a receive without a timeout of its own waits before it answers *timed out*; `None`
    /// waits for ever.
    ///
    /// Default 5 minutes, the time a NAT keeps a UDP mapping by RFC 4787 REQ-5: later answers would
    /// not reach most clients, and forged first packets cannot hold the client bound for ever.
    pub fn idle(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.idle = limit.into();
        self
    }

    /// How long running handlers may go on when the server shuts down.
    ///
    /// Default 1 second.
    pub fn grace(mut self, limit: Duration) -> Self {
        self.grace = limit;
        self
    }

    /// How long all exit actions together may take. One that blocks its thread is not cut short:
    /// only one that waits, in [`on_exit_async`](crate::ServiceScope::on_exit_async), can be.
    ///
    /// Default 10 seconds.
    pub fn exit(mut self, limit: Duration) -> Self {
        self.exit = limit;
        self
    }

    /// See [`client_datagrams`](Self::client_datagrams).
    pub fn max_client_datagrams(&self) -> usize {
        self.client_datagrams
    }

    /// See [`client_bytes`](Self::client_bytes).
    pub fn max_client_bytes(&self) -> usize {
        self.client_bytes
    }

    /// See [`clients`](Self::clients).
    pub fn max_clients(&self) -> usize {
        self.clients
    }

    /// See [`total_bytes`](Self::total_bytes).
    pub fn max_total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// See [`outbox_bytes`](Self::outbox_bytes).
    pub fn max_outbox_bytes(&self) -> usize {
        self.outbox_bytes
    }

    /// See [`receive_datagram`](Self::receive_datagram).
    pub fn max_receive_datagram(&self) -> usize {
        self.receive_datagram
    }

    /// See [`send_datagram`](Self::send_datagram).
    pub fn max_send_datagram(&self) -> usize {
        self.send_datagram
    }

    /// See [`idle`](Self::idle).
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle
    }

    /// See [`grace`](Self::grace).
    pub fn grace_period(&self) -> Duration {
        self.grace
    }

    /// See [`exit`](Self::exit).
    pub fn exit_timeout(&self) -> Duration {
        self.exit
    }
}

/// The smallest outbox: the largest datagram and its overhead fit.
pub(crate) const MIN_OUTBOX: usize = 66 * 1024;
