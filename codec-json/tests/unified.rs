//! What changes where another crate of the program asks for more features of serde_json. The tests
//! hold with them and without: `.ci/run features` runs them with.

use serde_json::{Number, Value};

use crate::common::{read, text};

/// Whether a number is kept as it is written: `arbitrary_precision`.
pub(crate) fn keeps_numbers() -> bool {
    size_of::<Number>() == size_of::<String>()
}

/// Whether an object of this one key is something else to serde_json itself.
fn is_kept(key: &str) -> bool {
    let document = format!(r#"{{"{key}":"0"}}"#);
    serde_json::from_str(&document).is_ok_and(|value: Value| !value.is_object())
}

const NUMBER: &str = "$serde_json::private::Number";
const RAW: &str = "$serde_json::private::RawValue";

fn depth(value: &Value) -> usize {
    let within = match value {
        Value::Array(values) => values.iter().map(depth).max(),
        Value::Object(values) => values.values().map(depth).max(),
        _ => return 0,
    };
    1 + within.unwrap_or(0)
}

#[test]
fn p5_an_object_is_never_taken_for_something_else() {
    let kept = is_kept(RAW) || is_kept(NUMBER);
    for key in [NUMBER, RAW, r"\u0024serde_json::private::RawValue"] {
        for document in [
            format!("[\n {{\"{key}\":\"[1]\"}}]"),
            format!("[\n {{\"{key}\" : 1, \"a\":2}}]"),
        ] {
            match read::<Value>(document) {
                Ok(value) => assert!(!kept && value[0].is_object()),
                Err(error) => {
                    let message = "a key that serde_json keeps for itself at line 2 column 3";
                    assert_eq!((kept, &*error.to_string()), (true, message));
                    assert!(error.is_data() && !error.is_syntax() && !error.is_write());
                    assert_eq!((error.line(), error.column()), (Some(2), Some(3)));
                }
            }
        }
        // As a text it is nothing special.
        let text = format!(r#"{{"a":"{key}"}}"#);
        assert!(read::<Value>(text).unwrap()["a"].is_string());
    }
}

/// Documents in texts of documents: each is parsed anew, with a bound of its own.
#[test]
fn p5_no_document_goes_deeper_than_the_bound_by_texts_of_documents() {
    let mut document = "0".to_owned();
    for _ in 0..13 {
        let quoted = text(&document);
        let (open, close) = ("[".repeat(120), "]".repeat(120));
        document = format!(r#"{open}{{"{RAW}":{quoted}}}{close}"#);
    }
    assert!(document.len() < 65_507, "it fits into a datagram");
    match read::<Value>(document) {
        Ok(value) => assert_eq!((is_kept(RAW), depth(&value)), (false, 121)),
        Err(error) => assert!(error.is_data(), "{error}"),
    }
}

#[test]
fn p3_a_value_has_numbers_of_64_bits_unless_the_program_keeps_them_as_written() {
    for (number, nearest) in [
        ("12345678901234567890123", "1.2345678901234568e+22"),
        ("0.10", "0.1"),
        ("-0", "-0.0"),
    ] {
        let value = read::<Value>(number).unwrap();
        let wanted = if keeps_numbers() { number } else { nearest };
        assert_eq!(text(&value), wanted);
    }
    assert_eq!(read::<Value>("1e400").is_ok(), keeps_numbers());
    assert!(read::<f64>("1e400").unwrap_err().is_syntax());
}
