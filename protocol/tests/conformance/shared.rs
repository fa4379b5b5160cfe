//! What a serializer does wrong where several threads share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::{Bytes, BytesMut};

use super::{broken_rule, conformance, read, write};

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
