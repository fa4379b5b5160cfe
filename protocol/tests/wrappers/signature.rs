//! The signature, by itself and as EasyNetwork has it.

use postbox_protocol::conformance::Conformance;
use postbox_protocol::{
    Base64Serializer, RawSerializer, Serializer, SignatureError, SignedSerializer, SigningKey,
};
use proptest::prelude::*;

use super::support::*;

fn signed() -> SignedSerializer<RawSerializer> {
    SignedSerializer::new(RAW, SigningKey::new(&SECRET))
}

/// What EasyNetwork 1.2 wrote with `Base64EncoderSerializer(.., checksum=SECRET_IN_BASE64)`.
const OF_EASYNETWORK: [(&[u8], &str); 2] = [
    (b"", "04tCCW2A9F-Ca0Sp1WB95ySWpBXT9KGoyI47udqNwcs="),
    (
        b"hello",
        "aGVsbG9TxAJypwwVyk7gr03x8VX9bEHgDOIwfYmH7NS7NqfpkA==",
    ),
];

#[test]
fn p1_p4_p6_signed_datagrams_conform() {
    Conformance::new(signed())
        .packets(packets())
        .refuses_datagrams([&b""[..], &[0; 31], &[0; 32], &[0; 33]])
        .check();
}

#[test]
fn signature_is_the_bytes_of_easynetwork_within_base64() {
    let key = SigningKey::from_base64(SECRET_IN_BASE64).unwrap();
    for key in [key, SigningKey::new(&SECRET)] {
        let serializer = Base64Serializer::url_safe(SignedSerializer::new(RAW, key));
        for (packet, theirs) in OF_EASYNETWORK {
            assert_eq!(write(&serializer, packet), theirs.as_bytes());
            assert_eq!(read(&serializer, theirs), packet);
        }
    }
}

#[test]
fn signature_key_in_base64_stands_in_no_memory_that_is_given_back() {
    let used = allocation_counter::measure(|| {
        assert!(SigningKey::from_base64(SECRET_IN_BASE64).is_ok());
    });
    assert_eq!(used.count_total, 0, "{used:?}");
}

#[test]
fn signature_is_hmac_sha_256() {
    // Case 3 of RFC 4231, its key filled up with zeros, which is what HMAC does with a short one.
    let mut secret = [0; 32];
    secret[..20].fill(0xaa);
    let serializer = SignedSerializer::new(RAW, SigningKey::new(&secret));
    let signature = "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe";
    let datagram = write(&serializer, [0xdd; 50]);
    let written: String = datagram[50..].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(written, signature);
}

#[test]
fn signature_refuses_all_damage_to_one_byte() {
    refuses_all_damage(&signed());
}

#[test]
fn signature_of_another_key_is_refused() {
    for position in 0..32 {
        let mut secret = SECRET;
        secret[position] ^= 1;
        let theirs = SignedSerializer::new(RAW, SigningKey::new(&secret));
        assert!(signed().deserialize(&write(&theirs, b"packet")).is_err());
    }
}

#[test]
fn p5_a_wrong_signature_is_an_error_that_tells_nothing() {
    let good = write(&signed(), b"packet");
    let mut wrong_content = good.clone();
    wrong_content[0] ^= 1;
    let mut wrong_first = good.clone();
    wrong_first[6] ^= 1;
    let mut wrong_last = good.clone();
    *wrong_last.last_mut().unwrap() ^= 1;
    let errors = [&wrong_content, &wrong_first, &wrong_last, &good[..31], b""]
        .map(|datagram| refusal::<SignatureError>(&signed(), datagram));
    for error in errors {
        assert_eq!(error, errors[0]);
        assert_eq!(error.to_string(), "the signature is wrong");
        assert_eq!(format!("{error:?}"), "SignatureError(())");
        assert!(std::error::Error::source(&error).is_none());
    }
}

#[test]
fn signing_keys_in_base64_are_32_bytes() {
    for text in [
        "",
        "AAEC",
        "not base64",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
    ] {
        let error = SigningKey::from_base64(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the key is not the URL-safe base64 of 32 bytes"
        );
    }
}

#[test]
fn signing_keys_are_not_shown() {
    assert_eq!(
        format!("{:?}", signed()),
        "SignedSerializer { serializer: RawSerializer, key: SigningKey { .. } }"
    );
}

#[test]
fn p2_a_signed_serializer_flips() {
    flips(SignedSerializer::new(Length, SigningKey::new(&SECRET)));
}

proptest! {
    #[test]
    fn signed_packets_come_back_and_are_longer_by_the_overhead(packet in any_packet()) {
        let datagram = write(&signed(), &packet);
        prop_assert_eq!(
            datagram.len(),
            packet.len() + SignedSerializer::<RawSerializer>::OVERHEAD
        );
        prop_assert!(datagram.starts_with(&packet));
        prop_assert_eq!(read(&signed(), datagram), packet);
    }
}
