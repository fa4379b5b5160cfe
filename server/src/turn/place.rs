//! Where datagrams are, in the buffers that they were received in.

use crate::transport::Meta;

/// Where a datagram is, in the buffers it was received in.
///
/// In one register: it is handed on several times while a datagram is on its way, and a wider one,
/// written field by field and then copied, stalls the processor each time (13 of 115 ns).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// Which of the buffers.
    buffer: u16,
    start: u16,
    end: u16,
    /// It was received cut short.
    pub(crate) truncated: bool,
}

/// The datagrams that came in the same buffer as the one at a place, one after the other: the
/// kernel has coalesced them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Behind {
    /// The length of each; the last may be shorter.
    segment: u16,
    /// Where the last ends.
    end: u16,
    /// The last was received cut short.
    truncated: bool,
}

impl Behind {
    /// Whether there is one behind this place.
    #[inline]
    pub(crate) fn has_next(self, place: Place) -> bool {
        place.end < self.end
    }

    /// The one behind this place.
    #[inline]
    pub(crate) fn next(self, place: Place) -> Place {
        let end = place.end.saturating_add(self.segment).min(self.end);
        Place {
            buffer: place.buffer,
            start: place.end,
            end,
            truncated: self.truncated && end == self.end,
        }
    }
}

impl Place {
    /// Where the first datagram of a buffer is, and those behind it. No datagram is longer than
    /// 65,535 bytes, nor are several in one buffer.
    #[inline]
    pub(crate) fn first(buffer: usize, meta: &Meta) -> (Self, Behind) {
        let first = Self {
            buffer: short(buffer),
            start: 0,
            end: short(meta.len),
            truncated: meta.truncated,
        };
        if meta.is_coalesced() {
            first.split(meta.segment)
        } else {
            (first, Behind::default())
        }
    }

    /// The first datagram of several that fill this place, and those behind it.
    fn split(self, segment: usize) -> (Self, Behind) {
        let behind = Behind {
            segment: short(segment.max(1)),
            end: self.end,
            truncated: self.truncated,
        };
        let before = Self { end: 0, ..self };
        (behind.next(before), behind)
    }

    pub(super) fn buffer(self) -> usize {
        self.buffer.into()
    }

    /// The datagram's bytes, out of its buffer.
    pub(crate) fn bytes(self, buffer: &[u8]) -> &[u8] {
        let range = usize::from(self.start)..usize::from(self.end);
        buffer.get(range).unwrap_or_default()
    }
}

fn short(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
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
        let (mut place, behind) = Place::first(0, meta);
        let mut found = vec![(place.bytes(buffer), place.truncated)];
        while behind.has_next(place) {
            place = behind.next(place);
            found.push((place.bytes(buffer), place.truncated));
        }
        assert_eq!(found.len(), meta.datagrams());
        found
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
}
