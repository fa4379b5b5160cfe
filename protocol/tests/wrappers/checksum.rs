//! The checksum, by itself and as EasyNetwork has it.

use postbox_protocol::conformance::Conformance;
use postbox_protocol::{Base64Serializer, ChecksumError, ChecksumSerializer, RawSerializer};
use proptest::prelude::*;

use super::support::*;

const CHECKED: ChecksumSerializer<RawSerializer> = ChecksumSerializer::new(RAW);

/// What EasyNetwork 1.2 wrote with `Base64EncoderSerializer(.., checksum=True)`.
const OF_EASYNETWORK: [(&[u8], &str); 2] = [
    (b"", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="),
    (
        b"hello",
        "aGVsbG8s8k26X7CjDiboOyrFueKeGxYeXB-nQl5zBDNik4uYJA==",
    ),
];

#[test]
fn p1_p4_p6_checked_datagrams_conform() {
    Conformance::new(CHECKED)
        .packets(packets())
        .refuses_datagrams([&b""[..], &[0; 31], &[0; 32], &[0; 33]])
        .check();
}

#[test]
fn checksum_is_the_bytes_of_easynetwork_within_base64() {
    let serializer = Base64Serializer::url_safe(CHECKED);
    for (packet, theirs) in OF_EASYNETWORK {
        assert_eq!(write(&serializer, packet), theirs.as_bytes());
        assert_eq!(read(&serializer, theirs), packet);
    }
}

#[test]
fn checksum_finds_all_damage_to_one_byte() {
    refuses_all_damage(&CHECKED);
}

#[test]
fn p5_a_wrong_checksum_is_an_error_of_its_own_kind() {
    for datagram in [vec![], vec![0; 31], vec![0; 32], vec![0; 100]] {
        let error: ChecksumError = refusal(&CHECKED, datagram);
        assert_eq!(error.to_string(), "the checksum is wrong");
    }
}

#[test]
fn p2_a_checked_serializer_flips() {
    flips(ChecksumSerializer::new(Length));
}

proptest! {
    #[test]
    fn checked_packets_come_back_and_are_longer_by_the_overhead(packet in any_packet()) {
        let datagram = write(&CHECKED, &packet);
        prop_assert_eq!(
            datagram.len(),
            packet.len() + ChecksumSerializer::<RawSerializer>::OVERHEAD
        );
        prop_assert!(datagram.starts_with(&packet));
        prop_assert_eq!(read(&CHECKED, datagram), packet);
    }
}
