//! A batch of received datagrams, in buffers that are allocated once.

use std::net::{Ipv4Addr, SocketAddr};

use super::{LocalAddr, PacketInfo};

/// What is known of one received datagram beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Who sent it.
    pub(crate) remote: SocketAddr,
    /// The address it was sent to, if the transport tells it: on wildcard binds.
    pub(crate) local: Option<LocalAddr>,
    /// How many bytes of the buffer it fills.
    pub(crate) len: usize,
    /// The length of each datagram if several came as one (the last may be shorter), else `len`.
    pub(crate) segment: usize,
    /// Part of it is missing, or what describes it is.
    pub(crate) truncated: bool,
}

impl Meta {
    /// Whether several came as one.
    #[inline]
    pub(crate) fn is_coalesced(&self) -> bool {
        self.segment < self.len
    }

    /// How many datagrams it is.
    #[inline]
    pub(crate) fn datagrams(&self) -> usize {
        if self.is_coalesced() {
            self.len.div_ceil(self.segment.max(1))
        } else {
            1 // also an empty one
        }
    }

    /// What a slot holds before its first datagram. Port 0 is never answered.
    const EMPTY: Self = Self {
        remote: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        local: None,
        len: 0,
        segment: 0,
        truncated: false,
    };
}

/// A batch of received datagrams.
///
/// Every datagram has a buffer of its own, so that one can be moved out while a handler decodes
/// from it, and put back afterwards.
#[derive(Debug)]
pub(crate) struct RecvBatch {
    /// All of length `buffer_len`, save those that were taken.
    buffers: Vec<Box<[u8]>>,
    metas: Vec<Meta>,
    /// Empty, or one for each slot.
    infos: Vec<PacketInfo>,
    received: usize,
    /// How many the transport took in, those included that it passed over.
    taken: usize,
    /// How many slots the next receive is offered.
    next: usize,
    /// And how many the last one was.
    offered: usize,
    /// How many it could have been, for datagrams as large as the last ones.
    most: usize,
    buffer_len: usize,
}

/// What a batch lends to the batched transport.
#[cfg(all(target_os = "linux", not(postbox_plain)))]
#[derive(Debug)]
pub(crate) struct Slots<'a> {
    pub(crate) buffers: &'a mut [Box<[u8]>],
    pub(crate) metas: &'a mut [Meta],
    /// For those and more, or empty.
    pub(crate) infos: &'a mut [PacketInfo],
}

/// A receive is offered as many slots, or twice as many as the last one that brought something has
/// filled, or half of what that was offered. Each costs some 20 instructions to describe to the
/// kernel: all 64 of them a sixth of what an idle server takes for a datagram.
const FEWEST: usize = 8;

/// But no more slots than datagrams as large as the last ones fill with so many bytes: 64 of 60,000
/// bytes, and their answers, would each be out of the processor's caches when it is touched next.
const MOST_BYTES: usize = 256 * 1024;

impl RecvBatch {
    /// Makes room for `slots` datagrams of up to `buffer_len` bytes each.
    ///
    /// The memory is zeroed by the system, so pages that no datagram reaches cost nothing.
    pub(crate) fn new(slots: usize, buffer_len: usize) -> Self {
        let slots = slots.max(1);
        Self {
            buffers: (0..slots).map(|_| vec![0; buffer_len].into()).collect(),
            metas: vec![Meta::EMPTY; slots],
            infos: Vec::new(),
            received: 0,
            taken: 0,
            next: FEWEST.min(slots),
            offered: 0,
            most: slots,
            buffer_len,
        }
    }

    /// Returns how many datagrams it holds now.
    pub(crate) fn len(&self) -> usize {
        self.received
    }

    /// Returns how many datagrams fit.
    pub(crate) fn slots(&self) -> usize {
        self.metas.len()
    }

    /// Forgets the datagrams; the buffers stay.
    pub(crate) fn clear(&mut self) {
        (self.received, self.taken) = (0, 0);
    }

    /// Returns how many datagrams were taken out of the transport for it, those included that were
    /// passed over.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Describes all of them.
    pub(super) fn metas(&self) -> &[Meta] {
        &self.metas[..self.received]
    }

    /// Describes datagram `i`, which is below [`len`](Self::len).
    pub(crate) fn meta(&self, i: usize) -> &Meta {
        &self.metas()[i]
    }

    /// The buffers: datagram `i` is the first `meta(i).len` bytes of buffer `i`, which is longer.
    /// They may be taken; what is missing at the next receive, or of another length, is replaced.
    pub(crate) fn buffers(&mut self) -> &mut Vec<Box<[u8]>> {
        &mut self.buffers
    }

    /// What was told of the datagrams besides: of datagram `i` the `i`-th, or nothing where the
    /// transport is not asked for any of it.
    pub(crate) fn infos(&mut self) -> &mut Vec<PacketInfo> {
        &mut self.infos
    }

