//! What is sent: how it is written, and what becomes of a packet that cannot be.

use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_protocol::{DatagramProtocol, Protocol, Serializer};
use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer as Serde};

use crate::common::{Person, compact, everything, named, person, read, refused};

/// Calls what serde's derives do not.
struct ByHand;

impl Serialize for ByHand {
    fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Shown;

        impl Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("for ")?;
                f.write_str("people")
            }
        }

        struct Text;

        impl Serialize for Text {
            fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&Shown)
            }
        }

        struct Sequence;

        impl Serialize for Sequence {
            fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut sequence = serializer.serialize_seq(None)?;
                sequence.serialize_element(&1)?;
                sequence.serialize_element(&person())?;
                sequence.end()
            }
        }

        assert!(serializer.is_human_readable());
        let mut map = serializer.serialize_map(None)?;
        map.serialize_key("text")?;
        map.serialize_value(&Text)?;
        map.serialize_entry("sequence", &Sequence)?;
        map.end()
    }
}

#[test]
fn p3_what_is_serialized_by_hand_has_its_form() {
    assert_eq!(
        named(&ByHand),
        b"\x82\xa4text\xaafor people\xa8sequence\x92\x01\x82\xa4name\xa4Zo\xc3\xab\xa3age\x2a"
    );
    assert_eq!(
        compact(&ByHand),
        b"\x82\xa4text\xaafor people\xa8sequence\x92\x01\x92\xa4Zo\xc3\xab\x2a"
    );
}

#[test]
fn p3_serialize_attributes_hold() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Attributes {
        #[serde(skip_serializing_if = "Option::is_none")]
        maybe: Option<u8>,
        #[serde(rename = "type")]
        kind: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        person: Person,
    }

    let packet = Attributes {
        maybe: None,
        kind: 7,
    };
    assert_eq!(named(&packet), b"\x81\xa4type\x07");
    assert_eq!(read::<Attributes>(named(&packet)).unwrap(), packet);
    // Without names the next field takes the place, and the packet cannot be read.
    assert_eq!(compact(&packet), b"\x91\x07");
    assert!(read::<Attributes>(compact(&packet)).unwrap_err().is_data());

    // What is flattened is a map either way.
    let packet = Flat {
        id: 1,
        person: person(),
    };
    let map = b"\x83\xa2id\x01\xa4name\xa4Zo\xc3\xab\xa3age\x2a";
    assert_eq!(named(&packet), map);
    assert_eq!(compact(&packet), map);
    assert_eq!(read::<Flat>(map).unwrap(), packet);
}

#[test]
fn p3_a_value_is_appended_without_moving_a_buffer_that_is_large_enough() {
    let mut datagram = BytesMut::with_capacity(2048);
    let start = datagram.as_ptr();
    MessagePackSerializer::<_>::new()
        .serialize(&everything(), &mut datagram)
        .unwrap();
    assert_eq!(datagram.as_ptr(), start);
    assert_eq!(datagram.capacity(), 2048);
}

#[test]
fn p6_an_error_half_way_leaves_nothing_and_the_next_packet_is_whole() {
    struct Unsayable(bool);

    impl Serialize for Unsayable {
        fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0 {
                serializer.serialize_u8(1)
            } else {
                Err(S::Error::custom("not to be said"))
            }
        }
    }

    let error = refused(&Unsayable(false));
    assert_eq!(error.to_string(), "not to be said");
    assert!(error.is_write() && !error.is_syntax() && !error.is_data());
    assert_eq!(error.position(), None);

    let protocol = DatagramProtocol::new(MessagePackSerializer::<Vec<Unsayable>, ()>::new());
    let mut datagram = BytesMut::from("before ");
    let error = protocol
        .make_datagram(vec![Unsayable(true), Unsayable(false)], &mut datagram)
        .unwrap_err();
    assert!(error.is_serialize());
    assert_eq!(datagram, "before ");

    protocol
        .make_datagram(vec![Unsayable(true)], &mut datagram)
        .unwrap();
    assert_eq!(&datagram[..], b"before \x91\x01");
}

#[test]
fn p9_a_panic_in_a_type_of_the_user_passes_through_and_the_serializer_still_works() {
    struct Bomb(bool);

    impl Serialize for Bomb {
        fn serialize<S: Serde>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(!self.0, "boom");
            serializer.serialize_str("no bomb")
        }
    }

    let serializer = MessagePackSerializer::<Bomb, ()>::new();
    let mut datagram = BytesMut::new();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        serializer.serialize(&Bomb(true), &mut datagram)
    }))
    .unwrap_err();
    assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "boom");

    datagram.clear();
    serializer.serialize(&Bomb(false), &mut datagram).unwrap();
    assert_eq!(&datagram[..], b"\xa7no bomb");
}
