//! Which session a datagram belongs to: what tells users behind one address apart.

use std::fmt;
use std::hash::Hash;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use ahash::RandomState;
use postbox_protocol::NumberedSerializer;

use crate::transport::{LocalAddr, local_addr};

/// What a [session key](crate::ServerBuilder::session_key) answers for one datagram.
///
/// Each session has one run of the handler at a time, in the order of its datagrams, beside those of
/// the other sessions of its address. Without a session key an address is one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// The session of the address, as without a session key.
    Address,
    /// The session of this key at this address: made by [`Origin::key`].
    Key(SessionId),
    /// Each datagram for itself: a run of its own, whose second receive answers closed. As many at
    /// once as [`concurrency`](crate::ServerBuilder::concurrency) says; the rest waits in the queue of the
    /// address.
    Each,
    /// A question, which is handled at most once: made by [`Origin::once`]. See
    /// [`at_most_once`](crate::ServerBuilder::at_most_once).
    Once(SessionId),
    /// None: the datagram is dropped, and counted among the
    /// [refusals](crate::ServerHandle::refusals) as `session key`.
    Refuse,
}

/// The key of a session, hashed. Made by [`Origin::key`] and [`Origin::once`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionId(u64);

/// The session of a client, in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionTag(pub(crate) u64);

impl SessionTag {
    pub(crate) const ADDRESS: Self = Self(0);
    /// Of each datagram that is for itself.
    pub(crate) const EACH: Self = Self(1);

    /// Of a question that is handled at most once. No other has this bit.
    const QUESTION: u64 = 1 << 63;
    /// Of a datagram that is the answer to one.
    const ANSWER: u64 = 1 << 62;

    pub(crate) const fn key(id: SessionId) -> Self {
        Self(id.0)
    }

    pub(crate) const fn question(id: SessionId) -> Self {
        Self(id.0 | Self::QUESTION)
    }

    pub(crate) const fn is_question(self) -> bool {
        self.0 & Self::QUESTION != 0
    }

    /// For the answer to this question, on its way out.
    pub(crate) const fn answer(self) -> Self {
        Self(self.0 | Self::ANSWER)
    }

    /// The question that this is the answer to.
    pub(crate) const fn answered(self) -> Option<Self> {
        match self.0 & Self::ANSWER {
            0 => None,
            _ => Some(self.addressee()),
        }
    }

    /// Who is sent to, whatever it is.
    pub(crate) const fn addressee(self) -> Self {
        Self(self.0 & !Self::ANSWER)
    }

    /// Whether it is for one datagram.
    pub(crate) const fn is_of_one(self) -> bool {
        self.0 == Self::EACH.0 || self.is_question()
    }

    /// The number, where it is that of a key.
    pub(crate) fn of_key(self) -> Option<u64> {
        (self > Self::EACH).then_some(self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:016x})", self.0)
    }
}

/// # Ready-made session keys
impl Session {
    /// The session of these bytes of the datagram: an identifier that is part of the protocol's
    /// header. A datagram too short to have them is of the session of its address.
    ///
    /// ```
    /// use postbox_protocol::{DatagramProtocol, RawSerializer};
    /// use postbox_server::{Server, Session};
    ///
    /// // A conversation for each of the numbers that a client gives its questions.
    /// let builder = Server::builder_fn(
    ///     DatagramProtocol::new(RawSerializer),
    ///     |client, mut requests| async move {
    ///         client.send(requests.recv().await?).await?;
    ///         Ok(())
    ///     },
    /// );
    /// let builder = builder.session_key(Session::bytes(0..2));
    /// # let _ = builder;
    /// ```
    pub fn bytes(range: Range<usize>) -> impl Fn(&[u8], &Origin<'_>) -> Self + Clone {
        move |datagram, origin| match datagram.get(range.clone()) {
            Some(key) => origin.key(key),
            None => Self::Address,
        }
    }

    /// The session of the number before a packet of a
    /// [`NumberedSerializer`]. One that has none, or 0, is of the
    /// session of its address. With [`at_most_once`](crate::ServerBuilder::at_most_once) each
    /// question is handled once.
    pub fn numbered() -> impl Fn(&[u8], &Origin<'_>) -> Self + Clone {
        |datagram, origin| match NumberedSerializer::number_of(datagram) {
            Some(number) => origin.key(number),
            None => Self::Address,
        }
    }

    /// The session of the 16-bit number, in network byte order, that begins at this byte of the
    /// datagram. One too short to have it is of the session of its address.
    pub fn be_u16(at: usize) -> impl Fn(&[u8], &Origin<'_>) -> Self + Clone {
        number(at, u16::from_be_bytes)
    }

    /// The same for a 32-bit number.
    pub fn be_u32(at: usize) -> impl Fn(&[u8], &Origin<'_>) -> Self + Clone {
        number(at, u32::from_be_bytes)
    }

    /// The same for a 64-bit number.
    pub fn be_u64(at: usize) -> impl Fn(&[u8], &Origin<'_>) -> Self + Clone {
        number(at, u64::from_be_bytes)
    }
}

fn number<const N: usize, K: Hash>(
    at: usize,
    read: fn([u8; N]) -> K,
) -> impl Fn(&[u8], &Origin<'_>) -> Session + Clone {
    move |datagram, origin| match datagram.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => origin.key(read(*bytes)),
        None => Session::Address,
    }
}

