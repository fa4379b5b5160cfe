//! Keys of objects that serde_json takes for signs of its own, if another crate asks it to.
//!
//! Cargo builds serde_json once for the whole program, with the features that any crate wants. With
//! `raw_value` an object of the key [`RAW`] is read as the document in its text, again and again,
//! by which 36 KB reach a depth that ends the stack; with `arbitrary_precision` one of [`NUMBER`]
//! is read as a number. No peer means that, so such documents are refused.

use std::sync::LazyLock;

use serde_json::Value;

const RAW: &str = "$serde_json::private::RawValue";
const NUMBER: &str = "$serde_json::private::Number";

/// Whether this program's serde_json has such keys.
static HAS: LazyLock<bool> = LazyLock::new(|| {
    [RAW, NUMBER].iter().any(|key| {
        let document = format!(r#"{{"{key}":"0"}}"#);
        serde_json::from_str::<Value>(&document).is_ok_and(|value| value.is_number())
    })
});

/// Returns where the document has such a key, if serde_json would take it for that.
#[inline]
pub(crate) fn find(document: &str) -> Option<usize> {
    if *HAS { find_any(document) } else { None }
}

/// Returns where the document has such a key, up to where it is no JSON.
#[cold]
fn find_any(document: &str) -> Option<usize> {
    let mut position = 0;
    loop {
        position += document[position..].find('"')?;
        let (text, rest) = document[position..].split_at(text_len(&document[position..])?);
        if rest.trim_start().starts_with(':') && is_kept(text) {
            return Some(position);
        }
        position += text.len();
    }
}

/// Returns the length of the text that begins here, with its quotes.
fn text_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    let is_end = |byte: u8| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    };
    let inner = text.as_bytes().get(1..)?;
    Some(2 + inner.iter().copied().position(is_end)?)
}

/// Whether a text, in its quotes, is one of the keys.
fn is_kept(text: &str) -> bool {
    let kept = |key: &str| key == RAW || key == NUMBER;
    if text.contains('\\') {
        serde_json::from_str::<String>(text).is_ok_and(|key| kept(&key))
    } else {
        kept(text.trim_matches('"'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_a_kept_key_is_found_however_it_is_written() {
        for key in [RAW, NUMBER] {
            let escaped: String = key.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
            for key in [key, &escaped, &key.replace('s', "\\u0073")] {
                for before in ["{", r#"[1,{"a":["b\"",{"c\\":null,"#, "  \n{\t"] {
                    for after in [":0}", " \t\r\n: 0}", ":"] {
                        let document = format!("{before}\"{key}\"{after}");
                        assert_eq!(find_any(&document), Some(before.len()), "{document}");
                    }
                }
            }
        }
    }

    #[test]
    fn p5_nothing_else_is_taken_for_a_kept_key() {
        for document in [
            "",
            "0",
            "\"",
            "\"\\",
            "{\"\":0}",
            r#"{"$serde_json::private::":0}"#,
            r#"{"$serde_json::private::Other":0}"#,
            r#"{"a":"$serde_json::private::Number"}"#,
            r#"["$serde_json::private::RawValue"]"#,
            r#"{"\"$serde_json::private::Number":0}"#,
            r#"{"a\\":"$serde_json::private::Number","b":0}"#,
            r#"{"$serde_json::private::Number"#,
        ] {
            assert_eq!(find_any(document), None, "{document}");
        }
    }
}
