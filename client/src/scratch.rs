//! The buffers that packets are encoded into and received into.
//!
//! They are the thread's, not the client's: an idle client has none, so that thousands of them cost
//! little. Whoever needs one takes it out, so two at once on a thread (a protocol object that uses
//! a client itself, a send that waits for room) simply have a buffer each.

use std::cell::Cell;
use std::thread::LocalKey;

use bytes::BytesMut;

/// Longer than any datagram, so that none is ever cut: UDP carries at most 65,527 bytes.
const LONGER_THAN_ANY_DATAGRAM: usize = 65_535;

/// A buffer that has grown beyond this is not kept: some times the largest datagram, as what
/// compresses or encodes it again writes behind it.
const KEPT: usize = 256 * 1024;

thread_local! {
    static ENCODING: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static RECEIVING: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

/// Returns an empty buffer.
pub(crate) fn take_encoding() -> BytesMut {
    let mut buffer = take(&ENCODING).unwrap_or_default();
    buffer.clear();
    buffer
}

pub(crate) fn put_encoding(buffer: BytesMut) {
    if buffer.capacity() <= KEPT {
        put(&ENCODING, buffer);
    }
}

/// Returns a buffer that any datagram fits into.
pub(crate) fn take_receiving() -> Vec<u8> {
    take(&RECEIVING).unwrap_or_else(|| vec![0; LONGER_THAN_ANY_DATAGRAM])
}

pub(crate) fn put_receiving(buffer: Vec<u8>) {
    put(&RECEIVING, buffer);
}

/// A thread that ends has none any more.
fn take<B>(place: &'static LocalKey<Cell<Option<B>>>) -> Option<B> {
    place.try_with(Cell::take).ok().flatten()
}

fn put<B>(place: &'static LocalKey<Cell<Option<B>>>, buffer: B) {
    let _ = place.try_with(|place| place.set(Some(buffer)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c7_a_buffer_is_used_again_but_none_of_a_packet_that_was_too_large_to_send() {
        put_encoding(BytesMut::with_capacity(65_535));
        assert!(take_encoding().capacity() >= 65_535, "it is used again");
        put_encoding(BytesMut::with_capacity(KEPT + 1));
        assert!(take_encoding().capacity() <= KEPT);
    }
}