    /// Empties the batch, makes as many buffers whole as are likely to be filled, and lends them
    /// with their descriptions to the transport. [`set_len`](Self::set_len) tells how many were
    /// filled.
    pub(super) fn refill(&mut self) -> (&mut [Box<[u8]>], &mut [Meta]) {
        self.make_whole();
        let offered = self.offered;
        (&mut self.buffers[..offered], &mut self.metas[..offered])
    }

    fn make_whole(&mut self) {
        (self.received, self.offered) = (0, self.next);
        self.buffers.resize_with(self.metas.len(), Box::default);
        for buffer in &mut self.buffers[..self.offered] {
            if buffer.len() != self.buffer_len {
                *buffer = vec![0; self.buffer_len].into();
            }
        }
    }

    /// Tells how many datagrams the slots hold, from the front.
    pub(super) fn set_len(&mut self, received: usize) {
        self.received = received.min(self.offered);
        self.taken += self.received;
        let next = (2 * self.received).max(self.offered / 2).max(FEWEST);
        let bytes: usize = self.metas().iter().map(|meta| meta.len).sum();
        let fit = (MOST_BYTES * self.received).checked_div(bytes);
        self.most = fit.unwrap_or_else(|| self.slots()).clamp(1, self.slots());
        self.next = next.min(self.most);
    }
}

/// What the batched transport asks besides.
#[cfg(all(target_os = "linux", not(postbox_plain)))]
impl RecvBatch {
    /// Does what [`refill`](Self::refill) does, and lends the infos too.
    pub(super) fn refill_all(&mut self) -> Slots<'_> {
        self.make_whole();
        Slots {
            buffers: &mut self.buffers[..self.offered],
            metas: &mut self.metas[..self.offered],
            infos: &mut self.infos,
        }
    }

    /// Returns how long a datagram can be without being cut.
    pub(crate) fn buffer_len(&self) -> usize {
        self.buffer_len
    }

    /// Keeps the datagrams that `keep` wants, in order.
    pub(super) fn retain(&mut self, keep: impl Fn(&Meta) -> bool) {
        let mut kept = 0;
        for i in 0..self.received {
            if keep(&self.metas[i]) {
                self.metas.swap(kept, i);
                self.buffers.swap(kept, i);
                if !self.infos.is_empty() {
                    self.infos.swap(kept, i);
                }
                kept += 1;
            }
        }
        self.received = kept;
    }

    /// Whether the receive has filled all slots that it was offered: then there may be more.
    pub(super) fn is_full(&self) -> bool {
        self.received == self.offered
    }

    /// Whether it holds this part, `1 / part`, of what a receive can bring of datagrams as large.
    pub(super) fn holds_a_part(&self, part: usize) -> bool {
        self.received * part >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receive_is_offered_twice_what_the_last_one_filled_or_half_of_what_it_was_offered() {
        let mut batch = RecvBatch::new(64, 10);
        let receives = [(8, 8), (16, 16), (32, 20), (40, 40), (64, 64), (64, 3)];
        for (offered, filled) in receives.into_iter().chain([(32, 9), (18, 1), (9, 0)]) {
            assert_eq!(batch.refill().0.len(), offered);
            batch.set_len(filled);
            assert_eq!((batch.len(), batch.is_full()), (filled, filled == offered));
        }
        assert_eq!(batch.refill().1.len(), 8);
    }

    #[test]
    fn a_receive_of_large_datagrams_is_offered_fewer_slots() {
        let mut batch = RecvBatch::new(64, 65_535);
        for (offered, len) in [(8, 60_000), (4, 60_000), (4, 4096), (8, 4096), (16, 20_000)] {
            let metas = batch.refill().1;
            assert_eq!(metas.len(), offered);
            metas.iter_mut().for_each(|meta| meta.len = len);
            batch.set_len(offered);
        }
        assert_eq!(batch.refill().1.len(), 13);
        batch.set_len(0);
        assert_eq!(
            batch.refill().1.len(),
            8,
            "empty ones have no size to go by"
        );
    }

    #[test]
    fn no_more_slots_are_offered_than_there_are() {
        let mut batch = RecvBatch::new(3, 10);
        for _ in 0..2 {
            assert_eq!(batch.refill().0.len(), 3);
            batch.set_len(3);
        }
    }

    #[test]
    fn l4_every_offered_buffer_is_whole_whatever_became_of_it() {
        let mut batch = RecvBatch::new(64, 10);
        for filled in [8, 16, 32, 64] {
            let (buffers, metas) = batch.refill();
            assert!(buffers.iter().all(|buffer| buffer.len() == 10));
            assert_eq!(buffers.len(), metas.len());
            batch.set_len(filled);
            batch.buffers()[filled / 2] = Box::default(); // one was lost
        }
        batch.buffers().clear();
        assert!(batch.refill().0.iter().all(|buffer| buffer.len() == 10));
    }
}
