//! serde's attributes of containers, variants and fields.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rows::{Exceptions, Shape, Unit, Way, one};

macro_rules! packet {
    ($($item:item)*) => {
        $(#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)] $item)*
    };
}

packet! {
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Renamed {
        first_field: u8,
        #[serde(rename(serialize = "out", deserialize = "out"), alias = "in")]
        second: u8,
        #[serde(rename = "type")]
        kind: u8,
    }
    #[serde(rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
    enum RenamedVariants { VeryLoud { the_level: u8 }, #[serde(rename = "?")] Other }
    #[derive(Default)]
    #[serde(default)]
    struct Defaults { one: u8, #[serde(default = "seven")] two: u8 }
    struct Skipped { one: u8, #[serde(skip)] two: u8, three: u8 }
    struct SkippedIf {
        one: u8,
        #[serde(default, skip_serializing_if = "is_zero")]
        two: u8,
        three: u8,
    }
    struct NotSent { one: u8, #[serde(default, skip_serializing)] two: u8, three: u8 }
    struct NotRead { one: u8, #[serde(skip_deserializing)] two: u8, three: u8 }
    struct TupleSkipped(u8, #[serde(skip)] u8, u8);
    struct Generated { #[serde(with = "text")] number: u8 }
    #[serde(from = "u8", into = "u8")]
    struct Converted(u16);
    #[serde(remote = "Duration")]
    struct Remote { #[serde(getter = "Duration::as_secs")] secs: u64 }
    struct WithRemote { #[serde(with = "Remote")] wait: Duration }
    #[serde(tag = "type")]
    struct TaggedStruct { one: u8 }
    struct Point { x: u8, y: u8 }
    struct Flat {
        id: u8,
        #[serde(flatten)] point: Point,
        #[serde(flatten)] more: BTreeMap<String, u8>,
    }
    struct FlatShape { id: u8, #[serde(flatten)] shape: Shape }
    struct FlatNothing { id: u8, #[serde(flatten)] nothing: () }
    struct FlatUnit { id: u8, #[serde(flatten)] unit: Unit }
    struct FlatMaybe { id: u8, #[serde(flatten)] point: Option<Point> }
    struct FlatTagged { id: u8, #[serde(flatten)] tagged: Tagged }
    struct FlatAdjacent { id: u8, #[serde(flatten)] adjacent: Adjacent }
    struct FlatUntagged { id: u8, #[serde(flatten)] untagged: Untagged }
    struct FlatInFlat { id: u8, #[serde(flatten)] flat: FlatShape2 }
    struct FlatShape2 { name: u8, #[serde(flatten)] point: Point }
    struct FlatNumbers { id: u8, #[serde(flatten)] more: BTreeMap<u8, u8> }
    struct SameName { x: u8, #[serde(flatten)] point: Point }
    #[serde(tag = "kind")]
    enum Tagged {
        Unit,
        Newtype(Point),
        Struct { x: u8 },
        OfUnit(()),
        OfUnitStruct(Unit),
        OfMap(BTreeMap<String, u8>),
        OfSome(Option<Point>),
        OfEnum(Shape),
        OfInner(Box<Inner>),
        OfNumber(u8),
        OfText(String),
        OfList(Vec<u8>),
        OfTuple(Pair),
    }
    #[serde(tag = "inner")]
    enum Inner { A { x: u8 } }
    #[serde(tag = "kind")]
    enum SameTag { Of(Kind) }
    struct Kind { kind: u8 }
    struct Pair(u8, u8);
    #[serde(tag = "kind", content = "data")]
    enum Adjacent { Unit, Newtype(u8), Tuple(u8, u8), Struct { side: u8 }, Maybe(Option<u8>) }
    #[serde(untagged)]
    enum Untagged {
        Unit,
        Number(u8),
        Tuple(u8, String),
        Struct { side: u8 },
        Text(String),
        Wide { width: u8, height: u8 },
    }
    #[serde(untagged)]
    enum FirstFits { Byte(u8), Wide(u32), Text(String), Again(String) }
    enum Partly { Named(u8), #[serde(untagged)] Other(String) }
    #[serde(tag = "kind")]
    enum WithOther { A, #[serde(other)] Unknown }
    struct Empty {}
    enum EmptyVariants { Struct {}, Tuple() }
    struct Options { one: Option<u8>, two: Option<Option<u8>>, unit: Option<()> }
}

fn seven() -> u8 {
    7
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

impl From<u8> for Converted {
    fn from(number: u8) -> Self {
        Self(number.into())
    }
}

impl From<Converted> for u8 {
    fn from(converted: Converted) -> Self {
        converted.0 as Self
    }
}

impl From<Remote> for Duration {
    fn from(remote: Remote) -> Self {
        Self::from_secs(remote.secs)
    }
}

/// A number as text.
mod text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(super) fn serialize<S: Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

pub(super) fn all<W: Way>(found: &mut Exceptions) {
    structs::<W>(found);
    flatten::<W>(found);
    tagged::<W>(found);
    untagged::<W>(found);
}

fn structs<W: Way>(found: &mut Exceptions) {
    let renamed = Renamed {
        first_field: 1,
        second: 2,
        kind: 3,
    };
    one::<W, _>(found, "rename, alias, deny_unknown_fields", renamed);
    one::<W, _>(
        found,
        "rename_all_fields",
        RenamedVariants::VeryLoud { the_level: 1 },
    );
    one::<W, _>(found, "rename of a variant", RenamedVariants::Other);
    one::<W, _>(found, "default", Defaults { one: 1, two: 2 });
    one::<W, _>(
        found,
        "skip of a default",
        Skipped {
            one: 1,
            two: 0,
            three: 3,
        },
    );
    one::<W, _>(
        found,
        "skip",
        Skipped {
            one: 1,
            two: 2,
            three: 3,
        },
    );
    one::<W, _>(found, "skip in a tuple", TupleSkipped(1, 0, 3));
    one::<W, _>(
        found,
        "skip_serializing_if, sent",
        SkippedIf {
            one: 1,
            two: 2,
            three: 3,
        },
    );
    one::<W, _>(
        found,
        "skip_serializing_if, skipped",
        SkippedIf {
            one: 1,
            two: 0,
            three: 3,
        },
    );
    one::<W, _>(
        found,
        "skip_serializing",
        NotSent {
            one: 1,
            two: 0,
            three: 3,
        },
    );
    one::<W, _>(
        found,
        "skip_deserializing",
        NotRead {
            one: 1,
            two: 0,
            three: 3,
        },
    );
    one::<W, _>(found, "with", Generated { number: 7 });
    one::<W, _>(found, "from, into", Converted(7));
    one::<W, _>(
        found,
        "remote",
        WithRemote {
            wait: Duration::from_secs(7),
        },
    );
    one::<W, _>(found, "tag of a struct", TaggedStruct { one: 1 });
    one::<W, _>(found, "struct without fields", Empty {});
    one::<W, _>(
        found,
        "struct variant without fields",
        EmptyVariants::Struct {},
    );
    one::<W, _>(
        found,
        "tuple variant without fields",
        EmptyVariants::Tuple(),
    );
    let options = |two, unit| Options {
        one: None,
        two,
        unit,
    };
    one::<W, _>(found, "fields: None", options(None, None));
    one::<W, _>(found, "fields: Some", options(Some(Some(1)), None));
    one::<W, _>(found, "fields: Some(None)", options(Some(None), None));
    one::<W, _>(found, "fields: Some(())", options(None, Some(())));
}

fn flatten<W: Way>(found: &mut Exceptions) {
    let point = Point { x: 1, y: 2 };
    let more = |key: &str| BTreeMap::from([(key.to_owned(), 3)]);
    let flat = |key| Flat {
        id: 1,
        point: point.clone(),
        more: more(key),
    };
    one::<W, _>(found, "flatten", flat("z"));
    one::<W, _>(found, "flatten: an entry named as a field", flat("id"));
    one::<W, _>(
        found,
        "flatten: two fields of one name",
        SameName {
            x: 7,
            point: point.clone(),
        },
    );
    for shape in [
        Shape::Point,
        Shape::Circle(1),
        Shape::Line(1, 2),
        Shape::Square { side: 1 },
        Shape::Maybe(None),
    ] {
        one::<W, _>(
            found,
            format!("flatten: {shape:?}"),
            FlatShape { id: 1, shape },
        );
    }
    one::<W, _>(found, "flatten: ()", FlatNothing { id: 1, nothing: () });
    one::<W, _>(
        found,
        "flatten: unit struct",
        FlatUnit { id: 1, unit: Unit },
    );
    one::<W, _>(found, "flatten: None", FlatMaybe { id: 1, point: None });
    let some = Some(point.clone());
    one::<W, _>(found, "flatten: Some", FlatMaybe { id: 1, point: some });
    for tagged in [
        Tagged::Unit,
        Tagged::Newtype(point.clone()),
        Tagged::Struct { x: 1 },
    ] {
        one::<W, _>(
            found,
            format!("flatten: {tagged:?}, tagged"),
            FlatTagged { id: 1, tagged },
        );
    }
    for adjacent in [
        Adjacent::Unit,
        Adjacent::Newtype(1),
        Adjacent::Struct { side: 1 },
    ] {
        let row = format!("flatten: {adjacent:?}, adjacent");
        one::<W, _>(found, row, FlatAdjacent { id: 1, adjacent });
    }
    let untagged = Untagged::Struct { side: 1 };
    one::<W, _>(found, "flatten: untagged", FlatUntagged { id: 1, untagged });
    let flat = FlatShape2 { name: 1, point };
    one::<W, _>(found, "flatten in flatten", FlatInFlat { id: 1, flat });
    let more = BTreeMap::from([(7, 8)]);
    one::<W, _>(
        found,
        "flatten: numbers as keys",
        FlatNumbers { id: 1, more },
    );
}

fn tagged<W: Way>(found: &mut Exceptions) {
    for tagged in [
        Tagged::Unit,
        Tagged::Newtype(Point { x: 1, y: 2 }),
        Tagged::Struct { x: 1 },
        Tagged::OfUnit(()),
        Tagged::OfUnitStruct(Unit),
        Tagged::OfMap(BTreeMap::from([("a".to_owned(), 1)])),
        Tagged::OfSome(Some(Point { x: 1, y: 2 })),
        Tagged::OfSome(None),
        Tagged::OfEnum(Shape::Point),
        Tagged::OfEnum(Shape::Circle(1)),
        Tagged::OfEnum(Shape::Line(1, 2)),
        Tagged::OfEnum(Shape::Square { side: 1 }),
        Tagged::OfInner(Box::new(Inner::A { x: 1 })),
        Tagged::OfNumber(1),
        Tagged::OfText("a".to_owned()),
        Tagged::OfList(vec![1]),
        Tagged::OfTuple(Pair(1, 2)),
    ] {
        one::<W, _>(found, format!("tag: {tagged:?}"), tagged);
    }
    one::<W, _>(
        found,
        "tag: a field of the tag's name",
        SameTag::Of(Kind { kind: 1 }),
    );
    one::<W, _>(found, "other: named", WithOther::A);
    one::<W, _>(found, "other", WithOther::Unknown);
    for adjacent in [
        Adjacent::Unit,
        Adjacent::Newtype(1),
        Adjacent::Tuple(1, 2),
        Adjacent::Struct { side: 1 },
        Adjacent::Maybe(Some(1)),
        Adjacent::Maybe(None),
    ] {
        one::<W, _>(found, format!("content: {adjacent:?}"), adjacent);
    }
}

fn untagged<W: Way>(found: &mut Exceptions) {
    for untagged in [
        Untagged::Unit,
        Untagged::Number(1),
        Untagged::Tuple(1, "a".to_owned()),
        Untagged::Struct { side: 1 },
        Untagged::Text("a".to_owned()),
        Untagged::Wide {
            width: 1,
            height: 2,
        },
    ] {
        one::<W, _>(found, format!("untagged: {untagged:?}"), untagged);
    }
    for first in [
        FirstFits::Byte(1),
        FirstFits::Wide(1),
        FirstFits::Wide(256),
        FirstFits::Text("a".to_owned()),
        FirstFits::Again("a".to_owned()),
    ] {
        one::<W, _>(
            found,
            format!("untagged: {first:?} of several that fit"),
            first,
        );
    }
    one::<W, _>(found, "untagged variant: named", Partly::Named(1));
    one::<W, _>(found, "untagged variant", Partly::Other("a".to_owned()));
}
