#[allow(dead_code, reason = "the server uses all of it")]
#[path = "../../../../server/src/transport/sys/cmsg.rs"]
mod cmsg;

use std::net::SocketAddr;

use super::LocalAddr;
use cmsg::{Control, Messages, Notes, SEND_ROOM, Writer, read};

/// Reads any bytes, as if the kernel had written them.
pub(super) fn reads_any(bytes: &[u8], remote: SocketAddr) {
    let (mut messages, mut len) = (0, 0);
    for (_, _, data) in Messages(bytes) {
        messages += 1;
        len += data.len();
        assert!(data.is_empty() || bytes.as_ptr_range().contains(&data.as_ptr()));
        assert_eq!(read::<libc::c_int>(data).is_some(), data.len() >= 4);
    }
    assert!(16 * messages + len <= bytes.len());
    let notes = Notes::read(Messages(bytes), &remote);
    assert_ne!(notes.segment, Some(0));
    assert!(messages > 0 || notes == Notes::default());
}

/// Writes what an answer needs, and reads it again.
pub(super) fn writes_and_reads(local: &LocalAddr, remote: SocketAddr, segment: u16) {
    let mut room = Control::<SEND_ROOM>::EMPTY;
    let mut writer = Writer::new(&mut room);
    writer.segment(segment);
    writer.source(local, &remote);
    let len = writer.len();
    let written = &room.0[..len];
    let messages = Messages(written).count();
    assert!((1..=2).contains(&messages));
    let (_, _, first) = Messages(written).next().expect("there are some");
    assert_eq!(read::<u16>(first), Some(segment));
    reads_any(written, remote);
}
