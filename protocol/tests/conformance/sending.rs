//! What a serializer does wrong with the packets that it is to send.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};

use super::{broken_rule, conformance, read, write};

#[test]
fn a_packet_that_comes_back_changed_is_found() {
    let upper = |datagram: &[u8]| Ok(read(datagram)?.to_ascii_uppercase().into());
    assert_eq!(
        broken_rule(&conformance(write, upper)),
        r#"comes back: b"\x03one" says b"ONE", not b"one""#,
    );
}

#[test]
fn a_packet_that_does_not_come_back_is_found() {
    let deaf = |_: &[u8]| Err("deaf".into());
    assert_eq!(
        broken_rule(&conformance(write, deaf)),
        r#"comes back: deserializing b"\x00" failed: deaf"#,
    );
}

#[test]
fn a_packet_that_cannot_be_sent_is_found() {
    let mute = |_: &Bytes, _: &mut BytesMut| Err("mute".into());
    assert_eq!(
        broken_rule(&conformance(mute, read)),
        r#"comes back: serializing b"" failed: mute"#,
    );
}

#[test]
fn a_panic_on_sending_is_found() {
    let bomb = |packet: &Bytes, datagram: &mut BytesMut| {
        assert_ne!(packet, "two", "boom");
        write(packet, datagram)
    };
    assert_eq!(
        broken_rule(&conformance(bomb, read)),
        r#"comes back: serializing b"two" panicked"#,
    );
}

#[test]
fn clearing_the_buffer_is_found() {
    let clearing = |packet: &Bytes, datagram: &mut BytesMut| {
        datagram.clear();
        write(packet, datagram)
    };
    assert_eq!(
        broken_rule(&conformance(clearing, read)),
        r#"appends: serializing b"" changed what stood in the buffer"#,
    );
}

#[test]
fn reading_the_buffer_is_found() {
    // Takes what stands in the buffer for a part of its own document.
    let counting = |packet: &Bytes, datagram: &mut BytesMut| {
        let before = u8::try_from(datagram.len())?;
        write(packet, datagram)?;
        let length = datagram[usize::from(before)];
        datagram[usize::from(before)] = length.wrapping_add(before);
        Ok(())
    };
    assert!(broken_rule(&conformance(counting, read)).starts_with("appends: deserializing b\""));
}

#[test]
fn wanting_an_empty_buffer_is_found() {
    let picky = |packet: &Bytes, datagram: &mut BytesMut| {
        if !datagram.is_empty() {
            return Err("not empty".into());
        }
        write(packet, datagram)
    };
    assert_eq!(
        broken_rule(&conformance(picky, read)),
        r#"appends: serializing b"" after other bytes failed: not empty"#,
    );
}

#[test]
fn p6_a_packet_that_should_be_refused_is_found() {
    let told = |packet: &Bytes, datagram: &mut BytesMut| {
        let _ = write(packet, datagram);
        Ok(())
    };
    assert_eq!(
        broken_rule(&conformance(told, read)),
        r#"refuses and goes on: b"!" was serialized"#,
    );
}

#[test]
fn p6_a_refusal_that_clears_the_buffer_is_found() {
    let tidy = |packet: &Bytes, datagram: &mut BytesMut| {
        write(packet, datagram).inspect_err(|_| datagram.clear())
    };
    assert_eq!(
        broken_rule(&conformance(tidy, read)),
        r#"refuses and goes on: refusing b"!" changed what stood in the buffer"#,
    );
}

#[test]
fn p6_a_refusal_that_spoils_the_next_packet_is_found() {
    // What was written before the refusal is kept, and sent with the next packet.
    let left = Mutex::new(Vec::new());
    let leaking = move |packet: &Bytes, datagram: &mut BytesMut| {
        let mut left = left.lock().unwrap();
        datagram.extend_from_slice(&std::mem::take(&mut *left));
        write(packet, datagram).inspect_err(|_| left.extend_from_slice(b"\x01"))
    };
    assert_eq!(
        broken_rule(&conformance(leaking, read)),
        r#"refuses and goes on: b"\x01\x00" says b"\0", not b"""#,
    );
}

#[test]
fn p6_a_refusal_that_ends_sending_is_found() {
    let refused = AtomicBool::new(false);
    let dead = move |packet: &Bytes, datagram: &mut BytesMut| {
        if refused.load(Ordering::Relaxed) {
            return Err("dead".into());
        }
        write(packet, datagram).inspect_err(|_| refused.store(true, Ordering::Relaxed))
    };
    assert_eq!(
        broken_rule(&conformance(dead, read)),
        r#"refuses and goes on: after b"!", serializing b"" failed: dead"#,
    );
}
