//! Compression with zlib, by itself and as EasyNetwork has it.

use allocation_counter::measure;
use bytes::{Bytes, BytesMut};
use postbox_protocol::conformance::Conformance;
use postbox_protocol::{CompressionError, Flip, RawSerializer, Serializer, ZlibSerializer};
use proptest::prelude::*;

use super::support::*;

fn zlib() -> ZlibSerializer<RawSerializer> {
    ZlibSerializer::new(RAW)
}

/// What EasyNetwork 1.2 wrote with `ZlibCompressorSerializer`, at its default level, 1 and 0.
const OF_EASYNETWORK: [(&[u8], &str); 7] = [
    (b"", "78da030000000001"),
    (b"", "7801030000000001"),
    (b"", "7801010000ffff00000001"),
    (b"hello", "78dacb48cdc9c90700062c0215"),
    (b"hello", "7801cb48cdc9c90700062c0215"),
    (b"hello", "7801010500faff68656c6c6f062c0215"),
    (
        b"hello hello hello hello hello hello hello hello hello hello hello hello hello hello \
          hello hello hello hello hello hello hello hello hello hello hello hello hello hello \
          hello hello hello hello hello hello hello hello hello hello hello hello ",
        "78dacb48cdc9c957c818312400982f5821",
    ),
];

/// A stream that needs the preset dictionary `hello`, made by Python's zlib.
const WITH_DICTIONARY: &str = "78bb062c0215cb001100062c0215";

/// A stream that begins by repeating three bytes of what came before it, where there is nothing.
/// The checksum is that of zeros.
const WITH_BYTES_BEFORE_THE_FIRST: &str = "789c03020000030001";

/// Returns a datagram that holds many zeros.
fn bomb(length: usize) -> Vec<u8> {
    write(&zlib().with_max_len(length), vec![0; length])
}

#[test]
fn p1_p4_p6_zlib_conforms() {
    Conformance::new(zlib().with_max_len(50))
        .packets(packets())
        .refuses_packets([noise(51)])
        .refuses_datagrams([
            hex(""),
            hex("78"),
            hex("789c"),
            hex("7801010000ffff0000000178"),
            hex(WITH_DICTIONARY),
            bomb(51),
        ])
        .check();
    for level in 0..=9 {
        Conformance::new(zlib().with_level(level))
            .packets([Bytes::new(), Bytes::from_static(b"ten bytes!")])
            .refuses_datagrams([b""])
            .check();
    }
}

#[test]
fn zlib_reads_the_bytes_of_easynetwork() {
    for (packet, theirs) in OF_EASYNETWORK {
        assert_eq!(read(&zlib(), hex(theirs)), packet);
    }
}

#[test]
fn zlib_bytes_are_these() {
    assert_eq!(write(&zlib(), b""), hex("789c030000000001"));
    assert_eq!(write(&zlib(), b"hello"), hex("789ccb48cdc9c90700062c0215"));
}

#[test]
fn zlib_survives_all_damage_to_one_byte() {
    survives_all_damage(&zlib());
}

#[test]
fn p4_zlib_refuses_what_is_cut_short_or_left_over() {
    let datagram = write(&zlib(), b"ten bytes!");
    for length in 0..datagram.len() {
        let error: CompressionError = refusal(&zlib(), &datagram[..length]);
        assert_eq!(error.to_string(), "the compressed data is cut short");
    }
    for rest in [&b"\0"[..], b"\x78", &datagram] {
        let error: CompressionError = refusal(&zlib(), [&datagram, rest].concat());
        assert_eq!(
            error.to_string(),
            "bytes are left over after the compressed data"
        );
    }
}

#[test]
fn p5_what_is_not_zlib_is_an_error_of_its_own_kind() {
    let mut wrong_checksum = write(&zlib(), b"ten bytes!");
    *wrong_checksum.last_mut().unwrap() ^= 1;
    for datagram in [
        b"no zlib at all".to_vec(),
        hex(WITH_DICTIONARY),
        wrong_checksum,
    ] {
        let error: CompressionError = refusal(&zlib(), datagram);
        assert_eq!(error.to_string(), "not compressed data");
        assert!(std::error::Error::source(&error).is_some());
        assert!(!error.is_too_large());
    }
}

#[test]
fn zlib_refuses_what_refers_to_bytes_before_the_first() {
    for serializer in [zlib(), zlib().with_max_len(3)] {
        let error: CompressionError = refusal(&serializer, hex(WITH_BYTES_BEFORE_THE_FIRST));
        assert_eq!(error.to_string(), "not compressed data");
        // Also after another datagram, of which it sees nothing.
        read(&serializer, write(&serializer, b"abc"));
        let _: CompressionError = refusal(&serializer, hex(WITH_BYTES_BEFORE_THE_FIRST));
    }
}

