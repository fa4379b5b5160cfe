//! The types that take any document, and those of MessagePack alone.

use postbox_codec_msgpack::{Extension, Timestamp};
use postbox_protocol::BoxError;

use crate::node::{Canon, Node, unfit};

impl Canon for serde_json::Value {
    fn to_node(&self) -> Node {
        match self {
            Self::Null => Node::Nil,
            Self::Bool(it) => Node::Bool(*it),
            Self::Number(it) => match it.as_f64() {
                Some(float) if it.is_f64() => float.to_node(),
                _ => Node::Int(it.to_string()),
            },
            Self::String(it) => it.to_node(),
            Self::Array(it) => it.to_node(),
            Self::Object(it) => {
                let pair = |(key, value): (&String, &Self)| (key.to_node(), value.to_node());
                Node::Map(it.iter().map(pair).collect())
            }
        }
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        Ok(match node {
            Node::Nil => Self::Null,
            Node::Bool(it) => it.into(),
            Node::Int(digits) => match digits.parse::<i64>() {
                Ok(signed) => signed.into(),
                Err(_) => digits.parse::<u64>()?.into(),
            },
            Node::Double(bits) => f64::from_bits(bits).into(),
            Node::Text(it) => it.into(),
            Node::List(_) => Self::Array(Vec::from_node(node)?),
            Node::Map(pairs) => pairs
                .into_iter()
                .map(|(key, value)| Ok((String::from_node(key)?, Self::from_node(value)?)))
                .collect::<Result<_, BoxError>>()
                .map(Self::Object)?,
            other => return Err(unfit("JSON", &other)),
        })
    }
}

impl Canon for rmpv::Value {
    fn to_node(&self) -> Node {
        match self {
            Self::Nil => Node::Nil,
            Self::Boolean(it) => Node::Bool(*it),
            Self::Integer(it) => Node::Int(it.to_string()),
            Self::F32(it) => it.to_node(),
            Self::F64(it) => it.to_node(),
            // Text that is not UTF-8 does not come so far.
            Self::String(it) => Node::Text(it.as_str().unwrap_or("no text").to_owned()),
            Self::Binary(it) => it.to_node(),
            Self::Array(it) => it.to_node(),
            Self::Map(it) => {
                let pair = |(key, value): &(Self, Self)| (key.to_node(), value.to_node());
                Node::Map(it.iter().map(pair).collect())
            }
            Self::Ext(kind, data) => Node::Extension(*kind, data.clone()),
        }
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        Ok(match node {
            Node::Nil => Self::Nil,
            Node::Bool(it) => it.into(),
            Node::Int(digits) => match digits.parse::<i64>() {
                Ok(signed) => signed.into(),
                Err(_) => digits.parse::<u64>()?.into(),
            },
            Node::Double(bits) => Self::F64(f64::from_bits(bits)),
            Node::Single(bits) => Self::F32(f32::from_bits(bits)),
            Node::Text(it) => it.into(),
            Node::Bytes(it) => Self::Binary(it),
            Node::Extension(kind, data) => Self::Ext(kind, data),
            Node::List(_) => Self::Array(Vec::from_node(node)?),
            Node::Map(pairs) => pairs
                .into_iter()
                .map(|(key, value)| Ok((Self::from_node(key)?, Self::from_node(value)?)))
                .collect::<Result<_, BoxError>>()
                .map(Self::Map)?,
        })
    }
}

impl Canon for Extension {
    fn to_node(&self) -> Node {
        Node::Extension(self.kind, self.data.clone())
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        match node {
            Node::Extension(kind, data) => Ok(Self { kind, data }),
            other => Err(unfit("an extension", &other)),
        }
    }
}

/// The list of its seconds and nanoseconds.
impl Canon for Timestamp {
    fn to_node(&self) -> Node {
        Node::List(vec![self.seconds().to_node(), self.nanos().to_node()])
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        let Node::List(both) = &node else {
            return Err(unfit("a moment", &node));
        };
        let [seconds, nanos] = &both[..] else {
            return Err(unfit("a moment", &node));
        };
        let (seconds, nanos) = (
            i64::from_node(seconds.clone())?,
            u32::from_node(nanos.clone())?,
        );
        Ok(Self::new(seconds, nanos).ok_or("no nanoseconds")?)
    }
}
