/// What became of the questions of a client and its clones, counted since it began to ask.
///
/// When nothing is asked, `sent` = `answered` + `timed_out` + `refused` + `failed` + `forgotten`;
/// while questions are open, and have been sent, they are the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskStats {
    /// Questions that were sent. Each counts once, however often it was repeated.
    pub sent: u64,

    /// Questions whose answer was received.
    pub answered: u64,

    /// Repetitions that were sent.
    pub repeated: u64,

    /// Questions that ended at their deadline.
    pub timed_out: u64,

    /// Questions that ended since nobody listens at the server's address.
    pub refused: u64,

    /// Questions that ended since the socket failed, or a repetition could not be sent.
    pub failed: u64,

    /// Questions that were dropped before they ended.
    pub forgotten: u64,

    /// Answers whose question had ended without one. They went to `recv`.
    pub late: u64,

    /// Answers whose question had been answered already. They were dropped.
    pub duplicates: u64,

    /// Datagrams that are not valid packets, or made the protocol or the matching panic. They went
    /// to `recv` as its error.
    pub malformed: u64,

    /// What would have gone to `recv`, but was dropped since 256 packets or errors waited there.
    pub dropped: u64,

    /// Questions that are open now.
    pub open: usize,
}
