//! The rules that every serializer keeps.

use postbox_codec_json::JsonSerializer;
use postbox_protocol::Flip;
use postbox_protocol::conformance::Conformance;
use serde_json::{Value, json};

use crate::common::{Everything, Person, Shape, everything, person};

const WHITE_SPACE: &[u8] = b" \t\r\n";

#[test]
fn p1_p4_p6_typed_documents_conform() {
    Conformance::new(JsonSerializer::<Everything>::new())
        .packets([everything()])
        .ignoring_after(WHITE_SPACE)
        .refuses_packets([Everything {
            maybe: Some(f64::NAN),
            ..everything()
        }])
        .refuses_datagrams(["", "{}", "null", "\u{feff}{}", "{\"yes\":tru"])
        .refuses_datagrams([b"\"\xff\""])
        .check();
}

#[test]
fn p1_p4_p6_untyped_documents_conform() {
    Conformance::new(JsonSerializer::<Value>::new())
        .packets([
            json!({}),
            json!([]),
            json!(null),
            json!(true),
            json!("text \" \\ \u{0} é 🦀"),
            json!({ "a": [1, -2, 0.5, 1e300, null, { "b": "c" }], "": false }),
        ])
        .ignoring_after(WHITE_SPACE)
        .refuses_datagrams(["", "NaN", "[1,]", "{\"a\":1,}", "{}{}"])
        .check();
}

#[test]
fn p1_p4_bare_numbers_conform_without_an_end_mark() {
    Conformance::new(JsonSerializer::<f64>::new())
        .packets([0.0, -1.5, 1e300])
        .without_end_mark()
        .ignoring_after(WHITE_SPACE)
        .refuses_packets([f64::NAN, f64::INFINITY, f64::NEG_INFINITY])
        .refuses_datagrams(["", "NaN", "Infinity", "1e999", "null", "1 2"])
        .check();
}

#[test]
fn p1_p2_p4_both_sides_conform() {
    let server = JsonSerializer::<Vec<Shape>, Person>::new();
    Conformance::between(server, server.flip())
        .packets([vec![Shape::Point, Shape::Circle(0.5)]])
        .ignoring_after(WHITE_SPACE)
        .refuses_packets([vec![Shape::Circle(f64::NAN)]])
        .check();
    Conformance::between(server.flip(), server)
        .packets([person()])
        .ignoring_after(WHITE_SPACE)
        .refuses_datagrams([r#"["Point"]"#, r#"{"name":"Ann"}"#])
        .check();
}
