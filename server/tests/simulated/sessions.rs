//! How the server of a script tells the datagrams of an address apart.

use fastrand::Rng;
use postbox_server::{Origin, ServerBuilder, Session};

use super::packet;

/// What each session byte of a packet stands for, where the server has a session key. Those
/// between are keys.
pub(super) const ADDRESS: u8 = 0;
pub(super) const EACH: u8 = 3;
pub(super) const REFUSED: u8 = 4;
pub(super) const PANICS: u8 = 5;
/// So many of them.
pub(super) const COUNT: u8 = 6;

/// The message of the session key's panics.
const NO_KEY: &str = "told to have no key";

#[derive(Debug, Clone, Copy)]
pub(super) enum Sessions {
    /// An address is one.
    Addresses,
    /// So many datagrams of an address are handled at once.
    Concurrent(usize),
    /// By the session byte; and of those that are for themselves so many at once.
    Keyed(usize),
    /// Each number of a packet is a question, which is handled once. The rest as for `Keyed`.
    Once(usize),
}

impl Sessions {
    pub(super) fn random(random: &mut Rng) -> Self {
        let at_once = random.usize(1..=3);
        match random.u32(..5) {
            0 => Self::Addresses,
            1 => Self::Concurrent(at_once),
            2 => Self::Once(at_once),
            _ => Self::Keyed(at_once),
        }
    }

    pub(super) fn apply(self, builder: ServerBuilder) -> ServerBuilder {
        match self {
            Self::Addresses => builder,
            Self::Concurrent(at_once) => builder.concurrency(at_once),
            Self::Keyed(at_once) => builder.concurrency(at_once).session_key(key),
            Self::Once(at_once) => builder.concurrency(at_once).at_most_once(number),
        }
    }

    /// Whether a packet with this session byte has a run of its own.
    pub(super) fn is_for_itself(self, session: u8) -> bool {
        match self {
            Self::Addresses => false,
            Self::Concurrent(_) | Self::Once(_) => true,
            Self::Keyed(_) => session == EACH,
        }
    }

    /// How many runs one client may have at once: the same address has one for its own session, and
    /// some of the datagrams that are for themselves.
    pub(super) fn most_runs(self, is_address: bool) -> usize {
        match self {
            Self::Addresses => 1,
            Self::Concurrent(at_once) => at_once,
            Self::Keyed(at_once) if is_address => 1 + at_once,
            Self::Once(at_once) if is_address => at_once,
            Self::Keyed(_) | Self::Once(_) => 1,
        }
    }

    /// Whether a packet with this session byte is of one conversation with those that have the
    /// other.
    pub(super) fn conversation(self, session: u8) -> u8 {
        match self {
            Self::Addresses => ADDRESS,
            Self::Concurrent(_) | Self::Keyed(_) | Self::Once(_) => session,
        }
    }

    /// Whether an answer may come again after others.
    pub(super) fn repeats(self) -> bool {
        matches!(self, Self::Once(_))
    }

    /// Whether a packet with this session byte is a question that is handled once.
    pub(super) fn is_question(self, session: u8) -> bool {
        self.repeats() && !matches!(session, ADDRESS | EACH)
    }
}

fn number(datagram: &[u8], origin: &Origin<'_>) -> Session {
    match key(datagram, origin) {
        Session::Key(_) => origin.key(packet::number(datagram)),
        other => other,
    }
}

fn key(datagram: &[u8], origin: &Origin<'_>) -> Session {
    match packet::session(datagram) {
        None | Some(ADDRESS) => Session::Address,
        Some(EACH) => Session::Each,
        Some(REFUSED) => Session::Refuse,
        Some(PANICS) => std::panic::panic_any(NO_KEY),
        Some(other) => origin.key(other),
    }
}
