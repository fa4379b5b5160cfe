//! Base64, by itself and as EasyNetwork has it.

use std::error::Error;

use postbox_protocol::conformance::Conformance;
use postbox_protocol::{Base64Error, Base64Serializer, RawSerializer, Serializer};
use proptest::prelude::*;

use super::support::*;

const URL_SAFE: Base64Serializer<RawSerializer> = Base64Serializer::url_safe(RAW);
const STANDARD: Base64Serializer<RawSerializer> = Base64Serializer::standard(RAW);

/// What EasyNetwork 1.2 wrote with `Base64EncoderSerializer`, in its default alphabet, which is the
/// URL-safe one, and in the standard one.
const OF_EASYNETWORK: [(&[u8], &str, &str); 3] = [
    (b"", "", ""),
    (b"\xfb\xff", "-_8=", "+/8="),
    (
        b"\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff",
        "8PHy8_T19vf4-fr7_P3-_w==",
        "8PHy8/T19vf4+fr7/P3+/w==",
    ),
];

#[test]
fn p1_p4_p6_base64_conforms() {
    for serializer in [URL_SAFE, STANDARD] {
        Conformance::new(serializer)
            .packets(packets())
            // Any groups of four are a document.
            .without_end_mark()
            .refuses_datagrams([
                "A", "AA", "AAA", "====", "A===", "AA=A", "AAAA=", "AAAA\r\n", " AAAA", "AA AA",
                "AB==", "AAB=", "AA==AAAA", "\0\0\0\0", "é",
            ])
            .check();
    }
}

#[test]
fn base64_is_the_bytes_of_easynetwork() {
    for (packet, url_safe, standard) in OF_EASYNETWORK {
        assert_eq!(write(&URL_SAFE, packet), url_safe.as_bytes());
        assert_eq!(read(&URL_SAFE, url_safe), packet);
        assert_eq!(write(&STANDARD, packet), standard.as_bytes());
        assert_eq!(read(&STANDARD, standard), packet);
    }
}

#[test]
fn base64_of_the_other_alphabet_is_refused() {
    for (_, url_safe, standard) in &OF_EASYNETWORK[1..] {
        assert!(URL_SAFE.deserialize(standard.as_bytes()).is_err());
        assert!(STANDARD.deserialize(url_safe.as_bytes()).is_err());
    }
}

#[test]
fn p5_what_is_not_base64_is_an_error_of_its_own_kind() {
    let error: Base64Error = refusal(&URL_SAFE, "AA!A");
    assert_eq!(error.to_string(), "the datagram is not base64");
    assert!(error.source().unwrap().to_string().contains("offset 2"));
}

#[test]
fn p4_base64_cut_between_groups_of_letters_is_fewer_bytes() {
    let datagram = write(&URL_SAFE, b"whole!");
    assert_eq!(datagram, b"d2hvbGUh");
    for length in 0..datagram.len() {
        match length % 4 {
            0 => assert_eq!(
                read(&URL_SAFE, &datagram[..length]),
                &b"who"[..length / 4 * 3]
            ),
            _ => drop(refusal::<Base64Error>(&URL_SAFE, &datagram[..length])),
        }
    }
    assert_eq!(
        read(&URL_SAFE, [&datagram[..], b"IQ=="].concat()),
        "whole!!"
    );
    // Nothing follows padding.
    refusal::<Base64Error>(&URL_SAFE, "IQ==d2hv");
}

#[test]
fn base64_survives_all_damage_to_one_byte() {
    survives_all_damage(&URL_SAFE);
    survives_all_damage(&STANDARD);
}

#[test]
fn p2_a_base64_serializer_flips() {
    flips(Base64Serializer::url_safe(Length));
    flips(Base64Serializer::standard(Length));
    // The alphabet is the same on the other side: these bytes have its letters.
    let there = write(&STANDARD, b"\xfb\xff");
    assert_eq!(
        read(&postbox_protocol::Flip::flip(STANDARD), there),
        &b"\xfb\xff"[..]
    );
}

proptest! {
    #[test]
    fn base64_packets_come_back_and_are_as_long_as_told(packet in any_packet()) {
        for serializer in [URL_SAFE, STANDARD] {
            let datagram = write(&serializer, &packet);
            prop_assert_eq!(
                datagram.len(),
                Base64Serializer::<RawSerializer>::encoded_len(packet.len())
            );
            prop_assert!(datagram.is_ascii());
            prop_assert_eq!(read(&serializer, datagram), &packet);
        }
    }

    #[test]
    fn base64_has_one_text_for_each_packet(text in "[A-C+/_=-]{0,12}") {
        for serializer in [URL_SAFE, STANDARD] {
            if let Ok(packet) = serializer.deserialize(text.as_bytes()) {
                prop_assert_eq!(write(&serializer, packet), text.as_bytes());
            }
        }
    }
}
