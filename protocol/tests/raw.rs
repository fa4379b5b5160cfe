//! The serializer that changes nothing.

use bytes::{Bytes, BytesMut};
use postbox_protocol::{RawSerializer, Serializer};
use proptest::prelude::*;

proptest! {
    #[test]
    fn p4_raw_has_no_end_mark_so_any_bytes_are_a_packet(
        packet in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut datagram = BytesMut::new();
        RawSerializer.serialize(&Bytes::from(packet.clone()), &mut datagram).unwrap();
        prop_assert_eq!(&datagram[..], &packet[..]);
        prop_assert_eq!(&RawSerializer.deserialize(&packet).unwrap()[..], &packet[..]);
    }
}

#[test]
fn p8_raw_receives_the_empty_datagram() {
    assert_eq!(RawSerializer.deserialize(b"").unwrap(), Bytes::new());
}

#[test]
fn raw_keeps_only_its_own_bytes_alive() {
    let datagram = vec![7; 10];
    let packet = RawSerializer.deserialize(&datagram[..2]).unwrap();
    drop(datagram);
    assert_eq!(packet, [7, 7].as_slice());
}
