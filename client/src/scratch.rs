use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;

/// Longer than any datagram, so that none is ever cut: UDP carries at most 65,527 bytes.
const LONGER_THAN_ANY_DATAGRAM: usize = 65_535;

/// A buffer that has grown beyond this is not kept: some times the largest datagram, as what
/// compresses or encodes it again writes behind it.
const KEPT: usize = 256 * 1024;

/// The buffers that a client keeps from one packet to the next.
///
/// They are taken out for use, so no lock is held while a protocol object runs, and two tasks at
/// once simply have a buffer each.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    encoding: Mutex<Option<BytesMut>>,
    receiving: Mutex<Option<Vec<u8>>>,
}

impl Scratch {
    /// Returns an empty buffer.
    pub(crate) fn take_encoding(&self) -> BytesMut {
        let mut buffer = take(&self.encoding).unwrap_or_default();
        buffer.clear();
        buffer
    }

    pub(crate) fn put_encoding(&self, buffer: BytesMut) {
        if buffer.capacity() <= KEPT {
            put(&self.encoding, buffer);
        }
    }

    /// Returns a buffer that any datagram fits into.
    pub(crate) fn take_receiving(&self) -> Vec<u8> {
        take(&self.receiving).unwrap_or_else(|| vec![0; LONGER_THAN_ANY_DATAGRAM])
    }

    pub(crate) fn put_receiving(&self, buffer: Vec<u8>) {
        put(&self.receiving, buffer);
    }
}

fn take<B>(place: &Mutex<Option<B>>) -> Option<B> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put<B>(place: &Mutex<Option<B>>, buffer: B) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(buffer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_too_large_to_send_leaves_no_large_buffer_behind() {
        let scratch = Scratch::default();
        scratch.put_encoding(BytesMut::with_capacity(65_535));
        assert!(
            scratch.take_encoding().capacity() >= 65_535,
            "it is used again"
        );
        scratch.put_encoding(BytesMut::with_capacity(KEPT + 1));
        assert!(scratch.take_encoding().capacity() <= KEPT);
    }
}