#[test]
fn zlib_makes_room_for_what_is_much_shorter_compressed() {
    for length in [255, 256, 257, 1023, 1024, 1025, 4096, 20_000, 65_536] {
        let packet = Bytes::from(vec![b'a'; length]);
        let datagram = write(&zlib(), &packet);
        assert_eq!(read(&zlib(), &datagram), packet);
        for shorter in 0..datagram.len() {
            let error: CompressionError = refusal(&zlib(), &datagram[..shorter]);
            assert_eq!(error.to_string(), "the compressed data is cut short");
        }
    }
}

#[test]
fn zlib_allows_what_the_bound_says_and_no_byte_more() {
    for max_len in [0, 1, 255, 256, 257, 1023, 1024, 65_536, 100_000] {
        let serializer = zlib().with_max_len(max_len);
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
fn zlib_refuses_a_bomb_before_it_is_inflated() {
    let bomb = bomb(20 << 20);
    assert!(bomb.len() < 65_507);
    let used = measure(|| assert!(zlib().deserialize(&bomb).is_err()));
    assert!(used.bytes_max < 400_000, "{used:?}");

    let kept = zlib();
    read(&kept, write(&kept, b""));
    let used = measure(|| assert!(kept.deserialize(&bomb).is_err()));
    // The buffer while it grows, and the error.
    assert!(used.bytes_max < 2 * 65_537 + 500, "{used:?}");
}

#[test]
fn zlib_takes_the_memory_it_says() {
    let serializer = zlib();
    let packet = noise(1000);
    let mut datagram = BytesMut::with_capacity(10_000);
    let first = measure(|| serializer.serialize(&packet, &mut datagram).unwrap());
    assert!(first.bytes_max < 400 << 10, "{first:?}");
    datagram.clear();
    let later = measure(|| serializer.serialize(&packet, &mut datagram).unwrap());
    assert_eq!(later.count_total, 0);

    let first = measure(|| drop(read(&serializer, &datagram)));
    assert!(first.bytes_max < 60 << 10, "{first:?}");
    // One buffer, and what the serializer within returns.
    let later = measure(|| drop(read(&serializer, &datagram)));
    assert_eq!(later.count_total, 2, "{later:?}");
}

#[test]
fn zlib_makes_datagrams_longer_by_no_more_than_it_says() {
    for length in (0..200).chain([31_744, 31_745, 40_000, 65_535, 65_536]) {
        for level in [0, 1, 6, 9] {
            let written = write(&zlib().with_level(level), noise(length)).len();
            let most = match (length, level) {
                (0..=31_744, _) => 11,
                (_, 1) => 70,
                _ => 21,
            };
            assert!(written <= length + most, "{length} at {level}: {written}");
        }
    }
}

#[test]
fn zlib_levels_are_told_apart_and_bounded() {
    let packet = words(3000);
    let [none, fast, best, beyond] =
        [0, 1, 9, 100].map(|level| write(&zlib().with_level(level), &packet));
    assert!(none.len() > fast.len() && fast.len() > best.len());
    assert_eq!(best, beyond);
    // Also after it has been used at another.
    let used = zlib().with_level(9);
    write(&used, &packet);
    assert_eq!(write(&used.with_level(0), &packet), none);
}

#[test]
fn zlib_copies_have_the_same_settings() {
    let serializer = zlib().with_level(0).with_max_len(10);
    let copy = serializer.clone();
    assert_eq!(format!("{copy:?}"), format!("{serializer:?}"));
    assert_eq!(format!("{:?}", serializer.flip()), format!("{copy:?}"));
    assert_eq!(
        format!("{copy:?}"),
        "ZlibSerializer { serializer: RawSerializer, level: 0, max_len: 10, .. }"
    );
}

#[test]
fn p2_a_zlib_serializer_flips() {
    flips(ZlibSerializer::new(Length));
}

proptest! {
    #[test]
    fn zlib_packets_come_back(packet in any_packet(), level in 0_u32..10) {
        prop_assert_eq!(read(&zlib(), write(&zlib().with_level(level), &packet)), packet);
    }

    #[test]
    fn zlib_any_bytes_are_an_error_or_a_value(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = zlib().deserialize(&bytes);
        let _ = zlib().deserialize(&[&b"\x78\x9c"[..], &bytes].concat());
    }

    #[test]
    fn zlib_after_a_refusal_reads_on(
        bytes in prop::collection::vec(any::<u8>(), 0..50),
        packet in any_packet(),
    ) {
        let serializer = zlib();
        let datagram = write(&serializer, &packet);
        let _ = serializer.deserialize(&[&b"\x78\x9c"[..], &bytes].concat());
        prop_assert_eq!(read(&serializer, datagram), packet);
    }
}
