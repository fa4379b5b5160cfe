//! Datagrams that are lent to a handler, instead of being queued for it.

/// What became of the datagram that a poll was lent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Hand {
    /// None was lent.
    #[default]
    Empty,
    /// A receive took it.
    Taken,
    /// It is still there.
    Left,
    /// At a handler's end: a receive took it, and the one behind it in the same buffer is there
    /// now.
    Next,
}

impl Hand {
    /// Whether a receive took a datagram.
    #[inline]
    pub(crate) fn has_given(self) -> bool {
        matches!(self, Self::Taken | Self::Next)
    }

    /// Whether a datagram is still there.
    #[inline]
    pub(crate) fn holds(self) -> bool {
        matches!(self, Self::Left | Self::Next)
    }
}
