//! Every type of serde's own, every attribute of containers and every kind of map key, sent and
//! read back. Each codec's tests run them all, and say which do not come back as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsString};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{NonZeroU16, Wrapping};
use std::ops::Bound;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::attributes;
use super::erased::Erased;

/// What does not come back as it was.
#[derive(Default)]
pub(crate) struct Exceptions(BTreeMap<String, Row>);

/// One packet, in one place or many.
#[derive(Default)]
struct Row {
    places: usize,
    /// Where it did not come back as it was, by what came of it.
    outcomes: BTreeMap<String, Vec<&'static str>>,
}

impl Exceptions {
    /// Returns a line for each packet and outcome, in the order of the text.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(name, row): (&String, &Row)| {
            let lines = row
                .outcomes
                .iter()
                .map(|(outcome, places)| match &places[..] {
                    [""] => format!("{name}: {outcome}"),
                    places if places.len() == row.places => {
                        format!("{name}: {outcome}, everywhere")
                    }
                    places => format!("{name}: {outcome}, {}", places.join(", ")),
                });
            lines.collect::<Vec<_>>()
        };
        let mut lines: Vec<_> = self.0.iter().flat_map(line).collect();
        lines.sort_unstable();
        lines
    }
}

/// One way of sending a packet and reading it back.
pub(crate) trait Way {
    /// Returns the bytes of the packet, or why it is refused.
    fn send<T: Serialize + 'static>(packet: &T) -> Result<Vec<u8>, String>;
    /// Returns what the bytes say, or why they are refused.
    fn read<T: DeserializeOwned + 'static>(datagram: &[u8]) -> Result<T, String>;
}

/// What a packet has to be able to do.
pub(crate) trait Packet:
    Serialize + DeserializeOwned + Clone + PartialEq + Debug + 'static
{
}

impl<T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + 'static> Packet for T {}

/// Sends one packet and reads it back.
pub(crate) fn one<W: Way, T: Packet>(found: &mut Exceptions, name: impl Into<String>, packet: T) {
    placed::<W, T>(found, name, "", packet);
}

fn placed<W: Way, T: Packet>(
    found: &mut Exceptions,
    name: impl Into<String>,
    place: &'static str,
    packet: T,
) {
    let row = found.0.entry(name.into()).or_default();
    row.places += 1;
    let outcome = match W::send(&packet) {
        Err(_) => "not sent".to_owned(),
        Ok(datagram) => match W::read::<T>(&datagram) {
            Err(_) => "not read".to_owned(),
            Ok(other) if other != packet && place.is_empty() => format!("read as {other:?}"),
            Ok(other) if other != packet => "read as another".to_owned(),
            Ok(_) => return,
        },
    };
    row.outcomes.entry(outcome).or_default().push(place);
}