/// Where a datagram comes from, as a session key is told.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub(crate) remote: &'a SocketAddr,
    /// The address that was asked, on a wildcard bind.
    pub(crate) local: &'a Option<LocalAddr>,
    /// The address that the socket is bound to.
    pub(crate) bound: &'a SocketAddr,
    pub(crate) secret: &'a Secret,
}

impl Origin<'_> {
    /// The address that the datagram says it comes from. Anybody can forge it.
    pub fn remote_addr(&self) -> SocketAddr {
        *self.remote
    }

    /// The address that it was sent to. `None` on a wildcard bind where the transport cannot tell.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        local_addr(self.local, *self.bound)
    }

    /// The session of this key at this address: anything that can be hashed, such as bytes of the
    /// datagram, a number, or a tuple of several.
    ///
    /// It is hashed with a secret of the server, so that nobody can choose two keys that meet.
    #[inline]
    pub fn key(&self, key: impl Hash) -> Session {
        Session::Key(self.secret.id(key))
    }

    /// The question of this number at this address, or of what else makes it another one. Hashed as
    /// a [`key`](Self::key) is.
    #[inline]
    pub fn once(&self, number: impl Hash) -> Session {
        Session::Once(self.secret.id(number))
    }
}

impl fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("remote_addr", &self.remote_addr())
            .field("local_addr", &self.local_addr())
            .finish()
    }
}

/// What session keys are hashed with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secret(RandomState);

impl Secret {
    #[inline]
    pub(crate) fn id(&self, key: impl Hash) -> SessionId {
        let hash = self.0.hash_one(key) & !(SessionTag::QUESTION | SessionTag::ANSWER);
        SessionId(hash.max(SessionTag::EACH.0 + 1))
    }
}

/// A session key: a function of the datagram and where it comes from.
pub(crate) type SessionKey = dyn Fn(&[u8], &Origin<'_>) -> Session + Send + Sync;

/// How the datagrams of one address are told apart.
#[derive(Clone)]
pub(crate) struct Sessions {
    pub(crate) key: Option<Arc<SessionKey>>,
    pub(crate) secret: Secret,
    /// How many of those that are each for itself are handled at once.
    pub(crate) concurrency: usize,
    /// The session of datagrams where there is no key to ask.
    pub(crate) unasked: SessionTag,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            key: None,
            secret: Secret::default(),
            concurrency: Self::CONCURRENCY,
            unasked: SessionTag::ADDRESS,
        }
    }
}

impl Sessions {
    /// Every protocol that numbers its questions in a byte has its answers without waiting: RADIUS
    /// has 256 identifiers for each port of a client (RFC 2865 section 3).
    pub(crate) const CONCURRENCY: usize = 256;

    /// Each datagram is for itself, if no key says otherwise.
    pub(crate) fn set_concurrency(&mut self, concurrency: usize) {
        self.concurrency = concurrency;
        self.unasked = SessionTag::EACH;
    }

    /// Whether that was set.
    pub(crate) fn has_concurrency(&self) -> bool {
        self.unasked == SessionTag::EACH
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("has_key", &self.key.is_some())
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        key: impl Fn(&[u8], &Origin<'_>) -> Session,
        datagram: &[u8],
        secret: &Secret,
    ) -> Session {
        let (remote, bound) = (([192, 0, 2, 1], 9).into(), ([192, 0, 2, 2], 7).into());
        let origin = Origin {
            remote: &remote,
            local: &None,
            bound: &bound,
            secret,
        };
        key(datagram, &origin)
    }

    #[test]
    fn h15_ready_made_keys_take_their_bytes_and_nothing_else() {
        let secret = Secret::default();
        let bytes = |datagram: &[u8]| ask(Session::bytes(1..3), datagram, &secret);
        assert_eq!(bytes(b"abcd"), bytes(b"xbcyz"));
        assert_ne!(bytes(b"abcd"), bytes(b"abdd"));
        assert_ne!(bytes(b"abcd"), bytes(b"accd"));
        assert_eq!(bytes(b"ab"), Session::Address);
        assert_eq!(bytes(b""), Session::Address);

        let two = |datagram: &[u8]| ask(Session::be_u16(1), datagram, &secret);
        let four = |datagram: &[u8]| ask(Session::be_u32(1), datagram, &secret);
        let eight = |datagram: &[u8]| ask(Session::be_u64(1), datagram, &secret);
        assert_eq!(two(b"?\x01\x02?"), Session::Key(secret.id(0x0102_u16)));
        assert_eq!(two(b"?\x01"), Session::Address);
        assert_eq!(
            four(b"?\x01\x02\x03\x04?"),
            Session::Key(secret.id(0x0102_0304_u32))
        );
        assert_eq!(four(b"?\x01\x02\x03"), Session::Address);
        let number = 0x0102_0304_0506_0708_u64;
        assert_eq!(
            eight(b"?\x01\x02\x03\x04\x05\x06\x07\x08?"),
            Session::Key(secret.id(number))
        );
        assert_eq!(eight(b"?\x01\x02\x03\x04\x05\x06\x07"), Session::Address);
        assert_eq!(eight(b""), Session::Address);
    }

    #[test]
    fn h15_keys_are_hashed_with_a_secret_of_the_server() {
        let ids = [(); 3].map(|()| Secret::default().id("the same key"));
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }
}
