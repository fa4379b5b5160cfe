//! The protocol object: who orders the steps, what a failing step leaves, and who can share it.

use std::cell::Cell;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::{Bytes, BytesMut};
use postbox_protocol::{
    BoxError, Converter, DatagramMakeError, DatagramProtocol, FnConverter, IdentityConverter,
    Protocol, RawSerializer, Serializer, TryFromConverter,
};

use crate::common::{Text, TextConverter};

/// Writes angle brackets around the text. What it cannot say, and panics on, is found half-way.
#[derive(Clone, Copy, Debug)]
struct Angle;

impl Serializer for Angle {
    type Sent = String;
    type Received = String;

    fn serialize(&self, packet: &String, datagram: &mut BytesMut) -> Result<(), BoxError> {
        datagram.extend_from_slice(b"<");
        datagram.extend_from_slice(packet.as_bytes());
        assert_ne!(packet, "(panic)", "the serializer panicked");
        if packet == "(cannot serialize)" {
            return Err("no form".into());
        }
        datagram.extend_from_slice(b">");
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<String, BoxError> {
        let text = std::str::from_utf8(datagram)?;
        assert_ne!(text, "panic", "the serializer panicked");
        match text
            .strip_prefix('<')
            .and_then(|text| text.strip_suffix('>'))
        {
            Some(text) => Ok(text.to_owned()),
            None => Err("no angle brackets".into()),
        }
    }
}

/// Puts round brackets around the text, and counts the calls.
#[derive(Debug, Default)]
struct Round {
    calls: AtomicUsize,
}

impl Converter for Round {
    type Sent = String;
    type Received = String;
    type SentDto = String;
    type ReceivedDto = String;

    fn convert_to_dto(&self, packet: String) -> Result<String, BoxError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if packet == "cannot convert" {
            Err("no DTO".into())
        } else {
            Ok(format!("({packet})"))
        }
    }

    fn create_from_dto(&self, dto: String) -> Result<String, BoxError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match dto
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'))
        {
            Some(text) => Ok(text.to_owned()),
            None => Err("no round brackets".into()),
        }
    }
}

fn protocol() -> DatagramProtocol<Angle, Arc<Round>> {
    DatagramProtocol::new(Angle).with_converter(Arc::default())
}

fn make<P: Protocol + ?Sized>(protocol: &P, packet: P::Sent) -> Result<Bytes, DatagramMakeError> {
    let mut datagram = BytesMut::new();
    protocol.make_datagram(packet, &mut datagram)?;
    Ok(datagram.freeze())
}

#[test]
fn p1_a_serializer_alone_is_a_protocol() {
    let protocol = DatagramProtocol::new(Angle);
    assert_eq!(make(&protocol, "text".to_owned()).unwrap(), "<text>");
    assert_eq!(protocol.build_packet(b"<text>").unwrap(), "text");
}

#[test]
fn p1_one_object_serves_several_threads_at_once_as_a_trait_object() {
    let protocol: Arc<dyn Protocol<Sent = String, Received = String>> = Arc::new(protocol());
    thread::scope(|scope| {
        for name in ["one", "two", "three", "four"] {
            let protocol = &protocol;
            scope.spawn(move || {
                for _ in 0..100 {
                    let datagram = make(protocol, name.to_owned()).unwrap();
                    assert_eq!(datagram, format!("<({name})>"));
                    assert_eq!(protocol.build_packet(&datagram).unwrap(), name);
                }
            });
        }
    });
}

#[test]
fn p1_sharing_does_not_depend_on_the_packet_types() {
    /// What stays in its thread.
    type Local = Rc<Cell<u8>>;

    fn shared<T: Send + Sync + Copy>(value: T) -> T {
        value
    }

    shared(IdentityConverter::<Local>::new());
    shared(TryFromConverter::<Local, Local>::new());
    let converter = shared(FnConverter::new(
        |packet: Local| Ok(packet.get()),
        |dto: u8| Ok(Rc::new(Cell::new(dto))),
    ));
    let protocol = DatagramProtocol::new(Text::<u8>::new()).with_converter(converter);
    assert_eq!(make(&protocol, Rc::new(Cell::new(7))).unwrap(), "7");
    assert_eq!(protocol.build_packet(b"8").unwrap().get(), 8);
}

#[test]
fn p3_a_packet_is_converted_then_serialized() {
    assert_eq!(make(&protocol(), "text".to_owned()).unwrap(), "<(text)>");
}

#[test]
fn p3_a_datagram_is_deserialized_then_converted() {
    assert_eq!(protocol().build_packet(b"<(text)>").unwrap(), "text");
}

#[test]
fn p3_the_datagram_is_appended_to_the_buffer_it_is_given() {
    let mut buffer = BytesMut::from("before ");
    protocol()
        .make_datagram("text".to_owned(), &mut buffer)
        .unwrap();
    assert_eq!(buffer, "before <(text)>");
}

#[test]
fn p3_shared_and_boxed_protocols_are_the_same_protocol() {
    let boxed: Box<dyn Protocol<Sent = String, Received = String>> = Box::new(protocol());
    assert_eq!(make(&boxed, "boxed".to_owned()).unwrap(), "<(boxed)>");
    assert_eq!(boxed.build_packet(b"<(boxed)>").unwrap(), "boxed");

    let shared = Arc::new(protocol());
    assert_eq!(make(&shared, "shared".to_owned()).unwrap(), "<(shared)>");
    assert_eq!(shared.build_packet(b"<(shared)>").unwrap(), "shared");
}

