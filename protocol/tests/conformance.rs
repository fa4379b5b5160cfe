//! The suite passes what keeps its rules, and names the rule that a broken serializer breaks.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::{Bytes, BytesMut};
use postbox_protocol::conformance::Conformance;
use postbox_protocol::{BoxError, Flip, RawSerializer, Serializer};

use common::{Text, TextConverter, Wrapped};

// The format of these tests: one byte of length, then the bytes. A packet of `b"!"` cannot be said.

fn write(packet: &Bytes, datagram: &mut BytesMut) -> Result<(), BoxError> {
    datagram.extend_from_slice(&[u8::try_from(packet.len())?]);
    if packet == "!" {
        return Err("not to be said".into());
    }
    datagram.extend_from_slice(packet);
    Ok(())
}

fn read(datagram: &[u8]) -> Result<Bytes, BoxError> {
    match datagram.split_first() {
        Some((length, rest)) if usize::from(*length) == rest.len() && rest != b"!" => {
            Ok(Bytes::copy_from_slice(rest))
        }
        _ => Err("the length is wrong".into()),
    }
}

struct Format<W, R> {
    write: W,
    read: R,
}

impl<W, R> Serializer for Format<W, R>
where
    W: Fn(&Bytes, &mut BytesMut) -> Result<(), BoxError> + Send + Sync + 'static,
    R: Fn(&[u8]) -> Result<Bytes, BoxError> + Send + Sync + 'static,
{
    type Sent = Bytes;
    type Received = Bytes;

    fn serialize(&self, packet: &Bytes, datagram: &mut BytesMut) -> Result<(), BoxError> {
        (self.write)(packet, datagram)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Bytes, BoxError> {
        (self.read)(datagram)
    }
}

type Run<W, R> = Conformance<Arc<Format<W, R>>, Arc<Format<W, R>>>;

fn conformance<W, R>(write: W, read: R) -> Run<W, R>
where
    W: Fn(&Bytes, &mut BytesMut) -> Result<(), BoxError> + Send + Sync + 'static,
    R: Fn(&[u8]) -> Result<Bytes, BoxError> + Send + Sync + 'static,
{
    Conformance::new(Format { write, read })
        .packets(["", "one", "two"].map(Bytes::from))
        .refuses_packets(["!"].map(Bytes::from))
        .refuses_datagrams([b"\x01!"])
}

/// Runs the suite and returns what it says is broken.
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn broken_rule<W, R>(conformance: &Run<W, R>) -> String
where
    W: Fn(&Bytes, &mut BytesMut) -> Result<(), BoxError> + Send + Sync + 'static,
    R: Fn(&[u8]) -> Result<Bytes, BoxError> + Send + Sync + 'static,
{
    let panic = catch_unwind(AssertUnwindSafe(|| conformance.check())).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_sound_serializer_passes() {
    conformance(write, read).check();
}

#[test]
fn text_passes_in_both_directions() {
    let server = || Text::<bool, u8>::new();
    Conformance::between(server(), server().flip())
        .packets([true, false])
        .refuses_datagrams(["", "maybe", "truetrue"])
        .check();
    Conformance::between(server().flip(), server())
        .packets([0, 9, 255])
        .without_end_mark()
        .refuses_datagrams(["", "256", "-1"])
        .check();
}

#[test]
fn p8_raw_bytes_pass_without_an_end_mark_and_the_empty_datagram_is_a_packet() {
    Conformance::new(RawSerializer)
        .packets(["", "a", "more bytes"].map(Bytes::from))
        .without_end_mark()
        .check();
}

#[test]
fn a_wrapper_of_a_converter_passes() {
    Conformance::new(Wrapped::new(RawSerializer, TextConverter))
        .packets(["".to_owned(), "text".to_owned()])
        .without_end_mark()
        .refuses_datagrams([b"\xff"])
        .check();
}

#[test]
#[should_panic = "no packets were given: nothing was tried"]
fn a_run_without_packets_fails() {
    Conformance::new(Format { write, read }).check();
}

#[test]
fn debug_shows_the_packets() {
    let conformance = Conformance::new(RawSerializer).packets([Bytes::from("shown")]);
    assert_eq!(
        format!("{conformance:?}"),
        r#"Conformance { packets: [b"shown"], .. }"#
    );
}

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

#[test]
fn p1_a_serializer_bound_to_its_thread_is_found() {
    let home = thread::current().id();
    let homesick = move |datagram: &[u8]| {
        if thread::current().id() != home {
            return Err("far from home".into());
        }
        read(datagram)
    };
    assert_eq!(
        broken_rule(&conformance(write, homesick)),
        r#"is shared by threads: deserializing b"\x00" failed: far from home"#,
    );
}

#[test]
fn p1_every_thread_sends_every_packet_many_times() {
    let home = thread::current().id();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let counting = move |packet: &Bytes, datagram: &mut BytesMut| {
        if thread::current().id() != home {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        write(packet, datagram)
    };
    conformance(counting, read).check();
    // Four threads, sixteen rounds, three packets.
    assert_eq!(count.load(Ordering::Relaxed), 4 * 16 * 3);
}
