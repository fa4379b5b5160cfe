//! The bounds of a server, with the reason for each default.

use std::time::Duration;

/// How much a server may hold, and for how long.
///
/// Every queue of the server is bounded by one of these. Over a bound the newest datagram is
/// dropped and counted by reason (see [`Stats`](crate::Stats)); nothing is ever dropped silently.
///
/// ```
/// use postbox_server::Limits;
///
/// let limits = Limits { client_datagrams: 16, ..Limits::default() };
/// assert_eq!(limits.clients, 65_536);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Datagrams that wait in one client's postbox while its handler is busy.
    ///
    /// Default 64: a burst as large as one receive batch fits, and a client that outruns its
    /// handler for longer than that gains nothing by a longer queue but older answers.
    pub client_datagrams: usize,
    /// Bytes that wait in one client's postbox, 32 bytes of overhead for each datagram included.
    ///
    /// Default 256 KiB: three datagrams of the largest size, or 63 of 4 KiB.
    pub client_bytes: usize,
    /// Clients whose handler waits at the same time, over all workers. Workers count without a
    /// lock: with n sockets the bound can be passed by n - 1 clients.
    ///
    /// Default 65,536: at some 290 bytes a waiting client, with what a small handler holds, 19 MB.
    pub clients: usize,
    /// Bytes that wait in all postboxes together, over all workers.
    ///
    /// Default 64 MiB: what strangers can make the server hold is then below that of one web page
    /// in a browser, whatever their number.
    pub total_bytes: usize,
    /// Bytes of answers that wait in each worker's outbox, 64 bytes of overhead for each included.
    /// While it is full the worker stops receiving, and senders wait in order.
    ///
    /// Default 4 MiB, as much as the socket's own receive buffer. At least 66 KiB are kept, so that
    /// the largest datagram fits.
    pub outbox_bytes: usize,
    /// The largest datagram that is received whole, in bytes; a longer one is truncated, which is
    /// counted and told to the handler.
    ///
    /// Default 65,535, more than any UDP payload (65,507 bytes over IPv4, 65,527 over IPv6 by RFC
    /// 768 and RFC 8200), so that nothing is truncated.
    pub receive_datagram: usize,
    /// The largest datagram that is sent, in bytes. A larger answer is an error of `send`.
    ///
    /// Default 65,507 over IPv4 and 65,527 over IPv6, the most that UDP can carry. RFC 8085 section
    /// 3.2 advises to stay below the path's MTU (1,200 bytes are safe on the Internet).
    pub send_datagram: usize,
    /// How long a receive without a timeout of its own waits before it answers *timed out*; `None`
    /// waits for ever.
    ///
    /// Default 5 minutes, the time a NAT keeps a UDP mapping by RFC 4787 REQ-5: later answers would
    /// not reach most clients, and forged first packets cannot hold the client bound for ever.
    pub idle: Option<Duration>,
    /// How long running handlers may go on when the server shuts down.
    ///
    /// Default 1 second.
    pub grace: Duration,
    /// How long all exit actions together may take. One that blocks its thread is not cut short:
    /// only one that waits, in [`on_exit_async`](crate::Service::on_exit_async), can be.
    ///
    /// Default 10 seconds.
    pub exit: Duration,
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

/// The largest UDP payload over IPv4: 65,535 - 20 (IP header) - 8 (UDP header), RFC 791 and RFC
/// 768.
pub(crate) const MAX_PAYLOAD_V4: usize = 65_507;
/// The largest UDP payload over IPv6 without jumbograms: 65,535 - 8, RFC 8200 section 3 and RFC
/// 768.
pub(crate) const MAX_PAYLOAD_V6: usize = 65_527;
/// The smallest outbox: the largest datagram and its overhead fit.
pub(crate) const MIN_OUTBOX: usize = 66 * 1024;
