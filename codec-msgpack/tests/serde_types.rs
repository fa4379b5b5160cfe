//! P3 for all that serde knows: it reads back equal, is refused when it is sent, or stands here.

#[path = "../../codec-json/tests/serde_types/attributes.rs"]
mod attributes;
#[path = "../../codec-json/tests/serde_types/erased.rs"]
mod erased;
#[path = "../../codec-json/tests/serde_types/rows.rs"]
#[allow(clippy::needless_pass_by_value, reason = "a row is a value")]
mod rows;

use bytes::BytesMut;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_protocol::Serializer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::{extension, moment};
use rows::{Exceptions, Way, everywhere};

struct Named;
struct Compact;

fn send<T>(serializer: MessagePackSerializer<T, ()>, packet: &T) -> Result<Vec<u8>, String>
where
    T: Serialize + 'static,
{
    let mut datagram = BytesMut::new();
    match serializer.serialize(packet, &mut datagram) {
        Ok(()) => Ok(datagram.to_vec()),
        Err(error) => Err(error.to_string()),
    }
}

fn read<T: DeserializeOwned + 'static>(datagram: &[u8]) -> Result<T, String> {
    let read = MessagePackSerializer::<(), T>::new().deserialize(datagram);
    read.map_err(|error| error.to_string())
}

impl Way for Named {
    fn send<T: Serialize + 'static>(packet: &T) -> Result<Vec<u8>, String> {
        send(MessagePackSerializer::new(), packet)
    }

    fn read<T: DeserializeOwned + 'static>(datagram: &[u8]) -> Result<T, String> {
        read(datagram)
    }
}

impl Way for Compact {
    fn send<T: Serialize + 'static>(packet: &T) -> Result<Vec<u8>, String> {
        send(MessagePackSerializer::compact(), packet)
    }

    fn read<T: DeserializeOwned + 'static>(datagram: &[u8]) -> Result<T, String> {
        read(datagram)
    }
}

/// What serde knows, and what only this format has.
fn all<W: Way>() -> Exceptions {
    let mut found = rows::all::<W>();
    everywhere::<W, _>(&mut found, "Timestamp", moment(-1, 5));
    everywhere::<W, _>(&mut found, "Extension", extension());
    found
}

/// What is refused when it is sent, or does not come back as it was: each has a line in the docs.
const EXCEPTIONS: &[&str] = &[
    "(): read as another, in Option",
    "None: read as another, in Option",
    "PathBuf that is no UTF-8: not sent",
    "PhantomData: not read, in flatten map, in untagged",
    "SocketAddrV6 with flow info: read as [::1]:9",
    "Some(None): read as another, everywhere",
    "SystemTime before 1970: not sent, everywhere",
    "fields: Some(()): read as Options { one: None, two: None, unit: None }",
    "fields: Some(None): read as Options { one: None, two: None, unit: None }",
    "flatten: an entry named as a field: not read",
    "flatten: two fields of one name: not read",
    "i128: not read, in flatten, in flatten map, in tag, in tag newtype, in untagged",
    "i128: read as another, in flatten Option",
    "key i128: not read, in flatten, in tag, in untagged",
    "key u128: not read, in flatten, in tag, in untagged",
    "key unit struct: not read, in untagged",
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
    "unit struct: not read, in flatten map, in untagged",
    "untagged: Again(\"a\") of several that fit: read as Text(\"a\")",
    "untagged: Wide(1) of several that fit: read as Byte(1)",
];

/// What is so with `compact` alone.
const EXCEPTIONS_OF_COMPACT: &[&str] = &[
    "content: Struct { side: 1 }: not read",
    "content: Unit: not read",
    "flatten: Struct { side: 1 }, adjacent: not read",
    "skip_deserializing: not read",
    "skip_serializing: not read",
    "skip_serializing_if, skipped: not read",
    "tag of a struct: not read",
    "untagged: Struct { side: 1 }: not read",
    "untagged: Wide { width: 1, height: 2 }: not read",
];

#[test]
fn p3_what_serde_knows_reads_back_equal_or_is_refused() {
    let lines = all::<Named>().lines();
    assert_eq!(lines.join("\n"), EXCEPTIONS.join("\n"));
}

#[test]
fn p3_compact_what_serde_knows_reads_back_equal_or_is_refused() {
    let mut expected = [EXCEPTIONS, EXCEPTIONS_OF_COMPACT].concat();
    // Nothing has a name there.
    expected.retain(|line| *line != "tag: a field of the tag's name: not read");
    expected.sort_unstable();
    assert_eq!(all::<Compact>().lines().join("\n"), expected.join("\n"));
}
