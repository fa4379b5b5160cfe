//! Datagrams on their way from the receive buffers to a handler.
//!
//! A datagram is not copied for the handler that is polled for it: it is *offered* to that one poll,
//! where it lies in the receive buffer. Only one that the poll did not receive is copied, to the
//! client's queue. The kernel may hand over a client's burst in one buffer: its datagrams are
//! offered one after the other, in the same poll while the handler receives on. So a burst costs a
//! conversation two thirds of what single datagrams do.

use crate::engine::dispatch::QueuedDatagram;
use crate::engine::stamp::Stamp;
use crate::transport::{Meta, PacketInfo};

/// Where a datagram is, in the buffers that it was received in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BufferSlice {
    /// Which of the buffers.
    buffer: u16,
    start: u16,
    end: u16,
    /// It was received cut short.
    pub(crate) truncated: bool,
}

impl BufferSlice {
    /// The one datagram that was received in this buffer.
    #[inline]
    pub(crate) fn whole(buffer: usize, meta: &Meta) -> Self {
        Self {
            buffer: short(buffer),
            start: 0,
            end: short(meta.len),
            truncated: meta.truncated,
        }
    }

    /// The datagram's length in bytes.
    #[inline]
    pub(crate) fn len(self) -> usize {
        usize::from(self.end - self.start)
    }

    /// The datagram's bytes, out of its buffer.
    pub(crate) fn bytes(self, buffer: &[u8]) -> &[u8] {
        let range = usize::from(self.start)..usize::from(self.end);
        buffer.get(range).unwrap_or_default()
    }
}

/// The datagrams of one receive buffer that the kernel has coalesced, one after the other.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Segments {
    buffer: u16,
    /// The length of each; the last may be shorter.
    segment: u16,
    /// Where the next begins, and where the last ends.
    start: u16,
    end: u16,
    /// How many are left.
    left: u16,
    /// The last was received cut short.
    truncated: bool,
}

impl Segments {
    /// What was received in this buffer. No datagram is longer than 65,535 bytes, nor are several
    /// in one buffer.
    #[inline]
    pub(crate) fn of(buffer: usize, meta: &Meta) -> Self {
        Self {
            buffer: short(buffer),
            segment: short(meta.segment.max(1)),
            start: 0,
            end: short(meta.len),
            left: short(meta.datagrams()),
            truncated: meta.truncated,
        }
    }
}

impl Iterator for Segments {
    type Item = BufferSlice;

    #[inline]
    fn next(&mut self) -> Option<BufferSlice> {
        self.left = self.left.checked_sub(1)?;
        let start = self.start;
        self.start = start.saturating_add(self.segment).min(self.end);
        Some(BufferSlice {
            buffer: self.buffer,
            start,
            end: self.start,
            truncated: self.truncated && self.left == 0,
        })
    }
}

fn short(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// What the poll of a handler is offered.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// The buffers of the batch.
    pub(crate) buffers: Vec<Box<[u8]>>,
    /// What was told of each buffer besides; empty where nothing is asked for.
    pub(crate) infos: Vec<PacketInfo>,
    /// The datagram that no receive has taken so far.
    pub(crate) offered: Option<BufferSlice>,
    /// Those that came with it, and are offered next.
    pub(crate) behind: Segments,
    /// How many were taken in this poll.
    pub(crate) taken: u32,
}

