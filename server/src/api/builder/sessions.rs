//! Which datagrams belong together.

use std::sync::Arc;

use super::ServerBuilder;
use crate::config::{Origin, Session};

/// # Sessions
///
/// One address is not one user: a resolver, a proxy, a relay or a NAT sends for many. By default all
/// datagrams of an address go to one run of the handler at a time, one after the other; these tell
/// them apart.
impl ServerBuilder {
    /// Sets the session key: a function of each datagram and where it comes from, which answers
    /// [which session](Session) of that address it belongs to. Sessions of one address run side by
    /// side, each in its own order.
    ///
    /// It is asked before the admission check, and before the datagram is parsed: so its bytes can
    /// be anything. It runs in the receive loop, so it must be quick. Where it panics, which is
    /// logged, the datagram is refused.
    ///
    /// A session counts as a client: for [`Limits::clients`](crate::Limits::clients), for the bounds of
    /// its queue, and where [`Client`](crate::Client)s are compared. Whoever sends chooses the keys,
    /// so one address can have as many sessions as that bound allows. They lock nobody out: over it
    /// those go that wait and are silent ([`Limits::when_full`](crate::Limits::when_full)).
    /// [`Limits::clients_per_prefix`](crate::Limits::clients_per_prefix) bounds what one network may
    /// have. What
    /// [ICMP says](Self::icmp_errors) of an address is told by the flushes of its sessions, but
    /// only by the receives of the session that has no key: it does not say which it is about.
    ///
    /// ```
    /// use postbox_protocol::{DatagramProtocol, RawSerializer};
    /// use postbox_server::{Server, Session};
    ///
    /// /// What tells the calls apart that a proxy sends from one port.
    /// fn call_id(datagram: &[u8]) -> Option<&[u8]> {
    ///     let mut lines = datagram.split(|byte| *byte == b'\n');
    ///     lines.find_map(|line| line.strip_prefix(b"Call-ID: "))
    /// }
    ///
    /// let builder = Server::builder_fn(
    ///     DatagramProtocol::new(RawSerializer),
    ///     |client, mut requests| async move {
    ///         client.send(requests.recv().await?).await?;
    ///         Ok(())
    ///     },
    /// );
    /// let builder = builder.session_key(|datagram, origin| match call_id(datagram) {
    ///     Some(id) => origin.key(id),
    ///     None => Session::Each,
    /// });
    /// # let _ = builder;
    /// ```
    ///
    /// For keys at a fixed place: [`Session::bytes`], [`Session::be_u16`] and its like.
    pub fn session_key(
        mut self,
        key: impl Fn(&[u8], &Origin<'_>) -> Session + Send + Sync + 'static,
    ) -> Self {
        self.sessions.key = Some(Arc::new(key));
        self
    }

    /// Handles each question at most once, however often it is repeated: by its client, as no answer
    /// came, or by the network. Its answer is kept, and a repeated question is given the same again,
    /// without a handler. One whose handler still runs is dropped: its answer is to come. Without
    /// this, a question that is repeated is handled again: *at least once*.
    ///
    /// `number` is a session key that answers [`Session::Key`] for what makes a question another
    /// one, at one address. A repeated question is mostly the same to the last byte: then the whole
    /// datagram is the best key (RFC 5080 section 2.2.2 for RADIUS). With a number alone, one that is
    /// used again is given an old answer, and a stranger who forges a client's address can use up its
    /// numbers: the client's own questions are then taken for repeated ones. What is too short to have one ([`Session::Address`]) is handled each time,
    /// [for itself](Session::Each). A [session key](Self::session_key) of your own, whose place this
    /// takes, can answer [`Session::Once`] for some datagrams, and have conversations beside.
    ///
    /// It is for handlers that answer one request, such as [`answer_fn`](crate::answer_fn): the
    /// second receive of a question's run answers closed, and the first datagram that it sends is the
    /// answer, also where it is late. Where it ends without one, or fails, repetitions are dropped.
    /// They are counted: [`Stats::answered_again`](crate::Stats::answered_again),
    /// [`Stats::dropped_repeated`](crate::Stats::dropped_repeated).
    ///
    /// [`Limits::answer_time`](crate::Limits::answer_time), [`answers`](crate::Limits::answers) and
    /// [`answer_bytes`](crate::Limits::answer_bytes) say how long they are kept, and how many.
    /// Strangers that ask enough questions make the server forget early, which is counted and logged.
    /// Answers are kept as long as one serving lasts.
    ///
    /// A question counts as a client, as a session does, and [`concurrency`](Self::concurrency) bounds
    /// only those without a number. A handler that waits for a look-up gives way to nobody: so where
    /// it does, and strangers can ask, set
    /// [`Limits::clients_per_prefix`](crate::Limits::clients_per_prefix), or one of them can take all
    /// of [`Limits::clients`](crate::Limits::clients).
    ///
    /// ```
    /// use postbox_protocol::{DatagramProtocol, RawSerializer};
    /// use postbox_server::Server;
    ///
    /// let protocol = DatagramProtocol::new(RawSerializer);
    /// let builder = Server::builder_answer_fn(protocol, async |request| request)
    ///     .at_most_once(|datagram, origin| origin.key(datagram));
    /// # let _ = builder;
    /// ```
    pub fn at_most_once(
        self,
        number: impl Fn(&[u8], &Origin<'_>) -> Session + Send + Sync + 'static,
    ) -> Self {
        self.session_key(move |datagram, origin| match number(datagram, origin) {
            Session::Key(id) => Session::Once(id),
            Session::Address => Session::Each,
            other => other,
        })
    }

    /// Handles each datagram for itself, so many of one address at once: in a run of the handler of
    /// its own, whose second receive answers closed. What comes over that waits in the address's
    /// bounded queue, and what a run is late to receive is in its bounds too. The order of the answers is no longer that of the questions.
    ///
    /// It is for handlers that answer one request, and wait for something before they do: a look-up
    /// for one question does not hold up the others of a resolver or a proxy.
    ///
    /// Default: off, the datagrams of an address are handled one after the other; for
    /// [`answer_fn`](crate::answer_fn), 256. 1 to 2,147,483,647, others make binding
    /// fail. With a
    /// [session key](Self::session_key) it holds for the datagrams that this answers
    /// [`Session::Each`] for.
    pub fn concurrency(mut self, runs: usize) -> Self {
        self.sessions.set_concurrency(runs);
        self
    }
}
