//! What is sent around the values: names, brackets, and documents within documents.

mod common;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use common::text;

#[test]
fn p3_names_of_fields_and_variants_are_escaped_and_of_any_length() {
    #[derive(Serialize)]
    struct Names {
        #[serde(rename = "")]
        none: (),
        #[serde(rename = "\"quoted\"")]
        quoted: Variants,
        #[serde(rename = "back\\slash and more")]
        slash: Variants,
        #[serde(rename = "tab\t")]
        tab: Variants,
        #[serde(rename = "é, which has no escape")]
        letter: Variants,
    }

    #[derive(Serialize)]
    enum Variants {
        #[serde(rename = "\"a\"")]
        Unit,
        #[serde(rename = "\"b\"")]
        Newtype(u8),
        #[serde(rename = "\"c\"")]
        Tuple(u8, u8),
        #[serde(rename = "\"d\"")]
        Struct { field: u8 },
    }

    let packet = Names {
        none: (),
        quoted: Variants::Unit,
        slash: Variants::Newtype(1),
        tab: Variants::Tuple(1, 2),
        letter: Variants::Struct { field: 1 },
    };
    assert_eq!(
        text(&packet),
        concat!(
            r#"{"":null,"\"quoted\"":"\"a\"","back\\slash and more":{"\"b\"":1},"#,
            r#""tab\t":{"\"c\"":[1,2]},"é, which has no escape":{"\"d\"":{"field":1}}}"#,
        ),
    );
}

#[test]
fn p3_what_is_empty_is_closed() {
    #[derive(Serialize)]
    struct Empty {}

    #[derive(Serialize)]
    struct EmptyTuple();

    #[derive(Serialize)]
    enum EmptyVariants {
        Tuple(),
        Struct {},
    }

    assert_eq!(text(&Empty {}), "{}");
    assert_eq!(text(&EmptyTuple()), "[]");
    assert_eq!(
        text(&[EmptyVariants::Tuple(), EmptyVariants::Struct {}]),
        r#"[{"Tuple":[]},{"Struct":{}}]"#
    );
    assert_eq!(
        text(&(Vec::<u8>::new(), BTreeMap::<u8, u8>::new())),
        "[[],{}]"
    );
    assert_eq!(
        text(&json!({ "a": [[], {}], "b": [] })),
        r#"{"a":[[],{}],"b":[]}"#
    );
}

#[test]
fn p3_a_raw_document_is_sent_as_it_is() {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    assert_eq!(text(&raw(r#"{ "a": 1.0e0 }"#)), r#"{ "a": 1.0e0 }"#);
    assert_eq!(text(&[raw("1e0"), raw("\"x\"")]), r#"[1e0,"x"]"#);
    assert_eq!(text(&BTreeMap::from([("a", raw("[ ]"))])), r#"{"a":[ ]}"#);
}