#[test]
fn p3_shared_and_boxed_parts_are_the_same_parts() {
    type Serializing = dyn Serializer<Sent = Bytes, Received = Bytes>;
    type Converting =
        dyn Converter<Sent = String, Received = String, SentDto = Bytes, ReceivedDto = Bytes>;

    let serializer: Arc<Serializing> = Arc::new(RawSerializer);
    let converter: Arc<Converting> = Arc::new(TextConverter);
    let shared = DatagramProtocol::new(serializer).with_converter(converter);
    assert_eq!(make(&shared, "text".to_owned()).unwrap(), "text");
    assert_eq!(shared.build_packet(b"text").unwrap(), "text");

    let serializer: Box<Serializing> = Box::new(RawSerializer);
    let converter: Box<Converting> = Box::new(TextConverter);
    let boxed = DatagramProtocol::new(serializer).with_converter(converter);
    assert_eq!(make(&boxed, "text".to_owned()).unwrap(), "text");
    assert_eq!(boxed.build_packet(b"text").unwrap(), "text");
}

#[test]
fn p5_a_malformed_datagram_fails_the_deserialize_step_and_keeps_the_cause() {
    let protocol = DatagramProtocol::new(Angle).with_converter(Arc::<Round>::default());
    let error = protocol.build_packet(b"(text)").unwrap_err();
    assert!(error.is_deserialize());
    assert!(!error.is_convert());
    assert_eq!(error.to_string(), "received a malformed datagram");
    assert_eq!(error.source().unwrap().to_string(), "no angle brackets");
}

#[test]
fn p5_a_document_that_is_no_packet_fails_the_convert_step_and_keeps_the_cause() {
    let error = protocol().build_packet(b"<text>").unwrap_err();
    assert!(error.is_convert());
    assert!(!error.is_deserialize());
    assert_eq!(
        error.to_string(),
        "received a well-formed datagram that is not a valid packet"
    );
    assert_eq!(error.source().unwrap().to_string(), "no round brackets");
}

#[test]
fn p5_the_cause_keeps_its_type() {
    let protocol = DatagramProtocol::new(Text::<u8>::new());
    let error = protocol.build_packet(b"\xff").unwrap_err();
    assert!(error.source().unwrap().is::<std::str::Utf8Error>());
    let error = protocol.build_packet(b"256").unwrap_err();
    assert!(error.source().unwrap().is::<std::num::ParseIntError>());
}

#[test]
fn p5_a_datagram_that_fails_to_deserialize_is_not_converted() {
    let round = Arc::new(Round::default());
    let protocol = DatagramProtocol::new(Angle).with_converter(Arc::clone(&round));
    protocol.build_packet(b"(text)").unwrap_err();
    assert_eq!(round.calls.load(Ordering::Relaxed), 0);
}

#[test]
fn p6_a_packet_that_fails_to_convert_fails_the_convert_step_and_keeps_the_cause() {
    let error = make(&protocol(), "cannot convert".to_owned()).unwrap_err();
    assert!(error.is_convert());
    assert!(!error.is_serialize());
    assert_eq!(error.to_string(), "cannot convert the packet to send");
    assert_eq!(error.source().unwrap().to_string(), "no DTO");
}

#[test]
fn p6_a_packet_that_fails_to_serialize_fails_the_serialize_step_and_keeps_the_cause() {
    let error = make(&protocol(), "cannot serialize".to_owned()).unwrap_err();
    assert!(error.is_serialize());
    assert!(!error.is_convert());
    assert_eq!(error.to_string(), "cannot serialize the packet to send");
    assert_eq!(error.source().unwrap().to_string(), "no form");
}

#[test]
fn p6_an_error_half_way_leaves_the_buffer_as_it_was_and_later_packets_are_whole() {
    let protocol = protocol();
    let mut buffer = BytesMut::from("before ");
    for packet in ["cannot serialize", "cannot convert"] {
        protocol
            .make_datagram(packet.to_owned(), &mut buffer)
            .unwrap_err();
        assert_eq!(buffer, "before ");
    }
    protocol
        .make_datagram("text".to_owned(), &mut buffer)
        .unwrap();
    assert_eq!(buffer, "before <(text)>");
}

#[test]
fn p8_the_empty_datagram_reaches_the_serializer() {
    assert_eq!(
        DatagramProtocol::new(RawSerializer)
            .build_packet(b"")
            .unwrap(),
        ""
    );
    assert_eq!(
        DatagramProtocol::new(Text::<String>::new())
            .build_packet(b"")
            .unwrap(),
        ""
    );
    assert!(protocol().build_packet(b"").unwrap_err().is_deserialize());
    assert_eq!(
        make(&DatagramProtocol::new(RawSerializer), Bytes::new()).unwrap(),
        ""
    );
}

#[test]
fn p9_a_panic_passes_through_and_the_object_still_works() {
    let protocol = protocol();
    let panic = catch_unwind(AssertUnwindSafe(|| protocol.build_packet(b"panic"))).unwrap_err();
    assert!(
        panic
            .downcast_ref::<String>()
            .unwrap()
            .contains("the serializer panicked")
    );
    let packet = "panic".to_owned();
    let panic = catch_unwind(AssertUnwindSafe(|| make(&protocol, packet))).unwrap_err();
    assert!(
        panic
            .downcast_ref::<String>()
            .unwrap()
            .contains("the serializer panicked")
    );

    assert_eq!(make(&protocol, "text".to_owned()).unwrap(), "<(text)>");
    assert_eq!(protocol.build_packet(b"<(text)>").unwrap(), "text");
}

#[test]
fn debug_shows_the_parts() {
    assert_eq!(
        format!("{:?}", DatagramProtocol::new(Angle)),
        "DatagramProtocol { serializer: Angle, converter: IdentityConverter }",
    );
}
