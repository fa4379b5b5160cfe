//! What a packet says, in words that no codec has a part in. `oracles/common.py` has the same.
//!
//! | node | words |
//! |---|---|
//! | nothing | `n` |
//! | true, false | `t`, `f` |
//! | an integer | `i-12` |
//! | a float of 64, of 32 bits | `d3ff8000000000000`, `e3fc00000` |
//! | text, in UTF-8 | `s6869` |
//! | bytes | `b00ff` |
//! | an extension | `x5:00ff` |
//! | a list of two | `[2`, and the two |
//! | a map of two | `{2`, and each key with its value, sorted by their words |

use std::collections::BTreeMap;
use std::fmt;
use std::str::SplitAsciiWhitespace;

use postbox_protocol::BoxError;

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Nil,
    Bool(bool),
    /// In decimal digits, since there are two types that hold more than any other.
    Int(String),
    Double(u64),
    Single(u32),
    Text(String),
    Bytes(Vec<u8>),
    Extension(i8, Vec<u8>),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Node {
    pub(crate) fn parse(words: &str) -> Result<Self, BoxError> {
        let mut words = words.split_ascii_whitespace();
        let node = Self::next(&mut words)?;
        match words.next() {
            None => Ok(node),
            Some(word) => Err(format!("{word} is left over").into()),
        }
    }

    fn next(words: &mut SplitAsciiWhitespace<'_>) -> Result<Self, BoxError> {
        let (mark, rest) = words.next().ok_or("a node is missing")?.split_at(1);
        Ok(match mark {
            "n" => Self::Nil,
            "t" => Self::Bool(true),
            "f" => Self::Bool(false),
            "i" => Self::Int(rest.to_owned()),
            "d" => Self::Double(u64::from_str_radix(rest, 16)?),
            "e" => Self::Single(u32::from_str_radix(rest, 16)?),
            "s" => Self::Text(String::from_utf8(from_hex(rest)?)?),
            "b" => Self::Bytes(from_hex(rest)?),
            "x" => {
                let (kind, data) = rest.split_once(':').ok_or("an extension has no kind")?;
                Self::Extension(kind.parse()?, from_hex(data)?)
            }
            "[" => Self::List(
                (0..rest.parse()?)
                    .map(|_: usize| Self::next(words))
                    .collect::<Result<_, _>>()?,
            ),
            "{" => Self::Map(
                (0..rest.parse()?)
                    .map(|_: usize| Ok((Self::next(words)?, Self::next(words)?)))
                    .collect::<Result<_, BoxError>>()?,
            ),
            _ => return Err(format!("{mark} begins no node").into()),
        })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("n"),
            Self::Bool(true) => f.write_str("t"),
            Self::Bool(false) => f.write_str("f"),
            Self::Int(digits) => write!(f, "i{digits}"),
            Self::Double(bits) => write!(f, "d{bits:016x}"),
            Self::Single(bits) => write!(f, "e{bits:08x}"),
            Self::Text(text) => write!(f, "s{}", hex(text.as_bytes())),
            Self::Bytes(bytes) => write!(f, "b{}", hex(bytes)),
            Self::Extension(kind, data) => write!(f, "x{kind}:{}", hex(data)),
            Self::List(nodes) => {
                write!(f, "[{}", nodes.len())?;
                nodes.iter().try_for_each(|node| write!(f, " {node}"))
            }
            Self::Map(pairs) => {
                let mut words: Vec<String> = pairs
                    .iter()
                    .map(|(key, value)| format!(" {key} {value}"))
                    .collect();
                words.sort_unstable();
                write!(f, "{{{}", words.len())?;
                words.iter().try_for_each(|pair| f.write_str(pair))
            }
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(digits: &str) -> Result<Vec<u8>, BoxError> {
    (0..digits.len())
        .step_by(2)
        .map(|at| {
            let digits = digits.get(at..at + 2).ok_or("an odd digit")?;
            Ok(u8::from_str_radix(digits, 16)?)
        })
        .collect()
}

/// What there is a node of.
pub(crate) trait Canon: Sized {
    fn to_node(&self) -> Node;

    fn from_node(node: Node) -> Result<Self, BoxError>;

    /// A list of them, which for bytes is no list.
    fn list(items: &[Self]) -> Node {
        Node::List(items.iter().map(Self::to_node).collect())
    }

    fn from_list(node: Node) -> Result<Vec<Self>, BoxError> {
        match node {
            Node::List(nodes) => nodes.into_iter().map(Self::from_node).collect(),
            other => Err(unfit("a list", &other)),
        }
    }
}

pub(crate) fn unfit(expected: &str, node: &Node) -> BoxError {
    format!("{node} is not {expected}").into()
}

macro_rules! integers {
    ($($type:ident)*) => {
        $(
            impl Canon for $type {
                fn to_node(&self) -> Node {
                    Node::Int(self.to_string())
                }

                fn from_node(node: Node) -> Result<Self, BoxError> {
                    match node {
                        Node::Int(digits) => Ok(digits.parse()?),
                        other => Err(unfit(stringify!($type), &other)),
                    }
                }
            }
        )*
    };
}

integers!(i8 i16 i32 i64 i128 u16 u32 u64 u128);

impl Canon for u8 {
    fn to_node(&self) -> Node {
        Node::Int(self.to_string())
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        match node {
            Node::Int(digits) => Ok(digits.parse()?),
            other => Err(unfit("u8", &other)),
        }
    }

    fn list(items: &[Self]) -> Node {
        Node::Bytes(items.to_vec())
    }

    fn from_list(node: Node) -> Result<Vec<Self>, BoxError> {
        match node {
            Node::Bytes(bytes) => Ok(bytes),
            other => Err(unfit("bytes", &other)),
        }
    }
}

macro_rules! plain {
    ($($type:ty: $node:ident, $to:expr, $from:expr;)*) => {
        $(
            impl Canon for $type {
                fn to_node(&self) -> Node {
                    Node::$node($to(self))
                }

                fn from_node(node: Node) -> Result<Self, BoxError> {
                    match node {
                        Node::$node(it) => Ok($from(it)),
                        other => Err(unfit(stringify!($type), &other)),
                    }
                }
            }
        )*
    };
}

plain! {
    bool: Bool, |it: &bool| *it, |it| it;
    f32: Single, |it: &f32| it.to_bits(), f32::from_bits;
    f64: Double, |it: &f64| it.to_bits(), f64::from_bits;
    String: Text, String::clone, |it| it;
}

impl Canon for char {
    fn to_node(&self) -> Node {
        Node::Text(self.to_string())
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        match &node {
            Node::Text(text) => Ok(text.parse()?),
            other => Err(unfit("char", other)),
        }
    }
}

impl Canon for () {
    fn to_node(&self) -> Node {
        Node::Nil
    }

    fn from_node(_: Node) -> Result<Self, BoxError> {
        Ok(())
    }
}

impl<T: Canon> Canon for Option<T> {
    fn to_node(&self) -> Node {
        self.as_ref().map_or(Node::Nil, T::to_node)
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        match node {
            Node::Nil => Ok(None),
            other => T::from_node(other).map(Some),
        }
    }
}

impl<T: Canon> Canon for Box<T> {
    fn to_node(&self) -> Node {
        (**self).to_node()
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        T::from_node(node).map(Self::new)
    }
}

impl<T: Canon> Canon for Vec<T> {
    fn to_node(&self) -> Node {
        T::list(self)
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        T::from_list(node)
    }
}

impl<K: Canon + Ord, V: Canon> Canon for BTreeMap<K, V> {
    fn to_node(&self) -> Node {
        let pair = |(key, value): (&K, &V)| (key.to_node(), value.to_node());
        Node::Map(self.iter().map(pair).collect())
    }

    fn from_node(node: Node) -> Result<Self, BoxError> {
        let Node::Map(pairs) = node else {
            return Err(unfit("a map", &node));
        };
        let pair = |(key, value)| Ok((K::from_node(key)?, V::from_node(value)?));
        pairs.into_iter().map(pair).collect()
    }
}

/// A struct is the list of its fields.
macro_rules! fields {
    ($type:ty: $($field:ident)*) => {
        impl $crate::node::Canon for $type {
            fn to_node(&self) -> $crate::node::Node {
                $crate::node::Node::List(vec![$(self.$field.to_node()),*])
            }

            fn from_node(
                node: $crate::node::Node,
            ) -> Result<Self, postbox_protocol::BoxError> {
                let $crate::node::Node::List(nodes) = node else {
                    return Err($crate::node::unfit(stringify!($type), &node));
                };
                let mut nodes = nodes.into_iter();
                let made = Self {
                    $($field: $crate::node::Canon::from_node(
                        nodes.next().ok_or(concat!("no ", stringify!($field)))?,
                    )?,)*
                };
                match nodes.next() {
                    None => Ok(made),
                    Some(node) => Err($crate::node::unfit("a field", &node)),
                }
            }
        }
    };
}

pub(crate) use fields;