impl Delivery {
    /// A receive takes the datagram that is offered, with the whole buffer: to be put back once it
    /// is decoded, which is user code.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<(BufferSlice, Box<[u8]>)> {
        let slice = match self.offered.take() {
            Some(slice) => slice,
            None => self.next_behind()?,
        };
        let buffer = self.buffers.get_mut(usize::from(slice.buffer))?;
        self.taken += 1;
        Some((slice, std::mem::take(buffer)))
    }

    /// Not while the one before is decoded: then their buffer is out.
    #[inline]
    fn next_behind(&mut self) -> Option<BufferSlice> {
        let buffer = self.buffers.get(usize::from(self.behind.buffer))?;
        (!buffer.is_empty()).then(|| self.behind.next()).flatten()
    }

    /// The datagram's bytes, where they lie.
    #[inline]
    pub(crate) fn bytes(&self, slice: BufferSlice) -> &[u8] {
        let buffer = self.buffers.get(usize::from(slice.buffer));
        buffer.map_or(&[], |buffer| slice.bytes(buffer))
    }

    #[inline]
    pub(crate) fn put_back(&mut self, slice: BufferSlice, buffer: Box<[u8]>) {
        if let Some(empty) = self.buffers.get_mut(usize::from(slice.buffer)) {
            *empty = buffer;
        }
    }

    /// What was told of a datagram besides, if anything is asked for.
    pub(crate) fn info(&self, slice: BufferSlice) -> Option<&PacketInfo> {
        self.infos.get(usize::from(slice.buffer))
    }

    /// Copies a datagram into memory of its own size.
    pub(crate) fn copy(&self, slice: BufferSlice, at: Stamp) -> QueuedDatagram {
        let buffer = self.buffers.get(usize::from(slice.buffer));
        QueuedDatagram {
            bytes: buffer.map_or_else(Box::default, |buffer| slice.bytes(buffer).into()),
            truncated: slice.truncated,
            at: at.pack(),
            info: self.info(slice).map(|info| Box::new(*info)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn meta(len: usize, segment: usize, truncated: bool) -> Meta {
        let remote = (Ipv4Addr::LOCALHOST, 7).into();
        Meta {
            remote,
            local: None,
            len,
            segment,
            truncated,
        }
    }

    /// The datagrams of one receive: what each holds, and whether it was cut.
    fn datagrams<'a>(meta: &Meta, buffer: &'a [u8]) -> Vec<(&'a [u8], bool)> {
        let of = |slice: BufferSlice| (slice.bytes(buffer), slice.truncated);
        if meta.is_coalesced() {
            Segments::of(0, meta).map(of).collect()
        } else {
            vec![of(BufferSlice::whole(0, meta))]
        }
    }

    #[test]
    fn l4_of_coalesced_datagrams_only_the_last_can_have_been_cut() {
        let of = |len, segment, truncated| datagrams(&meta(len, segment, truncated), b"abcdefg");
        let (a, b, c): (&[u8], &[u8], &[u8]) = (b"abc", b"def", b"g");
        assert_eq!(of(7, 3, true), [(a, false), (b, false), (c, true)]);
        assert_eq!(of(6, 3, true), [(a, false), (b, true)]);
        assert_eq!(of(6, 3, false), [(a, false), (b, false)]);
        assert_eq!(of(3, 3, true), [(a, true)]);
        assert_eq!(of(3, 9, false), [(a, false)]);
        assert_eq!(of(0, 0, false), [(&b""[..], false)]);
        assert_eq!(of(0, 0, true), [(&b""[..], true)]);
        assert_eq!(of(2, 0, false), [(&b"a"[..], false), (&b"b"[..], false)]);
    }

    #[test]
    fn l4_the_longest_buffer_is_cut_into_datagrams_to_its_last_byte() {
        let buffer = vec![0; 65_535];
        for segment in [1, 2, 1472, 65_534, 65_535] {
            let found = datagrams(&meta(buffer.len(), segment, false), &buffer);
            let (last, others) = found.split_last().unwrap();
            assert!(others.iter().all(|(bytes, _)| bytes.len() == segment));
            assert_eq!(others.len() * segment + last.0.len(), buffer.len());
        }
    }

    #[test]
    fn h6_the_next_datagram_is_not_offered_while_the_one_before_is_decoded() {
        let mut behind = Segments::of(0, &meta(4, 2, false));
        let mut delivery = Delivery {
            buffers: vec![b"aabb"[..].into()],
            offered: behind.next(),
            behind,
            ..Delivery::default()
        };
        let (slice, buffer) = delivery.take().unwrap();
        assert_eq!(slice.bytes(&buffer), b"aa");
        assert!(delivery.take().is_none(), "its bytes are out");
        delivery.put_back(slice, buffer);
        let (slice, buffer) = delivery.take().unwrap();
        assert_eq!(slice.bytes(&buffer), b"bb");
        delivery.put_back(slice, buffer);
        assert!(delivery.take().is_none(), "it was the last");
        assert_eq!(delivery.taken, 2);
    }
}
