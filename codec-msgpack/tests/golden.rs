//! What is sent, byte for byte, and that it is understood: as long as there are peers.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use postbox_codec_msgpack::{Extension, Timestamp};
use rmpv::Value;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::common::{
    Event, Meters, Nothing, Pair, Shape, compact, everything, extension, moment, named, person,
    read,
};

/// Checks the bytes of a packet that has no struct with names in it, and that they say it.
#[track_caller]
fn golden<T>(packet: T, datagram: impl AsRef<[u8]>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
{
    golden_both(&packet, datagram.as_ref(), datagram.as_ref());
    drop(packet);
}

/// Checks the bytes of a packet with its structs as maps and as arrays, and that both say it.
#[track_caller]
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
fn golden_both<T>(packet: &T, as_map: impl AsRef<[u8]>, as_array: impl AsRef<[u8]>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
{
    let shown = |datagram: &[u8]| datagram.escape_ascii().to_string();
    assert_eq!(shown(&named(packet)), shown(as_map.as_ref()));
    assert_eq!(shown(&compact(packet)), shown(as_array.as_ref()));
    assert_eq!(read::<T>(as_map).unwrap(), *packet);
    assert_eq!(read::<T>(as_array).unwrap(), *packet);
}

#[test]
fn p3_structs_are_maps_or_arrays() {
    golden_both(
        &person(),
        b"\x82\xa4name\xa4Zo\xc3\xab\xa3age\x2a",
        b"\x92\xa4Zo\xc3\xab\x2a",
    );
    golden(Meters(0.5), b"\xcb\x3f\xe0\0\0\0\0\0\0");
    golden(Pair(0.5, 'x'), b"\x92\xca\x3f\0\0\0\xa1x");
    golden(Nothing, b"\x90");
}

#[test]
fn p3_enums_are_their_name_or_a_map_from_it() {
    golden(Shape::Point, b"\xa5Point");
    golden(
        Shape::Circle(1.0),
        b"\x81\xa6Circle\xcb\x3f\xf0\0\0\0\0\0\0",
    );
    golden(
        Shape::Line(1.0, 2.0),
        b"\x81\xa4Line\x92\xcb\x3f\xf0\0\0\0\0\0\0\xcb\x40\0\0\0\0\0\0\0",
    );
    golden_both(
        &Shape::Square { side: 1.0 },
        b"\x81\xa6Square\x81\xa4side\xca\x3f\x80\0\0",
        b"\x81\xa6Square\x91\xca\x3f\x80\0\0",
    );
    golden_both(
        &Event::Joined { who: person() },
        b"\x82\xa4kind\xa6joined\xa3who\x82\xa4name\xa4Zo\xc3\xab\xa3age\x2a",
        b"\x92\xa6joined\x92\xa4Zo\xc3\xab\x2a",
    );
}

#[test]
fn p3_every_kind_of_data_has_its_form() {
    let as_array = [
        &b"\xdc\0\x13"[..],
        b"\xc3",
        b"\x96\xd0\x80\xd1\x80\0\xd2\x80\0\0\0\xcc\xff\xcd\xff\xff\xce\xff\xff\xff\xff",
        b"\x94\xd3\x80\0\0\0\0\0\0\0\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xc4\x10\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\xc4\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa3\xe2\x86\x92",
        b"\xaf\"quoted\"\0\xc3\xa9\xf0\x9f\xa6\x80",
        b"\x92\0\xcc\xff",
        b"\xc4\x02\0\xff",
        b"\xd6\xff\0\0\0\x01",
        b"\xc7\x03\x05\x07\x08\x09",
        b"\xc0",
        b"\xc0",
        b"\x90",
        b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a",
        b"\x92\xca\x3e\x99\x99\x9a\xa1'",
        b"\x94\xa5Point\x81\xa6Circle\xcb\x3f\xf0\0\0\0\0\0\0",
        b"\x81\xa4Line\x92\xcb\xbf\xe0\0\0\0\0\0\0\xcb\x40\xc8\x1c\xe0\0\0\0\0",
        b"\x81\xa6Square\x91\xca\x40\x20\0\0",
        b"\x82\xa0\xcb\0\0\0\0\0\0\0\0\xa1a\xcb\x3f\xf8\0\0\0\0\0\0",
        b"\x81\x07\x92\xa4Zo\xc3\xab\x2a",
        b"\x92\xa4left\xcb\x3f\xd0\0\0\0\0\0\0",
        b"\x92\xa4Zo\xc3\xab\x2a",
    ]
    .concat();
    let as_map = [
        &b"\xde\0\x13"[..],
        b"\xa3yes\xc3",
        b"\xa5small\x96\xd0\x80\xd1\x80\0\xd2\x80\0\0\0\xcc\xff\xcd\xff\xff\xce\xff\xff\xff\xff",
        b"\xa5large\x94\xd3\x80\0\0\0\0\0\0\0\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xc4\x10\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\xc4\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa6letter\xa3\xe2\x86\x92",
        b"\xa4text\xaf\"quoted\"\0\xc3\xa9\xf0\x9f\xa6\x80",
        b"\xa7numbers\x92\0\xcc\xff",
        b"\xa5bytes\xc4\x02\0\xff",
        b"\xa6moment\xd6\xff\0\0\0\x01",
        b"\xa9extension\xc7\x03\x05\x07\x08\x09",
        b"\xa5maybe\xc0",
        b"\xa4unit\xc0",
        b"\xa7nothing\x90",
        b"\xa6length\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a",
        b"\xa4pair\x92\xca\x3e\x99\x99\x9a\xa1'",
        b"\xa6shapes\x94\xa5Point\x81\xa6Circle\xcb\x3f\xf0\0\0\0\0\0\0",
        b"\x81\xa4Line\x92\xcb\xbf\xe0\0\0\0\0\0\0\xcb\x40\xc8\x1c\xe0\0\0\0\0",
        b"\x81\xa6Square\x81\xa4side\xca\x40\x20\0\0",
        b"\xa5named\x82\xa0\xcb\0\0\0\0\0\0\0\0\xa1a\xcb\x3f\xf8\0\0\0\0\0\0",
        b"\xa8numbered\x81\x07\x82\xa4name\xa4Zo\xc3\xab\xa3age\x2a",
        b"\xa5event\x82\xa4kind\xa4left\xa5after\xcb\x3f\xd0\0\0\0\0\0\0",
        b"\xa6person\x82\xa4name\xa4Zo\xc3\xab\xa3age\x2a",
    ]
    .concat();
    golden_both(&everything(), as_map, as_array);
}

#[test]
fn p3_integers_have_their_shortest_form() {
    golden(0_u64, b"\0");
    golden(127_u64, b"\x7f");
    golden(128_u64, b"\xcc\x80");
    golden(255_u64, b"\xcc\xff");
    golden(256_u64, b"\xcd\x01\0");
    golden(65_535_u64, b"\xcd\xff\xff");
    golden(65_536_u64, b"\xce\0\x01\0\0");
    golden(u64::from(u32::MAX), b"\xce\xff\xff\xff\xff");
    golden(1_u64 << 32, b"\xcf\0\0\0\x01\0\0\0\0");
    golden(127_i64, b"\x7f");
    golden(i64::MAX, b"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff");
    golden(-1_i64, b"\xff");
    golden(-32_i64, b"\xe0");
    golden(-33_i64, b"\xd0\xdf");
    golden(-128_i64, b"\xd0\x80");
    golden(-129_i64, b"\xd1\xff\x7f");
    golden(-32_768_i64, b"\xd1\x80\0");
    golden(-32_769_i64, b"\xd2\xff\xff\x7f\xff");
    golden(i64::from(i32::MIN), b"\xd2\x80\0\0\0");
    golden(
        i64::from(i32::MIN) - 1,
        b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff",
    );
}

#[test]
fn p3_lengths_have_their_shortest_form() {
    let begins = |datagram: Vec<u8>, head: &[u8]| assert_eq!(datagram[..head.len()], *head);
    for (length, head) in [
        (31, &b"\xbf"[..]),
        (32, b"\xd9\x20"),
        (255, b"\xd9\xff"),
        (256, b"\xda\x01\0"),
        (65_535, b"\xda\xff\xff"),
        (65_536, b"\xdb\0\x01\0\0"),
    ] {
        begins(named(&"a".repeat(length)), head);
        assert_eq!(named(&"a".repeat(length)).len(), head.len() + length);
    }
    for (length, head) in [
        (0, &b"\xc4\0"[..]),
        (255, b"\xc4\xff"),
        (256, b"\xc5\x01\0"),
        (65_536, b"\xc6\0\x01\0\0"),
    ] {
        begins(named(&ByteBuf::from(vec![1; length])), head);
    }
    for (length, array, map) in [
        (0, &b"\x90"[..], &b"\x80"[..]),
        (15, b"\x9f", b"\x8f"),
        (16, b"\xdc\0\x10", b"\xde\0\x10"),
        (65_535, b"\xdc\xff\xff", b"\xde\xff\xff"),
        (65_536, b"\xdd\0\x01\0\0", b"\xdf\0\x01\0\0"),
    ] {
        begins(named(&vec![true; length]), array);
        begins(
            named(&(0..length).map(|key| (key, ())).collect::<BTreeMap<_, _>>()),
            map,
        );
    }
}

#[test]
fn p3_floats_keep_their_width_and_bits() {
    golden(1.5_f32, b"\xca\x3f\xc0\0\0");
    golden(-0.0_f64, b"\xcb\x80\0\0\0\0\0\0\0");
    golden(f64::INFINITY, b"\xcb\x7f\xf0\0\0\0\0\0\0");
    golden(f32::NEG_INFINITY, b"\xca\xff\x80\0\0");
    assert_eq!(named(&f64::NAN), b"\xcb\x7f\xf8\0\0\0\0\0\0");
    // A NaN that carries something.
    let double = f64::from_bits(0xfff0_0000_0000_1234);
    assert_eq!(named(&double), b"\xcb\xff\xf0\0\0\0\0\x12\x34");
    assert_eq!(
        read::<f64>(named(&double)).unwrap().to_bits(),
        double.to_bits()
    );
    let single = f32::from_bits(0x7f80_1234);
    assert_eq!(named(&single), b"\xca\x7f\x80\x12\x34");
    assert_eq!(
        read::<f32>(named(&single)).unwrap().to_bits(),
        single.to_bits()
    );
    let untyped = read::<Value>(named(&double)).unwrap();
    assert!(matches!(untyped, Value::F64(float) if float.to_bits() == double.to_bits()));
}

#[test]
fn p3_byte_strings_and_numbers_are_as_the_type_says() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Blob(#[serde(with = "serde_bytes")] Vec<u8>);

    golden(vec![1_u8, 2], b"\x92\x01\x02");
    golden(Blob(vec![1, 2]), b"\xc4\x02\x01\x02");
    golden(ByteBuf::from([]), b"\xc4\0");
    golden([1_u8, 2], b"\x92\x01\x02");
}

#[test]
fn p3_addresses_are_the_text_that_people_write() {
    golden(Ipv4Addr::LOCALHOST, b"\xa9127.0.0.1");
    golden(IpAddr::from(Ipv6Addr::LOCALHOST), b"\xa3::1");
    golden(SocketAddr::from(([192, 0, 2, 1], 9)), b"\xab192.0.2.1:9");
    golden(
        SocketAddrV6::new(Ipv6Addr::LOCALHOST, 9, 0, 3),
        b"\xa9[::1%3]:9",
    );
}

#[test]
fn p3_timestamps_have_their_shortest_form() {
    golden(moment(0, 0), b"\xd6\xff\0\0\0\0");
    golden(moment(u32::MAX.into(), 0), b"\xd6\xff\xff\xff\xff\xff");
    golden(moment(1, 1), b"\xd7\xff\0\0\0\x04\0\0\0\x01");
    golden(moment(1 << 32, 0), b"\xd7\xff\0\0\0\x01\0\0\0\0");
    golden(
        moment((1 << 34) - 1, 999_999_999),
        b"\xd7\xff\xee\x6b\x27\xff\xff\xff\xff\xff",
    );
    golden(
        moment(1 << 34, 0),
        b"\xc7\x0c\xff\0\0\0\0\0\0\0\x04\0\0\0\0",
    );
    golden(
        moment(-1, 999_999_999),
        b"\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    );
    golden(
        moment(i64::MIN, 0),
        b"\xc7\x0c\xff\0\0\0\0\x80\0\0\0\0\0\0\0",
    );
    assert_eq!(Timestamp::new(0, 1_000_000_000), None);
}

#[test]
fn p3_extensions_have_their_shortest_form() {
    for (length, head) in [
        (0, &b"\xc7\0"[..]),
        (1, b"\xd4"),
        (2, b"\xd5"),
        (3, b"\xc7\x03"),
        (4, b"\xd6"),
        (8, b"\xd7"),
        (16, b"\xd8"),
        (255, b"\xc7\xff"),
        (256, b"\xc8\x01\0"),
        (65_536, b"\xc9\0\x01\0\0"),
    ] {
        for kind in [0_i8, 127, -128] {
            let data = vec![7; length];
            let kind_byte = kind.to_be_bytes();
            let datagram = [head, &kind_byte, &data].concat();
            golden(Extension { kind, data }, datagram);
        }
    }
    golden(Some(extension()), b"\xc7\x03\x05\x07\x08\x09");
}

#[test]
fn p3_untyped_values_have_the_same_forms() {
    golden(
        Value::from(vec![
            (
                Value::from("a"),
                Value::from(vec![Value::Nil, Value::from(1.5)]),
            ),
            (Value::from(-1), Value::Ext(5, vec![1])),
            (Value::Binary(vec![2]), Value::F32(1.5)),
        ]),
        b"\x83\xa1a\x92\xc0\xcb\x3f\xf8\0\0\0\0\0\0\xff\xd4\x05\x01\xc4\x01\x02\xca\x3f\xc0\0\0",
    );
}

#[test]
fn p3_any_map_keys_have_their_form() {
    golden(BTreeMap::from([((1, 2), 3)]), b"\x81\x92\x01\x02\x03");
    golden(BTreeMap::from([(vec![1], 3)]), b"\x81\x91\x01\x03");
    golden(BTreeMap::from([((), 3)]), b"\x81\xc0\x03");
    golden(BTreeMap::from([(true, 3)]), b"\x81\xc3\x03");
    golden(BTreeMap::from([('k', 3)]), b"\x81\xa1k\x03");
    golden(HashSet::from([7]), b"\x91\x07");
}
