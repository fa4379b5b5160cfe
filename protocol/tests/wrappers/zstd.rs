//! Compression with Zstandard.

use allocation_counter::measure;
use bytes::{Bytes, BytesMut};
use postbox_protocol::conformance::Conformance;
use postbox_protocol::{CompressionError, Flip, RawSerializer, Serializer, ZstdSerializer};
use proptest::prelude::*;

use super::support::*;

fn zstd() -> ZstdSerializer<RawSerializer> {
    ZstdSerializer::new(RAW)
}

/// Frames made by hand, after RFC 8878: what they hold, their header, their blocks.
const BY_HAND: [(&[u8], &str, &str); 6] = [
    (b"", "2000", "010000"),
    (b"hello", "2005", "29000068656c6c6f"),
    // Two blocks.
    (b"hello", "2005", "10000068651900006c6c6f"),
    // One byte again and again.
    (b"aaaaa", "2005", "2b000061"),
    // The length is not told; a window of 1 KiB.
    (b"hello", "0000", "29000068656c6c6f"),
    // A window of 2 GiB, of which nothing is allocated.
    (b"hello", "00a8", "29000068656c6c6f"),
];

fn frame(header: &str, blocks: &str) -> Vec<u8> {
    [hex("28b52ffd"), hex(header), hex(blocks)].concat()
}

/// Returns a datagram that holds many zeros.
fn bomb(length: usize) -> Vec<u8> {
    write(&zstd().with_max_len(length), vec![0; length])
}

#[test]
fn p1_p4_p6_zstd_conforms() {
    Conformance::new(zstd().with_max_len(50))
        .packets(packets())
        .refuses_packets([noise(51)])
        .refuses_datagrams([
            hex(""),
            hex("28b52ffd"),
            // To be skipped; needs a dictionary; an old version; a reserved bit; a reserved block.
            hex("502a4d1800000000"),
            frame("210100", "010000"),
            hex("27b52ffd2000010000"),
            frame("2800", "010000"),
            frame("2000", "070000"),
            // Holds more, or less, than it says.
            frame("2004", "29000068656c6c6f"),
            frame("2006", "29000068656c6c6f"),
            bomb(51),
        ])
        .check();
    for level in [-7, 0, 1, 3, 19, 22] {
        Conformance::new(zstd().with_level(level))
            .packets([Bytes::new(), Bytes::from_static(b"ten bytes!")])
            .refuses_datagrams([b""])
            .check();
    }
}

#[test]
fn zstd_reads_frames_made_by_hand() {
    for (packet, header, blocks) in BY_HAND {
        assert_eq!(read(&zstd(), frame(header, blocks)), packet);
    }
}

#[test]
fn zstd_reads_a_checksum_where_there_is_one() {
    // The low half of XXH64 of nothing.
    assert_eq!(read(&zstd(), frame("2400", "01000099e9d851")), "");
    let _: CompressionError = refusal(&zstd(), frame("2400", "01000099e9d850"));
}

#[test]
fn zstd_bytes_are_these() {
    assert_eq!(write(&zstd(), b""), frame("2000", "010000"));
    assert_eq!(write(&zstd(), b"hello"), frame("2005", "29000068656c6c6f"));
}

#[test]
fn zstd_survives_all_damage_to_one_byte() {
    survives_all_damage(&zstd());
}

#[test]
fn p4_zstd_refuses_what_is_cut_short_or_left_over() {
    let datagram = write(&zstd(), b"ten bytes!");
    for length in 0..datagram.len() {
        let _: CompressionError = refusal(&zstd(), &datagram[..length]);
    }
    for length in 0..4 {
        let error: CompressionError = refusal(&zstd(), &datagram[..length]);
        assert_eq!(error.to_string(), "the compressed data is cut short");
    }
    let skipped = hex("502a4d1800000000");
    for rest in [&b"\0"[..], b"\x28", &datagram, &skipped] {
        let error: CompressionError = refusal(&zstd(), [&datagram, rest].concat());
        assert_eq!(
            error.to_string(),
            "bytes are left over after the compressed data"
        );
    }
}

#[test]
fn p5_what_is_not_zstandard_is_an_error_of_its_own_kind() {
    for datagram in [b"no frame at all".to_vec(), frame("2000", "070000")] {
        let error: CompressionError = refusal(&zstd(), datagram);
        assert_eq!(error.to_string(), "not compressed data");
        assert!(std::error::Error::source(&error).is_some());
        assert!(!error.is_too_large());
    }
}

/// Returns a frame of blocks of 128 KiB of one byte, which does not tell how many.
fn silent_bomb(blocks: usize) -> Vec<u8> {
    let block = hex("02001000");
    let mut bomb = frame("0038", "");
    for _ in 1..blocks {
        bomb.extend_from_slice(&block);
    }
    bomb.extend_from_slice(&hex("03001000"));
    bomb
}

