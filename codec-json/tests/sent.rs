//! What is sent: compact documents, byte for byte, and the packets that have no form.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use postbox_codec_json::{JsonError, JsonSerializer};
use postbox_protocol::{DatagramProtocol, Protocol, Serializer};
use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer as Serde};
use serde_json::{Value, json};

use crate::common::{Event, Meters, Nothing, Pair, Shape, everything, person, refused, text};

#[test]
fn p3_documents_are_compact() {
    assert_eq!(text(&person()), r#"{"name":"Zoë","age":42}"#);
    assert_eq!(
        text(&json!({ "b": [1, 2.5, null, true], "a": {} })),
        r#"{"a":{},"b":[1,2.5,null,true]}"#
    );
    assert_eq!(text(&[(); 0]), "[]");
    assert_eq!(text(&Nothing), "null");
}

#[test]
fn p3_every_kind_of_data_has_its_form() {
    assert_eq!(
        text(&everything()),
        concat!(
            r#"{"yes":true,"small":[-128,-32768,-2147483648,255,65535,4294967295],"#,
            r#""large":[-9223372036854775808,18446744073709551615,"#,
            r#"-170141183460469231731687303715884105728,340282366920938463463374607431768211455],"#,
            r#""letter":"→","text":"\"quoted\"\\\n\u0001/é🦀","bytes":[0,255],"maybe":null,"#,
            r#""unit":null,"nothing":null,"length":0.1,"pair":[0.3,"'"],"#,
            r#""shapes":["Point",{"Circle":1.0},{"Line":[-0.5,12345.75]},"#,
            r#"{"Square":{"side":2.5}}],"#,
            r#""named":{"":0.0,"a":1.5},"numbered":{"7":{"name":"Zoë","age":42}},"#,
            r#""event":{"kind":"left","after":0.25},"name":"Zoë","age":42}"#,
        ),
    );
}

/// Calls what serde's derives do not.
struct ByHand;

impl Serialize for ByHand {
    fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Shown;

        impl Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("for people: \"")?;
                f.write_str("yes\"")
            }
        }

        struct Bytes;

        impl Serialize for Bytes {
            fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&[1, 2])
            }
        }

        struct Text;

        impl Serialize for Text {
            fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&Shown)
            }
        }

        assert!(serializer.is_human_readable());
        let mut map = serializer.serialize_map(None)?;
        map.serialize_key("text")?;
        map.serialize_value(&Text)?;
        map.serialize_entry("bytes", &Bytes)?;
        map.end()
    }
}

#[test]
fn p3_what_is_serialized_by_hand_has_its_form() {
    assert_eq!(
        text(&ByHand),
        r#"{"text":"for people: \"yes\"","bytes":[1,2]}"#
    );
}

#[test]
fn p3_serialize_attributes_hold() {
    #[derive(Serialize)]
    struct Attributes {
        #[serde(skip_serializing_if = "Option::is_none")]
        maybe: Option<u8>,
        #[serde(rename = "type")]
        kind: Kind,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        VeryLoud {
            #[serde(skip_serializing_if = "Option::is_none")]
            maybe: Option<u8>,
        },
    }

    let packet = Attributes {
        maybe: None,
        kind: Kind::VeryLoud { maybe: None },
    };
    assert_eq!(text(&packet), r#"{"type":{"very-loud":{}}}"#);
}

#[test]
fn p3_a_document_is_appended_without_moving_a_buffer_that_is_large_enough() {
    let mut datagram = BytesMut::with_capacity(2048);
    let start = datagram.as_ptr();
    JsonSerializer::<_>::new()
        .serialize(&everything(), &mut datagram)
        .unwrap();
    assert_eq!(datagram.as_ptr(), start);
    assert_eq!(datagram.capacity(), 2048);
}

/// Checks that the packet is refused for a number that has no form.
#[track_caller]
fn no_form<T: Serialize + 'static>(packet: T, number: &str) {
    let error = refused(&packet);
    assert_eq!(error.to_string(), format!("{number} has no form in JSON"));
    assert!(error.is_write() && !error.is_syntax() && !error.is_data());
    assert_eq!((error.line(), error.column()), (None, None));
    drop(packet);
}

#[test]
fn p6_nan_and_infinity_are_refused() {
    no_form(f64::NAN, "NaN");
    no_form(-f64::NAN, "NaN");
    no_form(f64::INFINITY, "inf");
    no_form(f64::NEG_INFINITY, "-inf");
    no_form(f32::NAN, "NaN");
    no_form(f32::INFINITY, "inf");
    no_form(f32::NEG_INFINITY, "-inf");
    assert_eq!(text(&f64::MAX).parse(), Ok(f64::MAX));
    assert_eq!(text(&f32::MAX).parse(), Ok(f32::MAX));
}

