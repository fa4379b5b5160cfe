//! The prefix: a magic number, a version.

use bytes::{Bytes, BytesMut};
use postbox_protocol::conformance::Conformance;
use postbox_protocol::{PrefixError, PrefixedSerializer, Serializer};
use proptest::prelude::*;

use super::support::*;

const MAGIC: &[u8] = b"PB\x01";

fn prefixed() -> PrefixedSerializer<postbox_protocol::RawSerializer> {
    PrefixedSerializer::new(RAW, MAGIC)
}

#[test]
fn p1_p4_p6_prefixed_datagrams_conform() {
    Conformance::new(prefixed())
        .packets(packets())
        .without_end_mark()
        .refuses_datagrams([
            &b""[..],
            b"P",
            b"PB",
            b"PB\x02",
            b"xPB\x01",
            b"\0\0\0packet",
        ])
        .check();
}

#[test]
fn prefixed_bytes_are_the_prefix_and_the_datagram() {
    assert_eq!(write(&prefixed(), b"packet"), b"PB\x01packet");
    assert_eq!(read(&prefixed(), b"PB\x01packet"), "packet");
    assert_eq!(read(&prefixed(), b"PB\x01"), "");
    // An empty prefix is one.
    assert_eq!(
        write(&PrefixedSerializer::new(RAW, Bytes::new()), b"x"),
        b"x"
    );
}

#[test]
fn p5_another_prefix_is_an_error_that_names_the_expected_one() {
    for datagram in damaged(MAGIC) {
        if datagram.starts_with(MAGIC) {
            continue;
        }
        let error: PrefixError = refusal(&prefixed(), &datagram);
        assert_eq!(
            error.to_string(),
            r#"the datagram does not begin with b"PB\x01""#
        );
    }
}

#[test]
fn p2_a_prefixed_serializer_flips() {
    flips(PrefixedSerializer::new(Length, MAGIC));
}

proptest! {
    #[test]
    fn prefixed_packets_come_back_and_are_longer_by_the_prefix(
        packet in any_packet(),
        prefix in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let serializer = PrefixedSerializer::new(RAW, prefix.clone());
        let datagram = write(&serializer, &packet);
        prop_assert_eq!(datagram.len(), packet.len() + prefix.len());
        prop_assert_eq!(read(&serializer, datagram), packet);
    }

    #[test]
    fn prefixed_any_bytes_are_an_error_or_a_value(
        datagram in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let whole = prefixed().deserialize(&datagram).is_ok();
        prop_assert_eq!(whole, datagram.starts_with(MAGIC));
        let mut buffer = BytesMut::new();
        prefixed().serialize(&datagram.into(), &mut buffer).unwrap();
        prop_assert!(prefixed().deserialize(&buffer).is_ok());
    }
}
