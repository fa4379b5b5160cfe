//! JSON: any document as a `Value`, and as a type that uses every corner of serde.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbox_codec_json::JsonSerializer;
use postbox_fuzz::reads;
use serde_json::Value;

#[path = "../../codec-json/tests/common/mod.rs"]
mod common;

use common::Everything;

fuzz_target!(|datagram: &[u8]| {
    // An object with one entry takes a node of a tree with room for eleven.
    let most = 4096 + 256 * datagram.len();

    if let Some(value) = reads(&JsonSerializer::<Value>::new(), datagram, most) {
        assert!(depth(&value) <= 127);
        assert!(str::from_utf8(datagram).is_ok());
    }

    let _ = reads(&JsonSerializer::<Everything>::new(), datagram, most);
});

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
