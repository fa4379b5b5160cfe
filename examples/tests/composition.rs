//! Protocols composed from parts of several crates: formats, converters, wrappers, staples.
#![allow(clippy::unwrap_used, reason = "a part of the tests")]

use std::error::Error;
use std::fmt::Debug;

use bytes::BytesMut;
use postbox_codec_json::{JsonError, JsonSerializer};
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_protocol::{
    Base64Error, Base64Serializer, BoxError, Converter, DatagramProtocol, EncryptedSerializer,
    EncryptionKeys, Flip, IdentityConverter, Protocol, Serializer, SignatureError,
    SignedSerializer, SigningKey, StapledConverter, StapledSerializer, TryFromConverter,
    ZlibSerializer,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The how-to's person, as the program knows it.
#[derive(Clone, Debug, PartialEq)]
struct Person {
    id: Uuid,
    name: String,
    age: u8,
    friends: Vec<Uuid>,
}

/// A person as the formats know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PersonDto {
    id: String,
    name: String,
    age: u8,
    friends: Vec<String>,
}

impl From<Person> for PersonDto {
    fn from(person: Person) -> Self {
        Self {
            id: person.id.to_string(),
            name: person.name,
            age: person.age,
            friends: person.friends.iter().map(Uuid::to_string).collect(),
        }
    }
}

impl TryFrom<PersonDto> for Person {
    type Error = uuid::Error;

