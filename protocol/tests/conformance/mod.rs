//! The suite passes what keeps its rules, and names the rule that a broken serializer breaks.

mod receiving;
mod sending;
mod shared;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use postbox_protocol::conformance::Conformance;
use postbox_protocol::{BoxError, Flip, RawSerializer, Serializer};

use crate::common::{Text, TextConverter, Wrapped};

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
        .refuses_nothing()
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
#[should_panic = "nothing to refuse was given: say `refuses_nothing` if there is none"]
fn a_run_without_anything_to_refuse_fails_unless_it_says_so() {
    let run = || Conformance::new(Format { write, read }).packets([Bytes::new()]);
    run().refuses_nothing().check();
    run().refuses_packets([Bytes::from("!")]).check();
    run().refuses_datagrams([b"\x01!"]).check();
    run().check();
}

#[test]
fn debug_shows_the_packets() {
    let conformance = Conformance::new(RawSerializer).packets([Bytes::from("shown")]);
    assert_eq!(
        format!("{conformance:?}"),
        r#"Conformance { packets: [b"shown"], .. }"#
    );
}
