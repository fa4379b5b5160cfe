//! The bounds of a server, with the reason for each default.

use std::time::Duration;

use super::range::check_one;
use crate::error::BindError;
use crate::transport::MAX_PAYLOAD_V6;

/// Declares each limit once: its field, its default, its setter, its reader, and within what range
/// it works, where not all values do.
macro_rules! limits {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident($arg:ty), $reader:ident: $type:ty = $default:expr $(, in $range:expr)?;
    )+) => {
        /// How much a server may hold, and for how long.
        ///
        /// Every queue of the server is bounded by one of these. Over a bound the newest datagram is
        /// dropped and counted by reason (see [`Stats`](crate::Stats)); nothing is ever dropped silently.
        ///
        /// A value that cannot work is an error of binding, [`BindError::Limit`](crate::BindError::Limit).
        ///
        /// ```
        /// use std::time::Duration;
        ///
        /// use postbox_server::Limits;
        ///
        /// let limits = Limits::default().clients(1_000).idle(Duration::from_secs(60));
        /// assert_eq!(limits.max_clients(), 1_000);
        /// assert_eq!(limits.idle_timeout(), Some(Duration::from_secs(60)));
        /// ```
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $($name: $type,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self {
                    $($name: $default,)+
                }
            }
        }

        /// Each limit has a setter of its name, and a reader.
        impl Limits {
            $(
                $(#[doc = $doc])+
                #[must_use]
                #[allow(clippy::useless_conversion)] // where it takes the very type
                pub fn $name(mut self, limit: $arg) -> Self {
                    self.$name = limit.into();
                    self
                }
            )+
            $(
                #[doc = concat!("See [`", stringify!($name), "`](Self::", stringify!($name), ").")]
                pub fn $reader(&self) -> $type {
                    self.$name
                }
            )+

            /// Names the first that cannot work.
            pub(crate) fn check(&self) -> Result<(), BindError> {
                $($(check_one(stringify!($name), self.$name, $range)?;)?)+
                Ok(())
            }
        }
    };
}

