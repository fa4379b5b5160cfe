//! MessagePack: any value, and types that use every corner of serde, as maps and compact.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_fuzz::{decode, read_back, reads, same};
use rmpv::Value;

#[path = "../../codec-msgpack/tests/common/mod.rs"]
mod common;

use common::{Everything, Flat};

/// A text that is refused, for what serde_json does with it.
const RAW_VALUE: &[u8] = b"$serde_json::private::RawValue";

fuzz_target!(|datagram: &[u8]| {
    // The smallest value is one byte, and a `Value` 40.
    let most = 8192 + 128 * datagram.len();

    let value = reads(&MessagePackSerializer::<Value>::new(), datagram, most);
    // rmpv's own reader has the same format and other bounds.
    let mut rest = datagram;
    let theirs = rmpv::decode::read_value(&mut rest);
    match (&value, theirs) {
        (Some(ours), Ok(theirs)) => {
            assert!(rest.is_empty() && depth(ours) <= 127);
            same(ours, &theirs);
        }
        (Some(ours), Err(error)) => panic!("{ours:?} is none: {error}"),
        (None, Ok(theirs)) => {
            let refused = !rest.is_empty()
                || depth(&theirs) > 127
                || !is_text(&theirs)
                // It reads the byte that is never used as nil.
                || datagram.contains(&0xc1)
                || datagram.windows(RAW_VALUE.len()).any(|text| text == RAW_VALUE);
            assert!(refused, "{theirs:?} was refused");
        }
        (None, Err(_)) => {}
    }

    // Whatever a type accepts is a value.
    let named = MessagePackSerializer::<Everything>::new();
    let compact = MessagePackSerializer::<Everything>::compact();
    if let Some(packet) = reads(&named, datagram, most) {
        assert!(value.is_some());
        read_back(&compact, &packet);
        same(
            &packet,
            &decode(&compact, datagram, most).expect("both read both"),
        );
    }
    if reads(&MessagePackSerializer::<Flat>::new(), datagram, most).is_some() {
        assert!(value.is_some());
    }
});

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => {
            let both = entries
                .iter()
                .map(|(key, value)| depth(key).max(depth(value)));
            1 + both.max().unwrap_or(0)
        }
        _ => 0,
    }
}

fn is_text(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_str(),
        Value::Array(values) => values.iter().all(is_text),
        Value::Map(entries) => entries
            .iter()
            .all(|(key, value)| is_text(key) && is_text(value)),
        _ => true,
    }
}
