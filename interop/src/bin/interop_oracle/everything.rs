//! The messages of `everything.proto`. A message is the list of its fields in the order of the
//! schema; a `oneof` is one of them, as the list of the field's number and its value.

use postbox_codec_protobuf_schema::everything::{Inner, Shape};
use postbox_codec_protobuf_schema::{Everything, Line, NewerPerson, Nothing, Person};
use postbox_protocol::BoxError;

use crate::node::{Canon, Node, fields, unfit};

fields!(Person: name age);
fields!(NewerPerson: name age pets height color partner balance);
fields!(Line: from to);
fields!(Nothing:);
fields!(Inner: far);
fields!(Everything:
    a_double a_float an_int32 an_int64 a_uint32 a_uint64 a_sint32 a_sint64 a_fixed32 a_fixed64
    a_sfixed32 a_sfixed64 a_bool a_string some_bytes color person
    packed unpacked doubles fixeds bools colors strings blobs people
    named numbered switched
    shape
    maybe_number maybe_text maybe_bytes maybe_bool maybe_color
    next inner
);

impl Canon for Shape {
    fn to_node(&self) -> Node {
        let (number, value) = match self {
            Self::Point(it) => (40, it.to_node()),
            Self::Circle(it) => (41, it.to_node()),
            Self::Line(it) => (42, it.to_node()),
            Self::Label(it) => (43, it.to_node()),
            Self::Filled(it) => (44, it.to_node()),
        };
        Node::List(vec![Node::Int(number.to_string()), value])
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        let Node::List(mut both) = node else {
            return Err(unfit("a shape", &node));
        };
        let value = both.pop().ok_or("no value")?;
        Ok(match i32::from_node(both.pop().ok_or("no number")?)? {
            40 => Self::Point(Canon::from_node(value)?),
            41 => Self::Circle(Canon::from_node(value)?),
            42 => Self::Line(Canon::from_node(value)?),
            43 => Self::Label(Canon::from_node(value)?),
            44 => Self::Filled(Canon::from_node(value)?),
            other => return Err(format!("no shape has the number {other}").into()),
        })
    }
}
