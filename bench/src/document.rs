//! The documents that are sent and answered by the measurements.

use serde::{Deserialize, Serialize};

/// A message as a game may send it; in protobuf with the numbers of the tags.
#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
pub struct Document {
    /// What it asks for
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Its number
    #[prost(uint64, tag = "2")]
    pub id: u64,
    /// Who sends it
    #[prost(string, tag = "3")]
    pub player: String,
    /// Where he is
    #[prost(double, tag = "4")]
    pub x: f64,
    /// Where he is
    #[prost(double, tag = "5")]
    pub y: f64,
    /// His health
    #[prost(uint32, tag = "6")]
    pub hp: u32,
    /// What he does
    #[prost(string, repeated, tag = "7")]
    pub flags: Vec<String>,
    /// What he says
    #[prost(string, tag = "8")]
    pub text: String,
    /// What he carries. It is the last one, so that an array may end without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[prost(message, repeated, tag = "9")]
    pub items: Vec<Item>,
}

/// Something that a player carries.
#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
pub struct Item {
    /// What it is
    #[prost(string, tag = "1")]
    pub name: String,
    /// Where it is
    #[prost(uint32, tag = "2")]
    pub slot: u32,
    /// How many there are
    #[prost(uint32, tag = "3")]
    pub count: u32,
    /// What one of them weighs
    #[prost(double, tag = "4")]
    pub weight: f64,
    /// Whether it cannot be given away
    #[prost(bool, tag = "5")]
    pub bound: bool,
}

impl Document {
    /// Makes the small one: 114 bytes of JSON.
    pub fn small() -> Self {
        Self {
            kind: "move".into(),
            id: 123_456_789,
            player: "alice-42".into(),
            x: 12.5,
            y: -7.25,
            hp: 87,
            flags: vec!["run".into()],
            text: "hello there".into(),
            items: Vec::new(),
        }
    }

    /// Makes the large one: 1,048 bytes of JSON.
    pub fn large() -> Self {
        let items = [
            ("iron sword", 1, 3.5, true),
            ("health potion", 12, 0.25, false),
            ("wooden shield", 1, 4.75, true),
            ("arrow", 240, 0.05, false),
            ("gold coin", 15_230, 0.01, false),
            ("rope", 2, 1.5, false),
            ("torch", 7, 0.8, false),
            ("spell scroll", 3, 0.1, true),
            ("bread", 5, 0.4, false),
            ("map of the north", 1, 0.2, false),
            ("silver ring", 1, 0.02, true),
            ("lantern oil", 4, 0.9, false),
        ];
        let item = |(slot, (name, count, weight, bound)): (u32, (&str, u32, f64, bool))| Item {
            name: name.into(),
            slot,
            count,
            weight,
            bound,
        };
        Self {
            flags: ["run", "jump", "crouch", "shield-up"]
                .map(String::from)
                .to_vec(),
            text: "a somewhat longer chat line, as players type them in the middle of a fight: \
                   behind you!"
                .into(),
            items: (0..).zip(items).map(item).collect(),
            ..Self::small()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_as_long_as_it_is_said() {
        for (document, len) in [(Document::small(), 114), (Document::large(), 1_048)] {
            assert_eq!(serde_json::to_vec(&document).unwrap().len(), len);
        }
    }
}
