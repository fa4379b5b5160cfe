//! What is decided about a datagram, and after a handler's end.

use std::task::Waker;

use super::SlotId;

/// Why a datagram was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// The client's own queue is full.
    ClientBound,
    /// All queues together are full.
    TotalBound,
    /// Too many clients have a handler.
    Clients,
    /// Too many clients of one source prefix have a handler.
    Prefix,
    /// The user's admission check said no.
    Refused,
    /// The server is shutting down.
    Shutdown,
}

/// What to do with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// No handler runs for its client: start one.
    Start,
    /// No handler runs for its client, and there is room for none: end this one, which waits in its
    /// own receive, then ask [`Dispatch::after_eviction`](super::Dispatch::after_eviction).
    Evict(SlotId),
    /// The handler waits for exactly this: poll it, and offer it the datagram.
    Deliver(SlotId),
    /// The handler is busy: the datagram has to wait.
    Queue(SlotId),
    /// As many runs of its client are busy as may be, each with one datagram: it has to wait, in the
    /// client's [own queue](super::Dispatch::wait).
    Wait,
    /// It is dropped.
    Drop(DropReason),
}

/// What to do after a handler ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The datagram that started the handler was not received, and is discarded.
    pub(crate) discarded: bool,
    /// So many that came while the server drains were not received, and are dropped.
    pub(crate) dropped: usize,
    pub(crate) next: Next,
    /// A receive in another task, which must learn that the handler ended.
    pub(crate) wake: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The client is forgotten.
    Forgotten,
    /// More is queued: a new handler starts on it in the same slot.
    Start,
}
