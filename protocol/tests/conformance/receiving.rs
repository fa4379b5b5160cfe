//! What a serializer does wrong with the datagrams that it is to read.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;

use super::{broken_rule, conformance, read, write};

#[test]
fn p1_state_between_datagrams_is_found() {
    // Packets are numbered, and only read in that order, from the first one again and again.
    let next = AtomicUsize::new(0);
    let ordered = move |datagram: &[u8]| {
        let packet = read(datagram)?;
        let order = ["", "one", "two"].map(Bytes::from);
        if packet != order[next.fetch_add(1, Ordering::Relaxed) % order.len()] {
            return Err("out of order".into());
        }
        Ok(packet)
    };
    assert_eq!(
        broken_rule(&conformance(write, ordered)),
        r#"keeps no state: deserializing b"\x03two" failed: out of order"#,
    );
}

#[test]
fn p1_reading_a_datagram_once_only_is_found() {
    let last = Mutex::new(Bytes::new());
    // `comes back` and `appends` read the packets one after the other, never the same one twice.
    let once = move |datagram: &[u8]| {
        let packet = read(datagram)?;
        let before = std::mem::replace(&mut *last.lock().unwrap(), packet.clone());
        if !packet.is_empty() && before == packet {
            return Err("once is enough".into());
        }
        Ok(packet)
    };
    assert_eq!(
        broken_rule(&conformance(write, once)),
        r#"keeps no state: deserializing b"\x03two" failed: once is enough"#,
    );
}

#[test]
fn p4_a_document_cut_short_is_found() {
    let lenient = |datagram: &[u8]| match datagram {
        [3, b'o', b'n'] => Ok(Bytes::from("one")),
        _ => read(datagram),
    };
    assert_eq!(
        broken_rule(&conformance(write, lenient)),
        r#"marks its end: b"\x03on" was taken for b"one""#,
    );
}

#[test]
fn p4_an_empty_datagram_taken_for_a_packet_is_found() {
    let lenient = |datagram: &[u8]| match datagram {
        [] => Ok(Bytes::new()),
        _ => read(datagram),
    };
    assert_eq!(
        broken_rule(&conformance(write, lenient)),
        r#"marks its end: b"" was taken for b"""#,
    );
}

#[test]
fn p4_any_byte_left_over_is_found() {
    for over in [0, b' ', u8::MAX] {
        let lenient = move |datagram: &[u8]| match datagram {
            [packet @ .., last] if packet.len() > 1 && *last == over => read(packet),
            _ => read(datagram),
        };
        let found = broken_rule(&conformance(write, lenient));
        assert_eq!(
            found,
            format!(
                r#"marks its end: b"\x03one{}" was taken for b"one""#,
                over.escape_ascii()
            ),
        );
    }
}

#[test]
fn p4_two_documents_in_one_datagram_are_found() {
    let lenient = |datagram: &[u8]| match datagram {
        b"\x03one\x03one" => Ok(Bytes::from("one")),
        _ => read(datagram),
    };
    assert_eq!(
        broken_rule(&conformance(write, lenient)),
        r#"marks its end: b"\x03one\x03one" was taken for b"one""#,
    );
}

#[test]
fn p4_ignored_bytes_are_not_left_over_and_must_be_ignored() {
    let trimmed = |datagram: &[u8]| read(datagram.trim_ascii_end());
    conformance(write, trimmed)
        .ignoring_after(b" \t\n\x0c")
        .ignoring_after("\r")
        .check();
    assert_eq!(
        broken_rule(&conformance(write, read).ignoring_after(" ")),
        r#"marks its end: deserializing b"\x00 " failed: the length is wrong"#,
    );
    // They are tried in a format without an end mark as well.
    assert!(
        broken_rule(
            &conformance(write, read)
                .without_end_mark()
                .ignoring_after(" ")
        )
        .starts_with("marks its end"),
    );
}

#[test]
fn a_panic_on_any_damaged_byte_is_found() {
    // The length, the first and the last byte; a turned bit, and the bytes that mark ranges.
    for damaged in [
        &b"\x01one"[..],
        b"\x03nne",
        b"\x03ond",
        b"\x03on\xe5",
        b"\x03on\x00",
        b"\x03o\x7fe",
        b"\x03\x80ne",
        b"\xffone",
    ] {
        let bomb = move |datagram: &[u8]| {
            assert_ne!(datagram, damaged, "boom");
            read(datagram)
        };
        let shown = damaged.escape_ascii();
        assert_eq!(
            broken_rule(&conformance(write, bomb)),
            format!(r#"survives damage: deserializing b"{shown}" panicked"#),
        );
    }
}

#[test]
fn a_panic_on_a_datagram_cut_short_is_found_without_an_end_mark_too() {
    for length in 0..4 {
        let bomb = move |datagram: &[u8]| {
            assert_ne!(datagram, &b"\x03one"[..length], "boom");
            read(datagram)
        };
        let cut = b"\x03one"[..length].escape_ascii().to_string();
        // The whole datagram of the empty packet is one byte, never read as a part of another.
        assert_eq!(
            broken_rule(&conformance(write, bomb).without_end_mark()),
            format!(r#"survives damage: deserializing b"{cut}" panicked"#),
        );
    }
}

#[test]
fn going_dumb_after_damage_is_found() {
    // One refusal is remembered, and spoils what follows.
    let spoiled = AtomicBool::new(false);
    let sulking = move |datagram: &[u8]| {
        if datagram == b"\x03on\x00" {
            spoiled.store(true, Ordering::Relaxed);
        }
        if spoiled.load(Ordering::Relaxed) {
            Err("sulking".into())
        } else {
            read(datagram)
        }
    };
    assert_eq!(
        broken_rule(&conformance(write, sulking)),
        r#"survives damage: deserializing b"\x03one" failed: sulking"#,
    );
}

#[test]
fn a_datagram_that_should_be_refused_is_found() {
    assert_eq!(
        broken_rule(&conformance(write, read).refuses_datagrams([b"\x03one"])),
        r#"refuses and goes on: b"\x03one" was taken for b"one""#,
    );
}

#[test]
fn a_refused_datagram_that_spoils_the_next_is_found() {
    let spoiled = AtomicBool::new(false);
    let sulking = move |datagram: &[u8]| {
        if datagram == b"\x01!" {
            spoiled.store(true, Ordering::Relaxed);
        }
        if spoiled.load(Ordering::Relaxed) {
            Err("sulking".into())
        } else {
            read(datagram)
        }
    };
    assert_eq!(
        broken_rule(&conformance(write, sulking)),
        r#"refuses and goes on: deserializing b"\x00" failed: sulking"#,
    );
}