    fn try_from(dto: PersonDto) -> Result<Self, uuid::Error> {
        Ok(Self {
            id: dto.id.parse()?,
            name: dto.name,
            age: dto.age,
            friends: dto
                .friends
                .iter()
                .map(|friend| friend.parse())
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Whose friends are asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ask {
    name: String,
}

fn john() -> Person {
    Person {
        id: Uuid::from_u128(0x936d_a01f_9abd_4d9d_80c7_02af_85c8_22a8),
        name: "John Doe".to_owned(),
        age: 36,
        friends: vec![Uuid::from_u128(1), Uuid::from_u128(u128::MAX)],
    }
}

const JOHN: &str = "{\"id\":\"936da01f-9abd-4d9d-80c7-02af85c822a8\",\"name\":\"John Doe\",\
    \"age\":36,\"friends\":[\"00000000-0000-0000-0000-000000000001\",\
    \"ffffffff-ffff-ffff-ffff-ffffffffffff\"]}";

const CONVERSIONS: TryFromConverter<Person, PersonDto> = TryFromConverter::new();

fn asks_in_json() -> JsonSerializer<Ask> {
    JsonSerializer::new()
}

fn people_in_messagepack() -> MessagePackSerializer<PersonDto> {
    MessagePackSerializer::new()
}

fn datagram<P: Protocol>(protocol: &P, packet: P::Sent) -> BytesMut {
    let mut datagram = BytesMut::new();
    protocol.make_datagram(packet, &mut datagram).unwrap();
    datagram
}

/// Checks that a server of people and its clients understand each other.
fn converse<S, C>(server: &S, client: &C)
where
    S: Protocol<Sent = Person, Received = Ask>,
    C: Protocol<Sent = Ask, Received = Person>,
{
    let ask = Ask {
        name: "John Doe".to_owned(),
    };
    let request = datagram(client, ask.clone());
    assert_eq!(server.build_packet(&request).unwrap(), ask);
    let answer = datagram(server, john());
    assert_eq!(client.build_packet(&answer).unwrap(), john());
}

/// Asks come as they are, people are converted.
fn people_out() -> StapledConverter<TryFromConverter<Person, PersonDto>, IdentityConverter<Ask>> {
    StapledConverter::new(CONVERSIONS, IdentityConverter::new())
}

#[test]
fn p3_the_person_of_the_how_to_is_sent_as_its_dto() {
    let protocol =
        DatagramProtocol::new(JsonSerializer::<PersonDto>::new()).with_converter(CONVERSIONS);
    assert_eq!(datagram(&protocol, john()), JOHN);
    assert_eq!(protocol.build_packet(JOHN.as_bytes()).unwrap(), john());
}

#[test]
fn p3_the_person_of_the_how_to_is_the_same_in_every_format() {
    fn goes_through(serializer: impl Serializer<Sent = PersonDto, Received = PersonDto>) {
        let protocol = DatagramProtocol::new(serializer).with_converter(CONVERSIONS);
        let person = protocol.build_packet(&datagram(&protocol, john()));
        assert_eq!(person.unwrap(), john());
    }
    goes_through(JsonSerializer::new());
    goes_through(MessagePackSerializer::new());
    goes_through(MessagePackSerializer::compact());
}

#[test]
fn p5_the_person_of_the_how_to_tells_which_step_failed() {
    let protocol =
        DatagramProtocol::new(JsonSerializer::<PersonDto>::new()).with_converter(CONVERSIONS);
    let not_even_json = protocol.build_packet(b"hello").unwrap_err();
    assert!(not_even_json.is_deserialize());
    assert!(not_even_json.source().unwrap().is::<JsonError>());

    let of_another_type = protocol.build_packet(br#"{"id":1}"#).unwrap_err();
    assert!(of_another_type.is_deserialize());

    for wrong in [
        JOHN.replace("936da01f", "no hex!!"),
        JOHN.replace("ffffffff-ffff", "ffffffff"),
    ] {
        let no_person = protocol.build_packet(wrong.as_bytes()).unwrap_err();
        assert!(no_person.is_convert());
        assert!(no_person.source().unwrap().is::<uuid::Error>());
    }
}

#[test]
fn p7_json_comes_in_and_messagepack_goes_out() {
    let staple = StapledSerializer::new(people_in_messagepack(), asks_in_json());
    let server = DatagramProtocol::new(staple).with_converter(people_out());

    let request = br#"{"name":"John Doe"}"#;
    assert_eq!(server.build_packet(request).unwrap().name, "John Doe");
    let answer = datagram(&server, john());
    let dto = people_in_messagepack().deserialize(&answer).unwrap();
    assert_eq!(dto, john().into());

    // Each refuses the other's format.
    let packed = datagram(
        &DatagramProtocol::new(MessagePackSerializer::<Ask>::new()),
        {
            Ask {
                name: "John Doe".to_owned(),
            }
        },
    );
    assert!(server.build_packet(&packed).unwrap_err().is_deserialize());
}

#[test]
fn p2_a_staple_across_formats_with_a_stapled_converter_flips() {
    let staple = StapledSerializer::new(people_in_messagepack(), asks_in_json());
    let server = DatagramProtocol::new(staple).with_converter(people_out());
    converse(&server, &server.flip());
}

#[test]
fn p2_request_and_response_in_one_format_flip() {
    let json = DatagramProtocol::new(JsonSerializer::<PersonDto, Ask>::new());
    let json = json.with_converter(people_out());
    converse(&json, &json.flip());
    let packed = DatagramProtocol::new(MessagePackSerializer::<PersonDto, Ask>::new());
    let packed = packed.with_converter(people_out());
    converse(&packed, &packed.flip());
}

#[test]
fn p2_each_side_written_by_itself_is_the_other_flipped() {
    let server =
        DatagramProtocol::new(JsonSerializer::<PersonDto, Ask>::new()).with_converter(people_out());
    let client = DatagramProtocol::new(JsonSerializer::<Ask, PersonDto>::new()).with_converter(
        StapledConverter::new(IdentityConverter::<Ask>::new(), CONVERSIONS),
    );
    converse(&server, &client);
    converse(&client.flip(), &server.flip());
}

#[test]
fn p2_p7_wrappers_of_staples_and_staples_of_wrappers_flip() {
    let key = SigningKey::new(&[7; 32]);
    let wrapped = Base64Serializer::url_safe(SignedSerializer::new(
        StapledSerializer::new(people_in_messagepack(), asks_in_json()),
        key.clone(),
    ));
    let server = DatagramProtocol::new(wrapped).with_converter(people_out());
    converse(&server, &server.clone().flip());

    // Short requests are signed, long answers compressed and encrypted.
    let encrypted = EncryptedSerializer::new(
        ZlibSerializer::new(people_in_messagepack()),
        EncryptionKeys::new(1, &[9; 32]),
    )
    .with_labels(b"answer", b"answer");
    let staple = StapledSerializer::new(encrypted, SignedSerializer::new(asks_in_json(), key));
    let server = DatagramProtocol::new(staple).with_converter(people_out());
    converse(&server, &server.clone().flip());
}

#[test]
fn p5_a_composed_protocol_tells_which_layer_refused() {
    fn cause<E: Error + 'static>(protocol: &impl Protocol<Received: Debug>, datagram: &[u8]) {
        let error = protocol.build_packet(datagram).unwrap_err();
        assert!(error.is_deserialize());
        assert!(error.source().unwrap().is::<E>(), "{error:?}");
    }
    let signed = || SignedSerializer::new(asks_in_json(), SigningKey::new(&[7; 32]));
    let protocol = DatagramProtocol::new(Base64Serializer::url_safe(signed()));
    cause::<Base64Error>(&protocol, b"no base64!");
    cause::<SignatureError>(&protocol, b"AAAA");
    // Signed, and yet no JSON: the innermost is asked last.
    let bytes = SignedSerializer::new(postbox_protocol::RawSerializer, SigningKey::new(&[7; 32]));
    let protocol_of_bytes = DatagramProtocol::new(Base64Serializer::url_safe(bytes));
    cause::<JsonError>(&protocol, &datagram(&protocol_of_bytes, "no JSON".into()));
}

#[test]
fn p5_a_conversion_that_fails_behind_wrappers_is_told_as_one() {
    struct Picky;

    impl Converter for Picky {
        type Sent = Ask;
        type Received = Ask;
        type SentDto = Ask;
        type ReceivedDto = Ask;

        fn convert_to_dto(&self, ask: Ask) -> Result<Ask, BoxError> {
            Ok(ask)
        }

        fn create_from_dto(&self, ask: Ask) -> Result<Ask, BoxError> {
            match ask.name.as_str() {
                "" => Err("nobody".into()),
                _ => Ok(ask),
            }
        }
    }

    let protocol = DatagramProtocol::new(Base64Serializer::standard(ZlibSerializer::new(
        asks_in_json(),
    )))
    .with_converter(Picky);
    let nobody = datagram(
        &protocol,
        Ask {
            name: String::new(),
        },
    );
    let error = protocol.build_packet(&nobody).unwrap_err();
    assert!(error.is_convert());
    assert_eq!(error.source().unwrap().to_string(), "nobody");
}
