//! Encoded datagrams on their way out of a worker, in the order in which they were sent.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config::SessionTag;
use crate::engine::flush::Flush;
use crate::error::FlushError;
use crate::handler::ClientKey;
use crate::transport::Outgoing;

/// What a waiting answer costs besides its bytes, against [`Limits::outbox_bytes`](crate::Limits).
pub(crate) const OUTGOING_OVERHEAD: usize = 64;

/// Datagrams in one arena, sent from the front.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    datagrams: Vec<Outgoing>,
    /// How many of `datagrams` have left or failed.
    gone: usize,
    marks: VecDeque<Mark>,
    /// What it took the sends of others from has more memory than an empty one keeps.
    source_is_large: bool,
}

#[derive(Debug)]
struct Mark {
    /// Complete once this many of `datagrams` are gone.
    after: usize,
    client: ClientKey,
    flush: Arc<Flush>,
}

impl Mark {
    /// Nobody waits for this flush any more.
    fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.flush) == 1
    }
}

impl Outbox {
    #[inline]
    pub(crate) fn push(&mut self, client: &ClientKey, datagram: &[u8]) {
        self.datagrams.push(Outgoing {
            remote: client.remote,
            session: client.session.0,
            local: client.local,
            start: self.bytes.len(),
            len: datagram.len(),
        });
        self.bytes.extend_from_slice(datagram);
    }

    /// `flush` completes when everything pushed before has left.
    pub(crate) fn push_mark(&mut self, client: ClientKey, flush: Arc<Flush>) {
        self.make_room_for_marks(1);
        self.marks.push_back(Mark {
            after: self.datagrams.len(),
            client,
            flush,
        });
    }

    /// Moves everything out of `other` behind what is here.
    pub(crate) fn append(&mut self, other: &mut Self) {
        debug_assert_eq!(other.gone, 0, "only the worker's own outbox is sent from");
        self.source_is_large |= other.is_large();
        let (bytes, datagrams) = (self.bytes.len(), self.datagrams.len());
        self.bytes.append(&mut other.bytes);
        self.datagrams
            .extend(other.datagrams.drain(..).map(|out| Outgoing {
                start: out.start + bytes,
                ..out
            }));
        self.make_room_for_marks(other.marks.len());
        self.marks.extend(other.marks.drain(..).map(|m| Mark {
            after: m.after + datagrams,
            ..m
        }));
    }

    /// Whether it, or what it took the sends of others from, has more memory than an empty one
    /// keeps.
    pub(crate) fn is_large(&self) -> bool {
        self.source_is_large
            || self.bytes.capacity() > KEPT_BYTES
            || self.datagrams.capacity() > KEPT_DATAGRAMS
            || self.marks.capacity() > KEPT_DATAGRAMS
    }

    /// Gives back the memory that a burst needed.
    ///
    /// Not to be called each time that it is emptied: under a load of large answers every turn needs
    /// the memory, which would be faulted in again page by page (60,000-byte answers cost four times
    /// as much).
    pub(crate) fn shrink(&mut self) {
        self.source_is_large = false;
        self.bytes.shrink_to(KEPT_BYTES);
        self.datagrams.shrink_to(KEPT_DATAGRAMS);
        self.marks.shrink_to(KEPT_DATAGRAMS);
    }

    /// Before there is more memory for flushes, those that were dropped are forgotten: while
    /// nothing leaves, they would heap up.
    fn make_room_for_marks(&mut self, count: usize) {
        if self.marks.len() + count > self.marks.capacity() {
            self.marks.retain(|mark| !mark.is_dropped());
        }
    }

    /// What has to leave next, and the bytes it refers to.
    pub(crate) fn waiting(&self) -> (&[u8], &[Outgoing]) {
        (&self.bytes, &self.datagrams[self.gone..])
    }

    /// Whether the answer to this question waits to leave.
    pub(crate) fn has_answer(&self, question: &ClientKey) -> bool {
        let mut waiting = self.datagrams[self.gone..].iter().rev();
        waiting.any(|out| {
            let answered = SessionTag(out.session).answered();
            answered.is_some_and(|session| question.is(&out.remote, &out.local, session))
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.gone == self.datagrams.len()
    }

    /// Whether datagrams wait to leave, or a flush to complete.
    pub(crate) fn has_work(&self) -> bool {
        !self.is_empty() || !self.marks.is_empty()
    }

    /// The first `count` have left or failed. Returns what they cost.
    pub(crate) fn advance(&mut self, count: usize) -> usize {
        let gone = &self.datagrams[self.gone..self.gone + count];
        let cost = gone.iter().map(|out| out.len + OUTGOING_OVERHEAD).sum();
        self.gone += count;
        cost
    }

    /// Whether a flush is complete now.
    pub(crate) fn has_completed(&self) -> bool {
        let mark = self.marks.front();
        mark.is_some_and(|mark| mark.after <= self.gone)
    }

    /// The flushes that are complete now.
    pub(crate) fn completed(&mut self) -> Option<(ClientKey, Arc<Flush>)> {
        let mark = self.has_completed().then(|| self.marks.pop_front())??;
        Some((mark.client, mark.flush))
    }

    /// Makes the memory of what is gone free again. To be called once a turn, after
    /// [`Self::completed`].
    pub(crate) fn compact(&mut self) {
        if self.is_empty() && self.marks.is_empty() {
            self.bytes.clear();
            self.datagrams.clear();
            self.gone = 0;
            return;
        }
        // Worth it where more has gone than has to be moved.
        let first = self.datagrams.get(self.gone);
        let start = first.map_or(self.bytes.len(), |out| out.start);
        let many = self.gone > 1024 && self.gone > self.datagrams.len() / 2;
        let much = start > KEPT_BYTES && start > self.bytes.len() / 2;
        if many || much {
            self.bytes.drain(..start);
            self.datagrams.drain(..self.gone);
            self.datagrams.iter_mut().for_each(|out| out.start -= start);
            self.marks
                .iter_mut()
                .for_each(|mark| mark.after -= self.gone);
            self.gone = 0;
        }
    }

    /// The worker ends: flushes that are not complete learn that. Returns how many datagrams have not
    /// left.
    pub(crate) fn abandon(&mut self) -> usize {
        let left = self.datagrams.len() - self.gone;
        self.gone = self.datagrams.len();
        for mark in self.marks.drain(..) {
            mark.flush.complete(Err(FlushError::Closed));
        }
        left
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.abandon(); // also where the worker itself panicked
    }
}

/// An outbox keeps this much memory for the next batch: 64 answers of 4 KiB.
const KEPT_BYTES: usize = 256 * 1024;

/// And room for this many: what one batch of coalesced datagrams asks for.
const KEPT_DATAGRAMS: usize = 4096;
