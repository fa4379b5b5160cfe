//! The ready-made converters, and two stapled into one.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use postbox_protocol::{
    BoxError, Converter, DatagramProtocol, FnConverter, IdentityConverter, Protocol, RawSerializer,
    Serializer, StapledConverter, StapledSerializer, TryFromConverter,
};

use crate::common::{Text, TextConverter};

#[derive(Debug, PartialEq)]
struct Even(u32);

impl From<Even> for u32 {
    fn from(even: Even) -> Self {
        even.0
    }
}

impl TryFrom<u32> for Even {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        if number.is_multiple_of(2) {
            Ok(Self(number))
        } else {
            Err(format!("{number} is odd"))
        }
    }
}

/// A packet that not every value of can be sent.
#[derive(Debug, PartialEq)]
struct Loud(String);

impl TryFrom<Loud> for String {
    type Error = &'static str;

    fn try_from(loud: Loud) -> Result<Self, &'static str> {
        if loud.0.is_ascii() {
            Ok(loud.0.to_uppercase())
        } else {
            Err("not ASCII")
        }
    }
}

#[test]
fn p3_plain_conversions_make_a_converter() {
    let protocol = DatagramProtocol::new(Text::<u32>::new())
        .with_converter(TryFromConverter::<Even, u32>::new());

    let mut datagram = BytesMut::new();
    protocol.make_datagram(Even(42), &mut datagram).unwrap();
    assert_eq!(datagram, "42");
    assert_eq!(protocol.build_packet(b"42").unwrap(), Even(42));
}

#[test]
fn p3_plain_conversions_can_differ_by_direction() {
    let converter = TryFromConverter::<Loud, String, Even, u32>::new();
    assert_eq!(
        converter.convert_to_dto(Loud("text".to_owned())).unwrap(),
        "TEXT"
    );
    assert_eq!(converter.create_from_dto(4).unwrap(), Even(4));
}

#[test]
fn p5_the_error_of_a_plain_conversion_is_the_cause() {
    let protocol = DatagramProtocol::new(Text::<u32>::new())
        .with_converter(TryFromConverter::<Even, u32>::new());
    let error = protocol.build_packet(b"7").unwrap_err();
    assert!(error.is_convert());
    assert_eq!(error.source().unwrap().to_string(), "7 is odd");
}

#[test]
fn p6_a_plain_conversion_that_fails_to_send_is_the_cause() {
    let protocol = DatagramProtocol::new(Text::<String>::new()).with_converter(TryFromConverter::<
        Loud,
        _,
        String,
        _,
    >::new());
    let mut datagram = BytesMut::new();
    let error = protocol
        .make_datagram(Loud("é".to_owned()), &mut datagram)
        .unwrap_err();
    assert!(error.is_convert());
    assert_eq!(error.source().unwrap().to_string(), "not ASCII");
}

#[test]
fn p3_closures_make_a_converter() {
    let by = 10;
    let converter = FnConverter::new(
        move |packet: u32| {
            packet
                .checked_mul(by)
                .ok_or_else(|| BoxError::from("too large"))
        },
        move |dto: u32| {
            if dto.is_multiple_of(by) {
                Ok(dto / by)
            } else {
                Err("no multiple".into())
            }
        },
    );
    let protocol = DatagramProtocol::new(Text::<u32>::new()).with_converter(converter);

    let mut datagram = BytesMut::new();
    protocol.make_datagram(7, &mut datagram).unwrap();
    assert_eq!(datagram, "70");
    assert_eq!(protocol.build_packet(b"80").unwrap(), 8);
    assert!(protocol.build_packet(b"81").unwrap_err().is_convert());
    assert!(
        protocol
            .make_datagram(u32::MAX, &mut datagram)
            .unwrap_err()
            .is_convert()
    );
}