#[test]
fn p6_nan_is_refused_wherever_it_stands() {
    #[derive(Serialize)]
    struct Flat {
        #[serde(flatten)]
        event: Event,
    }

    #[derive(Serialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(f64),
    }

    #[derive(Serialize)]
    #[serde(tag = "kind", content = "data")]
    enum Adjacent {
        Number(f64),
    }

    struct Sequence;

    impl Serialize for Sequence {
        fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut sequence = serializer.serialize_seq(None)?;
            sequence.serialize_element(&f64::NAN)?;
            sequence.end()
        }
    }

    struct Map;

    impl Serialize for Map {
        fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_key("number")?;
            map.serialize_value(&f64::NAN)?;
            map.end()
        }
    }

    no_form(Some(f64::NAN), "NaN");
    no_form(vec![1.0, f64::NAN], "NaN");
    no_form((1, f64::NAN), "NaN");
    no_form([f64::NAN; 2], "NaN");
    no_form(BTreeMap::from([("a", f64::NAN)]), "NaN");
    no_form(
        Box::new(Some(vec![BTreeMap::from([(1, (f64::NAN,))])])),
        "NaN",
    );
    no_form(Meters(f64::NAN), "NaN");
    no_form(Pair(f32::NAN, 'a'), "NaN");
    no_form(Shape::Circle(f64::NAN), "NaN");
    no_form(Shape::Line(1.0, f64::NAN), "NaN");
    no_form(Shape::Square { side: f32::NAN }, "NaN");
    no_form(Event::Left { after: f64::NAN }, "NaN");
    no_form(
        Flat {
            event: Event::Left { after: f64::NAN },
        },
        "NaN",
    );
    no_form(Untagged::Number(f64::NAN), "NaN");
    no_form(Adjacent::Number(f64::NAN), "NaN");
    no_form(Sequence, "NaN");
    no_form(Map, "NaN");
}

#[test]
fn p6_an_untyped_value_holds_no_nan_but_null() {
    assert_eq!(text::<Value>(&json!(f64::NAN)), "null");
}

#[test]
fn p6_map_keys_that_are_no_text_are_refused() {
    let refused_key = |error: JsonError| {
        assert!(error.is_write());
        error.to_string()
    };
    assert_eq!(
        refused_key(refused(&BTreeMap::from([((1, 2), 3)]))),
        "key must be a string"
    );
    assert_eq!(
        refused_key(refused(&BTreeMap::from([(vec![1], 3)]))),
        "key must be a string"
    );
    assert_eq!(
        refused_key(refused(&BTreeMap::from([((), 3)]))),
        "key must be a string"
    );

    assert_eq!(text(&BTreeMap::from([(true, 3)])), r#"{"true":3}"#);
    assert_eq!(text(&BTreeMap::from([('k', 3)])), r#"{"k":3}"#);
    assert_eq!(text(&BTreeMap::from([(-1, 3)])), r#"{"-1":3}"#);
}

#[test]
fn p6_a_float_key_that_is_not_finite_is_refused() {
    struct Key(f64);

    impl Serialize for Key {
        fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(&self.0, "value")?;
            map.end()
        }
    }

    assert_eq!(text(&Key(0.5)), r#"{"0.5":"value"}"#);
    assert_eq!(
        refused(&Key(f64::NAN)).to_string(),
        "float key must be finite (got NaN or +/-inf)"
    );
}

#[test]
fn p6_an_error_half_way_leaves_nothing_and_the_next_packet_is_whole() {
    let protocol = DatagramProtocol::new(JsonSerializer::<Vec<f64>>::new());
    let mut datagram = BytesMut::from("before ");
    let error = protocol
        .make_datagram(vec![1.0, f64::NAN], &mut datagram)
        .unwrap_err();
    assert!(error.is_serialize());
    assert_eq!(datagram, "before ");

    protocol
        .make_datagram(vec![1.0, 2.0], &mut datagram)
        .unwrap();
    assert_eq!(datagram, "before [1.0,2.0]");
}

#[test]
fn p6_the_error_of_a_type_of_the_user_is_the_cause() {
    struct Unsayable;

    impl Serialize for Unsayable {
        fn serialize<S: Serde>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("not to be said"))
        }
    }

    let error = refused(&Unsayable);
    assert_eq!(error.to_string(), "not to be said");
    assert!(error.is_write());
}

#[test]
fn p9_a_panic_in_a_type_of_the_user_passes_through_and_the_serializer_still_works() {
    struct Bomb(bool);

    impl Serialize for Bomb {
        fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(!self.0, "boom");
            serializer.serialize_str("no bomb")
        }
    }

    let serializer = JsonSerializer::<Bomb, ()>::new();
    let mut datagram = BytesMut::new();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        serializer.serialize(&Bomb(true), &mut datagram)
    }))
    .unwrap_err();
    assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "boom");

    datagram.clear();
    serializer.serialize(&Bomb(false), &mut datagram).unwrap();
    assert_eq!(datagram, r#""no bomb""#);
}
