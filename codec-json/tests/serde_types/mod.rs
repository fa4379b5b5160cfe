//! P3 for all that serde knows: it reads back equal, is refused when it is sent, or stands here.

#[allow(clippy::needless_pass_by_value, reason = "a row is a value")]
mod rows;

mod attributes;
mod erased;

use bytes::BytesMut;
use postbox_codec_json::JsonSerializer;
use postbox_protocol::Serializer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::unified::keeps_numbers;
use rows::Way;

struct Json;

impl Way for Json {
    fn send<T: Serialize + 'static>(packet: &T) -> Result<Vec<u8>, String> {
        let mut datagram = BytesMut::new();
        match JsonSerializer::<T, ()>::new().serialize(packet, &mut datagram) {
            Ok(()) => Ok(datagram.to_vec()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn read<T: DeserializeOwned + 'static>(datagram: &[u8]) -> Result<T, String> {
        let read = JsonSerializer::<(), T>::new().deserialize(datagram);
        read.map_err(|error| error.to_string())
    }
}

/// What is refused when it is sent, or does not come back as it was: each has a line in the docs.
const EXCEPTIONS: &[&str] = &[
    "(): read as another, in Option",
    "None: read as another, in Option",
    "PathBuf that is no UTF-8: not sent",
    "PhantomData: read as another, in Option",
    "SocketAddrV6 with flow info: read as [::1]:9",
    "Some(None): read as another, everywhere",
    "SystemTime before 1970: not sent, everywhere",
    "fields: Some(()): read as Options { one: None, two: None, unit: None }",
    "fields: Some(None): read as Options { one: None, two: None, unit: None }",
    "flatten: an entry named as a field: not read",
    "flatten: numbers as keys: not read",
    "flatten: two fields of one name: not read",
    "i128: not read, in flatten, in flatten map, in tag, in tag newtype, in untagged",
    "i128: read as another, in flatten Option",
    "key (): not sent, everywhere",
    "key None: not sent, everywhere",
    "key Some of a number: not read, in flatten, in tag, in untagged",
    "key array: not sent, everywhere",
    "key bool: not read, in flatten, in tag, in untagged",
    "key bytes: not sent, everywhere",
    "key f32: not read, in flatten, in tag, in untagged",
    "key f64: not read, in flatten, in tag, in untagged",
    "key i128: not read, in flatten, in tag, in untagged",
    "key i64: not read, in flatten, in tag, in untagged",
    "key struct variant: not sent, everywhere",
    "key struct: not sent, everywhere",
    "key tuple: not sent, everywhere",
    "key u128: not read, in flatten, in tag, in untagged",
    "key u64: not read, in flatten, in tag, in untagged",
    "key u8: not read, in flatten, in tag, in untagged",
    "key unit struct: not sent, everywhere",
    "key untagged number: read as another, everywhere",
    "key variant: not sent, everywhere",
    "key whole f64: not read, in flatten, in tag, in untagged",
    "skip: read as Skipped { one: 1, two: 0, three: 3 }",
    "tag: OfList([1]): not sent",
    "tag: OfNumber(1): not sent",
    "tag: OfSome(None): not sent",
    "tag: OfSome(Some(Point { x: 1, y: 2 })): not sent",
    "tag: OfText(\"a\"): not sent",
    "tag: OfTuple(Pair(1, 2)): not sent",
    "tag: a field of the tag's name: not read",
    "u128: not read, in flatten, in flatten map, in tag, in tag newtype, in untagged",
    "u128: read as another, in flatten Option",
    "unit struct: read as another, in Option",
    "untagged: Again(\"a\") of several that fit: read as Text(\"a\")",
    "untagged: Wide(1) of several that fit: read as Byte(1)",
];

/// Where another crate has serde_json keep numbers as they are written: see `unified.rs`.
const FLOATS_AS_WRITTEN: &[&str] = &[
    "f32: not read, in flatten, in flatten map, in tag, in tag newtype, in untagged",
    "f32: read as another, in flatten Option",
    "f64: not read, in flatten, in flatten map, in tag, in tag newtype, in untagged",
    "f64: read as another, in flatten Option",
    "whole f64: not read, in flatten, in flatten map, in tag, in tag newtype, in untagged",
    "whole f64: read as another, in flatten Option",
];

#[test]
fn p3_what_serde_knows_reads_back_equal_or_is_refused() {
    let mut expected = EXCEPTIONS.to_vec();
    if keeps_numbers() {
        expected.extend(FLOATS_AS_WRITTEN);
        expected.sort_unstable();
    }
    assert_eq!(rows::all::<Json>().lines().join("\n"), expected.join("\n"));
}