limits! {
    /// Datagrams that wait in one client's queue while its handler is busy.
    ///
    /// Default [`usize::MAX`]: a client may hold a quarter of what is still free of
    /// [`total_bytes`](Self::total_bytes), an eighth of them aside. So a burst is kept whole while
    /// there is room: with the defaults 85,000 lines of 100 bytes of one client. And nobody takes
    /// all: one that sends as much as it can leaves four fifths of what it found, and that eighth is
    /// for clients that hold little, a 16,384th of all, 4 KiB, or one datagram. At least 1.
    client_datagrams(usize), max_client_datagrams: usize = usize::MAX, in 1..=usize::MAX;
    /// Bytes that wait in one client's queue, 32 bytes of overhead for each datagram included.
    ///
    /// Default [`usize::MAX`], as for [`client_datagrams`](Self::client_datagrams). At least 32, for
    /// an empty datagram.
    client_bytes(usize), max_client_bytes: usize = usize::MAX, in DATAGRAM_OVERHEAD..=usize::MAX;
    /// Clients whose handler waits at the same time, over all workers. Of n sockets each may have an
    /// n-th part, whatever the others have, so that a flood on one does not close the others: by as
    /// much the bound can be passed.
    ///
    /// Over it, [`when_full`](Self::when_full) says who gives way.
    ///
    /// Default 65,536: at some 290 bytes a waiting client, with what a small handler holds, 19 MB.
    /// At least 1, and at most 2,147,483,647.
    clients(usize), max_clients: usize = 65_536, in 1..=MOST_CLIENTS;
    /// Clients of one source prefix whose handler waits at the same time, over all workers: so many
    /// of each /24 of IPv4, and of each /64 of IPv6. Over it a newcomer's datagram is dropped, also
    /// where there is room in [`clients`](Self::clients). `None` for no such bound.
    ///
    /// Default none: behind one address there may be many users. With it the server keeps 65,536
    /// counts (256 KiB), at places that are hashed with a secret: prefixes that meet there share
    /// one bound. From 1 to 2,147,483,647.
    clients_per_prefix(impl Into<Option<usize>>), max_clients_per_prefix: Option<usize> = None;
    /// Who gives way where as many [`clients`](Self::clients) wait as may.
    ///
    /// Default [`WhenFull::Evict`]: forged first datagrams, which cost a stranger nothing, fill any
    /// bound within a second, and would keep everybody else out for as long as handlers wait.
    when_full(WhenFull), full_policy: WhenFull = WhenFull::Evict;
    /// Bytes that wait in all queues together, over all workers.
    ///
    /// Default 64 MiB: what strangers can make the server hold is then below that of one web page
    /// in a browser, whatever their number. At least 32, for an empty datagram.
    total_bytes(usize), max_total_bytes: usize = 64 * 1024 * 1024, in DATAGRAM_OVERHEAD..=usize::MAX;
    /// Bytes of answers that wait in each worker's outbox, 64 bytes of overhead for each included.
    /// While it is full the worker stops receiving, and senders wait in order.
    ///
    /// Default 4 MiB, as much as the socket's own receive buffer. At least 66 KiB are kept, so that
    /// the largest datagram fits.
    outbox_bytes(usize), max_outbox_bytes: usize = 4 * 1024 * 1024;
    /// Answers that each worker keeps for repeated questions
    /// ([`at_most_once`](crate::ServerBuilder::at_most_once)). Over it the oldest is forgotten, and
    /// its question, if it is repeated, handled again.
    ///
    /// Default 65,536. At least 1.
    answers(usize), max_answers: usize = 65_536, in 1..=usize::MAX;
    /// Bytes of those answers, 128 bytes of overhead for each included.
    ///
    /// Default 16 MiB: all of the answers above with 128 bytes each. At least 128, for an empty
    /// answer.
    answer_bytes(usize), max_answer_bytes: usize = 16 * 1024 * 1024, in ANSWER_OVERHEAD..=usize::MAX;
    /// How long those answers are kept.
    ///
    /// Default 60 seconds: longer than most clients go on repeating. RADIUS clients do so for some 30
    /// seconds; CoAP's take up to 247 (`EXCHANGE_LIFETIME`, RFC 7252 section 4.8.2). Not longer than
    /// a client uses its numbers for one question.
    answer_time(Duration), max_answer_time: Duration = Duration::from_secs(60);
    /// The largest datagram that is received whole, in bytes; a longer one is truncated, which is
    /// counted and told to the handler.
    ///
    /// Default 65,535, more than any UDP payload (65,507 bytes over IPv4, 65,527 over IPv6 by RFC
    /// 768 and RFC 8200), so that nothing is truncated. That is the most, and 1 the least.
    receive_datagram(usize), max_receive_datagram: usize = 65_535, in 1..=65_535;
    /// The largest datagram that is sent, in bytes. A larger answer is an error of `send`.
    ///
    /// Default 65,507 over IPv4 and 65,527 over IPv6, the most that UDP can carry. RFC 8085 section
    /// 3.2 advises to stay below the path's MTU (1,200 bytes are safe on the Internet). With 0 only
    /// empty datagrams are sent.
    send_datagram(usize), max_send_datagram: usize = MAX_PAYLOAD_V6;
    /// How long a receive without a timeout of its own waits before it answers *timed out*; `None`
    /// waits for ever.
    ///
    /// Default 5 minutes, the time a NAT keeps a UDP mapping by RFC 4787 REQ-5: later answers would
    /// not reach most clients, and forged first packets cannot hold the client bound for ever.
    idle(impl Into<Option<Duration>>), idle_timeout: Option<Duration> = Some(Duration::from_secs(5 * 60));
    /// Tasks that handlers have spawned for their clients and that have not ended, over all workers
    /// ([`Client::spawner`](crate::Client::spawner)). Over it `spawn` fails.
    ///
    /// Default 65,536, as many as clients: a handler mostly spawns one.
    client_tasks(usize), max_client_tasks: usize = 65_536;
    /// How long running handlers, and the tasks of clients, may go on when the server shuts down.
    ///
    /// Default 1 second.
    grace(Duration), grace_period: Duration = Duration::from_secs(1);
    /// How long all exit actions together may take. One that blocks its thread is not cut short:
    /// only one that waits, in [`on_exit_async`](crate::ServiceScope::on_exit_async), can be.
    ///
    /// Default 10 seconds.
    exit(Duration), exit_timeout: Duration = Duration::from_secs(10);
}

/// Who gives way where as many clients wait as may: see [`Limits::when_full`].
///
/// ```
/// use postbox_server::{Limits, WhenFull};
///
/// // Conversations that have begun matter more here than those who would like to begin one.
/// let limits = Limits::default().clients(1_000).when_full(WhenFull::Refuse);
/// # assert_eq!(limits.full_policy(), WhenFull::Refuse);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// A client that waits in its handler's own receive, where there is one among the next few. One
    /// that has sent nothing but its first datagram goes first, so a flood of such datagrams leaves
    /// conversations alone: n of them a second leave each client that is silent about (bound / n)
    /// seconds. The receive answers [`RecvError::Evicted`](crate::RecvError::Evicted), and the
    /// handler is polled once more and then dropped.
    ///
    /// A handler that waits for something else than its own receive (a timer, a channel, a receive
    /// in another task) stays.
    #[default]
    Evict,
    /// The newcomer: its datagram is dropped.
    Refuse,
}

/// Slots are numbered with 32 bits. There may be some more of them than this.
pub(super) const MOST_CLIENTS: usize = i32::MAX as usize;

/// What a kept answer costs besides its bytes: its question's client and its place.
pub(crate) const ANSWER_OVERHEAD: usize = 128;

/// What a queued datagram costs besides its bytes: its place in the queue and its allocation.
pub(crate) const DATAGRAM_OVERHEAD: usize = 32;

/// The smallest outbox: the largest datagram and its overhead fit.
pub(crate) const MIN_OUTBOX: usize = 66 * 1024;