#[test]
fn p3_functions_make_a_converter() {
    fn to_dto(packet: bool) -> Result<u8, BoxError> {
        Ok(u8::from(packet))
    }

    fn from_dto(dto: u8) -> Result<bool, BoxError> {
        Ok(dto != 0)
    }

    let converter = FnConverter::new(to_dto, from_dto);
    assert_eq!(converter.convert_to_dto(true).unwrap(), 1);
    assert!(!converter.create_from_dto(0).unwrap());
}

#[test]
fn p3_the_identity_converts_nothing() {
    let converter = IdentityConverter::<u8, &str>::default();
    assert_eq!(converter.convert_to_dto(7).unwrap(), 7);
    assert_eq!(converter.create_from_dto("seven").unwrap(), "seven");
}

#[test]
fn p7_serializers_can_be_stapled_one_for_each_direction() {
    let serializer = StapledSerializer::new(Text::<u8>::new(), RawSerializer);
    let mut datagram = BytesMut::new();
    serializer.serialize(&7, &mut datagram).unwrap();
    assert_eq!(datagram, "7");
    // Bytes that the other part could not read.
    assert_eq!(
        serializer.deserialize(b"\xff\x00").unwrap(),
        &b"\xff\x00"[..]
    );
}

#[test]
fn p7_converters_can_be_stapled_one_for_each_direction() {
    let converter = StapledConverter::new(
        IdentityConverter::<u8>::new(),
        TryFromConverter::<Even, u32>::new(),
    );
    assert_eq!(converter.convert_to_dto(7).unwrap(), 7);
    assert_eq!(converter.create_from_dto(8).unwrap(), Even(8));
    assert_eq!(
        converter.create_from_dto(9).unwrap_err().to_string(),
        "9 is odd"
    );
}

#[test]
fn p7_a_stapled_serializer_and_a_stapled_converter_make_one_protocol() {
    let protocol = DatagramProtocol::new(StapledSerializer::new(RawSerializer, Text::<u32>::new()))
        .with_converter(StapledConverter::new(
            TextConverter,
            TryFromConverter::<Even, u32>::new(),
        ));

    let mut datagram = BytesMut::new();
    protocol
        .make_datagram("even".to_owned(), &mut datagram)
        .unwrap();
    assert_eq!(datagram, "even");
    assert_eq!(protocol.build_packet(b"2").unwrap(), Even(2));
    assert!(protocol.build_packet(b"3").unwrap_err().is_convert());
    assert!(protocol.build_packet(b"x").unwrap_err().is_deserialize());
}

#[test]
fn p7_staples_staple() {
    let inner = StapledSerializer::new(Text::<u8>::new(), Text::<bool>::new());
    let serializer = StapledSerializer::new(RawSerializer, inner);
    let mut datagram = BytesMut::new();
    serializer
        .serialize(&Bytes::from("raw"), &mut datagram)
        .unwrap();
    assert_eq!(datagram, "raw");
    assert!(serializer.deserialize(b"true").unwrap());
}

#[test]
fn debug_names_the_converters() {
    let closures = FnConverter::new(|packet: u8| Ok(packet), |dto: u8| Ok(dto));
    // Only the functions have to be `Clone`, not the packets.
    #[expect(clippy::clone_on_copy, reason = "it is the clone that is tried")]
    let closures = closures.clone();
    assert_eq!(closures.convert_to_dto(1).unwrap(), 1);
    assert_eq!(format!("{closures:?}"), "FnConverter { .. }");

    struct NotClone;
    #[expect(clippy::clone_on_copy, reason = "it is the clone that is tried")]
    let identity = IdentityConverter::<NotClone>::new().clone();
    assert_eq!(format!("{identity:?}"), "IdentityConverter");
    #[expect(clippy::clone_on_copy, reason = "it is the clone that is tried")]
    let conversions = TryFromConverter::<NotClone, NotClone>::default().clone();
    assert_eq!(format!("{conversions:?}"), "TryFromConverter");
    assert_eq!(
        format!("{:?}", StapledConverter::new(identity, conversions)),
        "StapledConverter { sending: IdentityConverter, receiving: TryFromConverter }",
    );
}