#[derive(Clone, Debug, PartialEq, PartialOrd, Eq, Ord, Serialize, Deserialize)]
pub(crate) struct Field<T> {
    value: T,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype<T>(T);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent<T> {
    value: T,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum External<T> {
    Newtype(T),
    Tuple(T, u8),
    Struct { value: T },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat<T> {
    id: u8,
    #[serde(flatten)]
    inner: Field<T>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct MaybeFlat<T> {
    id: u8,
    #[serde(flatten)]
    inner: Option<Field<T>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FlatMap<T> {
    id: u8,
    #[serde(flatten)]
    more: BTreeMap<String, T>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged<T> {
    Newtype(Field<T>),
    Struct { value: T },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data")]
enum Adjacent<T> {
    Newtype(T),
    Tuple(T, u8),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> {
    Newtype(T),
}

/// Sends a value in all places where one can stand: by itself as its users do, in others erased.
pub(crate) fn everywhere<W: Way, T: Packet>(found: &mut Exceptions, name: &str, value: T) {
    placed::<W, _>(found, name, "plain", value.clone());
    in_others::<W>(found, name, &Erased::new(value));
}

fn in_others<W: Way>(found: &mut Exceptions, name: &str, value: &Erased) {
    let v = || value.clone();
    let field = || Field { value: v() };
    placed::<W, _>(found, name, "in Option", Some(v()));
    placed::<W, _>(found, name, "in Vec", vec![v(), v()]);
    placed::<W, _>(found, name, "in tuple", (v(), 1_u8));
    placed::<W, _>(found, name, "in map", BTreeMap::from([(1_u8, v())]));
    placed::<W, _>(found, name, "in struct", field());
    placed::<W, _>(found, name, "in newtype", Newtype(v()));
    placed::<W, _>(found, name, "in transparent", Transparent { value: v() });
    placed::<W, _>(found, name, "in variant", External::Newtype(v()));
    placed::<W, _>(found, name, "in tuple variant", External::Tuple(v(), 1));
    placed::<W, _>(
        found,
        name,
        "in struct variant",
        External::Struct { value: v() },
    );
    placed::<W, _>(found, name, "in adjacent", Adjacent::Newtype(v()));
    placed::<W, _>(found, name, "in adjacent tuple", Adjacent::Tuple(v(), 1));
    // What serde sets aside before it knows the type.
    let inner = field();
    placed::<W, _>(found, name, "in flatten", Flat { id: 1, inner });
    let inner = Some(field());
    placed::<W, _>(found, name, "in flatten Option", MaybeFlat { id: 1, inner });
    let more = BTreeMap::from([("more".to_owned(), v())]);
    placed::<W, _>(found, name, "in flatten map", FlatMap { id: 1, more });
    placed::<W, _>(found, name, "in tag", Tagged::Struct { value: v() });
    placed::<W, _>(found, name, "in tag newtype", Tagged::Newtype(field()));
    placed::<W, _>(found, name, "in untagged", Untagged::Newtype(v()));
}

#[derive(Clone, Debug, PartialEq, PartialOrd, Eq, Ord, Serialize, Deserialize)]
pub(crate) struct Unit;

#[derive(Clone, Debug, PartialEq, PartialOrd, Eq, Ord, Serialize, Deserialize)]
pub(crate) enum Shape {
    Point,
    Circle(u8),
    Line(u8, u8),
    Square { side: u8 },
    Maybe(Option<u8>),
}

/// Runs every row.
pub(crate) fn all<W: Way>() -> Exceptions {
    let mut found = Exceptions::default();
    types::<W>(&mut found);
    addresses::<W>(&mut found);
    keys::<W>(&mut found);
    attributes::all::<W>(&mut found);
    found
}

fn types<W: Way>(found: &mut Exceptions) {
    everywhere::<W, _>(found, "bool", true);
    everywhere::<W, _>(found, "u64", u64::MAX);
    everywhere::<W, _>(found, "i64", i64::MIN);
    everywhere::<W, _>(found, "u128", u128::MAX);
    everywhere::<W, _>(found, "i128", 7_i128);
    everywhere::<W, _>(found, "f32", 0.1_f32);
    everywhere::<W, _>(found, "f64", 0.1_f64);
    everywhere::<W, _>(found, "whole f64", 1.0_f64);
    everywhere::<W, _>(found, "char", '→');
    everywhere::<W, _>(found, "String", "a \"text\"\0".to_owned());
    everywhere::<W, _>(found, "bytes", serde_bytes::ByteBuf::from([0, 255]));
    everywhere::<W, _>(found, "byte array", serde_bytes::ByteArray::new([7, 255]));
    everywhere::<W, _>(found, "Vec<u8>", vec![0_u8, 255]);
    everywhere::<W, _>(found, "[u8; 4]", [0_u8, 1, 254, 255]);
    everywhere::<W, _>(found, "()", ());
    everywhere::<W, _>(found, "unit struct", Unit);
    everywhere::<W, _>(found, "PhantomData", PhantomData::<u8>);
    everywhere::<W, _>(found, "None", None::<u8>);
    everywhere::<W, _>(found, "Some", Some(1_u8));
    everywhere::<W, _>(found, "Some(None)", Some(None::<u8>));
    everywhere::<W, _>(found, "unit variant", Shape::Point);
    everywhere::<W, _>(found, "variant", Shape::Circle(1));
    everywhere::<W, _>(found, "tuple variant", Shape::Line(1, 2));
    everywhere::<W, _>(found, "struct variant", Shape::Square { side: 1 });
    everywhere::<W, _>(found, "variant of None", Shape::Maybe(None));
    everywhere::<W, _>(found, "Result", Err::<u8, _>("no".to_owned()));
    everywhere::<W, _>(found, "Duration", Duration::new(u64::MAX, 999_999_999));
    everywhere::<W, _>(found, "SystemTime", UNIX_EPOCH + Duration::new(1, 5));
    everywhere::<W, _>(
        found,
        "SystemTime before 1970",
        UNIX_EPOCH - Duration::new(1, 5),
    );
    everywhere::<W, _>(found, "Range", 1_u8..2);
    everywhere::<W, _>(found, "RangeInclusive", 1_u8..=2);
    everywhere::<W, _>(found, "Bound", Bound::Excluded(1_u8));
    everywhere::<W, _>(found, "unbounded", Bound::<u8>::Unbounded);
    everywhere::<W, _>(found, "NonZero", NonZeroU16::MAX);
    everywhere::<W, _>(found, "Wrapping", Wrapping(-1_i8));
    everywhere::<W, _>(found, "PathBuf", PathBuf::from("a/é"));
    everywhere::<W, _>(found, "OsString", OsString::from("é"));
    everywhere::<W, _>(found, "CString", CString::from(c"\xff text"));
    everywhere::<W, _>(found, "set", BTreeSet::from([1_u8, 2]));
    everywhere::<W, _>(found, "map", BTreeMap::from([("one".to_owned(), 1_u8)]));
    everywhere::<W, _>(found, "no entries", BTreeMap::<String, u8>::new());
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        let path = PathBuf::from(OsString::from_vec(vec![0xff]));
        one::<W, _>(found, "PathBuf that is no UTF-8", path);
    }
}

/// All of serde's types that have a form for people and another for machines.
fn addresses<W: Way>(found: &mut Exceptions) {
    let v4 = Ipv4Addr::new(192, 0, 2, 255);
    let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x1002, 0x1003, 0x1004, 0xffff);
    everywhere::<W, _>(found, "Ipv4Addr", v4);
    everywhere::<W, _>(found, "Ipv6Addr", v6);
    everywhere::<W, _>(found, "mapped Ipv6Addr", v4.to_ipv6_mapped());
    everywhere::<W, _>(found, "IpAddr of IPv4", IpAddr::from(v4));
    everywhere::<W, _>(found, "IpAddr of IPv6", IpAddr::from(v6));
    let (v4, plain) = (
        SocketAddrV4::new(v4, 65_535),
        SocketAddrV6::new(v6, 9, 0, 0),
    );
    everywhere::<W, _>(found, "SocketAddrV4", v4);
    everywhere::<W, _>(found, "SocketAddrV6", plain);
    let scoped = SocketAddrV6::new(v6, 9, 0, u32::MAX);
    everywhere::<W, _>(found, "SocketAddrV6 with a scope", scoped);
    everywhere::<W, _>(found, "SocketAddr of IPv4", SocketAddr::from(v4));
    everywhere::<W, _>(found, "SocketAddr of IPv6", SocketAddr::from(scoped));
    let flow = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 9, 5, 0);
    one::<W, _>(found, "SocketAddrV6 with flow info", flow);
}

/// A float that can be a key.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Float<T>(T);

impl<T: PartialEq> Eq for Float<T> {}

#[expect(
    clippy::derive_ord_xor_partial_ord,
    reason = "no NaN is among the keys"
)]
impl<T: PartialOrd> Ord for Float<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.partial_cmp(other).expect("no NaN")
    }
}

#[derive(Clone, Debug, PartialEq, PartialOrd, Eq, Ord, Serialize, Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u8),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, PartialOrd, Eq, Ord, Serialize, Deserialize)]
struct Name(String);

fn keys<W: Way>(found: &mut Exceptions) {
    fn key<W: Way, K: Packet + Ord>(found: &mut Exceptions, name: &str, key: K) {
        let mut map = BTreeMap::new(); // `from` would sort
        map.insert(key, 1_u8);
        let name = format!("key {name}");
        placed::<W, _>(found, &name, "plain", map.clone());
        in_some::<W>(found, &name, &Erased::new(map));
    }
    fn in_some<W: Way>(found: &mut Exceptions, name: &str, map: &Erased) {
        let map = || map.clone();
        let inner = Field { value: map() };
        placed::<W, _>(found, name, "in flatten", Flat { id: 1, inner });
        placed::<W, _>(found, name, "in tag", Tagged::Struct { value: map() });
        placed::<W, _>(found, name, "in untagged", Untagged::Newtype(map()));
        placed::<W, _>(found, name, "in adjacent", Adjacent::Newtype(map()));
    }
    key::<W, _>(found, "u8", 7_u8);
    key::<W, _>(found, "u64", u64::MAX);
    key::<W, _>(found, "i64", i64::MIN);
    key::<W, _>(found, "u128", u128::MAX);
    key::<W, _>(found, "i128", i128::MIN);
    key::<W, _>(found, "bool", true);
    key::<W, _>(found, "char", '→');
    key::<W, _>(found, "f32", Float(0.1_f32));
    key::<W, _>(found, "f64", Float(-0.1_f64));
    key::<W, _>(found, "whole f64", Float(1e300_f64));
    key::<W, _>(found, "String", "a \"text\"\0".to_owned());
    key::<W, _>(found, "text of digits", "7".to_owned());
    key::<W, _>(found, "newtype", Name("a".to_owned()));
    key::<W, _>(found, "unit variant", Shape::Point);
    key::<W, _>(found, "variant", Shape::Circle(1));
    key::<W, _>(found, "struct variant", Shape::Square { side: 1 });
    key::<W, _>(found, "tuple", (1_u8, 2_u8));
    key::<W, _>(found, "array", [1_u8, 255]);
    key::<W, _>(found, "struct", Field { value: 1_u8 });
    key::<W, _>(found, "bytes", serde_bytes::ByteBuf::from([1, 255]));
    key::<W, _>(found, "()", ());
    key::<W, _>(found, "unit struct", Unit);
    key::<W, _>(found, "None", None::<String>);
    key::<W, _>(found, "Some", Some("a".to_owned()));
    key::<W, _>(found, "Some of a number", Some(7_u8));
    key::<W, _>(found, "Ipv4Addr", Ipv4Addr::LOCALHOST);
    key::<W, _>(found, "IpAddr", IpAddr::from(Ipv6Addr::LOCALHOST));
    key::<W, _>(found, "SocketAddr", SocketAddr::from(([192, 0, 2, 1], 9)));
    key::<W, _>(found, "untagged number", NumberOrText::Number(7));
    key::<W, _>(found, "untagged text", NumberOrText::Text("a".to_owned()));
}
