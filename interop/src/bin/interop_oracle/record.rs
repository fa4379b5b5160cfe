//! A type with every kind of data that serde knows. `oracles/record.py` describes the same.

use std::collections::BTreeMap;

use postbox_protocol::BoxError;
use serde::{Deserialize, Serialize};

use crate::node::{Canon, Node, fields, unfit};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    yes: bool,
    tiny: i8,
    short: i16,
    int: i32,
    long: i64,
    byte: u8,
    word: u16,
    size: u32,
    large: u64,
    huge: i128,
    vast: u128,
    single: f32,
    double: f64,
    letter: char,
    text: String,
    #[serde(with = "serde_bytes")]
    blob: Vec<u8>,
    maybe: Option<i32>,
    nothing: (),
    doubles: Vec<f64>,
    singles: Vec<f32>,
    shapes: Vec<Shape>,
    named: BTreeMap<String, i64>,
    numbered: BTreeMap<i16, Option<bool>>,
    #[serde(default)]
    added: Option<String>,
    inner: Option<Box<Inner>>,
}

fields!(Record:
    yes tiny short int long byte word size large huge vast single double letter text blob maybe
    nothing doubles singles shapes named numbered added inner
);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inner {
    name: String,
    next: Option<Box<Self>>,
}

fields!(Inner: name next);

#[derive(Debug, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i32, i32),
    Square { side: u8, label: String },
}

/// A unit variant is its name, each other the map from its name to the list of its fields.
impl Canon for Shape {
    fn to_node(&self) -> Node {
        let (name, fields) = match self {
            Self::Point => return Node::Text("Point".to_owned()),
            Self::Circle(radius) => ("Circle", radius.to_node()),
            Self::Line(from, to) => ("Line", Node::List(vec![from.to_node(), to.to_node()])),
            Self::Square { side, label } => {
                let fields = vec![side.to_node(), label.to_node()];
                ("Square", Node::List(fields))
            }
        };
        Node::Map(vec![(Node::Text(name.to_owned()), fields)])
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        let Node::Map(mut pairs) = node else {
            return Ok(Self::Point);
        };
        let (Node::Text(name), data) = pairs.pop().ok_or("no variant")? else {
            return Err("a variant without a name".into());
        };
        Ok(match (name.as_str(), data) {
            ("Circle", radius) => Self::Circle(f64::from_node(radius)?),
            ("Line", Node::List(mut ends)) => {
                let to = ends.pop().ok_or("no end")?;
                let from = ends.pop().ok_or("no beginning")?;
                Self::Line(i32::from_node(from)?, i32::from_node(to)?)
            }
            ("Square", Node::List(mut fields)) => {
                let label = fields.pop().ok_or("no label")?;
                let side = fields.pop().ok_or("no side")?;
                Self::Square {
                    side: u8::from_node(side)?,
                    label: String::from_node(label)?,
                }
            }
            (_, other) => return Err(unfit("a shape", &other)),
        })
    }
}