#[test]
fn zstd_refuses_a_bomb_that_does_not_tell_its_length() {
    let bomb = silent_bomb(1000);
    let length = 1000 << 17;
    assert_eq!(read(&zstd().with_max_len(length), &bomb).len(), length);
    for max_len in [0, 1, 65_536, 1 << 17, (1 << 20) + 1] {
        let serializer = zstd().with_max_len(max_len);
        let error: CompressionError = refusal(&serializer, &bomb);
        assert!(error.is_too_large(), "{error}");
        let used = measure(|| assert!(serializer.deserialize(&bomb).is_err()));
        assert!(used.bytes_max < max_len as u64 + 500, "{used:?}");
    }
    // One that is as large as it may be.
    assert_eq!(
        read(&zstd().with_max_len(1 << 17), silent_bomb(1)).len(),
        1 << 17
    );
    assert!(
        zstd()
            .with_max_len((1 << 17) - 1)
            .deserialize(&silent_bomb(1))
            .is_err()
    );
}

#[test]
fn zstd_takes_no_memory_for_a_length_that_lies() {
    // It says 2 GiB.
    let liar = frame("a000000080", "29000068656c6c6f");
    let used = measure(|| assert!(zstd().deserialize(&liar).is_err()));
    assert!(used.bytes_max < 500, "{used:?}");
    let trusting = zstd().with_max_len(usize::MAX);
    let used = measure(|| assert!(trusting.deserialize(&liar).is_err()));
    assert!(used.bytes_max < 300_000, "{used:?}");
}

#[test]
fn zstd_allows_what_the_bound_says_and_no_byte_more() {
    for max_len in [0, 1, 255, 256, 257, 1023, 1024, 65_536, 100_000] {
        let serializer = zstd().with_max_len(max_len);
        for packet in [Bytes::from(vec![0; max_len]), noise(max_len)] {
            let datagram = write(&serializer, &packet);
            assert_eq!(read(&serializer, datagram), packet);
        }
        let error: CompressionError = refusal(&serializer, bomb(max_len + 1));
        assert!(error.is_too_large());
        assert_eq!(
            error.to_string(),
            format!("more than {max_len} bytes before compression")
        );
        let sent = serializer.serialize(&noise(max_len + 1), &mut BytesMut::new());
        let error: CompressionError = *sent.unwrap_err().downcast().unwrap();
        assert!(error.is_too_large());
    }
}

#[test]
fn zstd_refuses_a_bomb_before_it_is_inflated() {
    let bomb = bomb(20 << 20);
    assert!(bomb.len() < 65_507);
    let used = measure(|| assert!(zstd().deserialize(&bomb).is_err()));
    assert!(used.bytes_max < 500, "{used:?}");
}

#[test]
fn zstd_takes_the_memory_it_says() {
    let serializer = zstd();
    let packet = noise(1000);
    let mut datagram = BytesMut::with_capacity(10_000);
    serializer.serialize(&packet, &mut datagram).unwrap();
    datagram.clear();
    let later = measure(|| serializer.serialize(&packet, &mut datagram).unwrap());
    assert_eq!(later.count_total, 0);

    read(&serializer, &datagram);
    // One buffer, and what the serializer within returns.
    let later = measure(|| drop(read(&serializer, &datagram)));
    assert_eq!(later.count_total, 2, "{later:?}");
}

#[test]
fn zstd_makes_datagrams_longer_by_no_more_than_it_says() {
    for length in (0..300).chain([511, 512, 65_535, 65_536, 131_072]) {
        for level in [-7, 1, 3, 19] {
            let serializer = zstd().with_level(level).with_max_len(131_072);
            let written = write(&serializer, noise(length)).len();
            assert!(written <= length + 12, "{length} at {level}: {written}");
        }
    }
}

#[test]
fn zstd_levels_are_told_apart_and_bounded() {
    let packet = words(3000);
    let [fast, middle, best, beyond] =
        [-7, 3, 22, 100].map(|level| write(&zstd().with_level(level), &packet));
    assert!(fast.len() > middle.len() && middle.len() > best.len());
    assert_eq!(best, beyond);
    // Also after it has been used at another.
    let used = zstd().with_level(22);
    write(&used, &packet);
    assert_eq!(write(&used.with_level(3), &packet), middle);
}

#[test]
fn zstd_copies_have_the_same_settings() {
    let serializer = zstd().with_level(0).with_max_len(10);
    let copy = serializer.clone();
    assert_eq!(format!("{copy:?}"), format!("{serializer:?}"));
    assert_eq!(format!("{:?}", serializer.flip()), format!("{copy:?}"));
    assert_eq!(
        format!("{copy:?}"),
        "ZstdSerializer { serializer: RawSerializer, level: 0, max_len: 10, .. }"
    );
}

#[test]
fn p2_a_zstd_serializer_flips() {
    flips(ZstdSerializer::new(Length));
}

proptest! {
    #[test]
    fn zstd_packets_come_back(packet in any_packet(), level in -7_i32..20) {
        prop_assert_eq!(read(&zstd(), write(&zstd().with_level(level), &packet)), packet);
    }

    #[test]
    fn zstd_any_bytes_are_an_error_or_a_value(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = zstd().deserialize(&bytes);
        let _ = zstd().deserialize(&[&b"\x28\xb5\x2f\xfd"[..], &bytes].concat());
    }

    #[test]
    fn zstd_after_a_refusal_reads_on(
        bytes in prop::collection::vec(any::<u8>(), 0..50),
        packet in any_packet(),
    ) {
        let serializer = zstd();
        let datagram = write(&serializer, &packet);
        let _ = serializer.deserialize(&[&b"\x28\xb5\x2f\xfd"[..], &bytes].concat());
        prop_assert_eq!(read(&serializer, datagram), packet);
    }
}
