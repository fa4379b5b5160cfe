//! The formats, without a server: `check.sh` has those.

use std::net::Ipv4Addr;

use bytes::BytesMut;
use coap_lite::{MessageClass, MessageType, RequestType, ResponseType};
use md5::{Digest, Md5};
use postbox::Serializer;

use super::radius::wire::*;
use super::{coap, dns, ntp, radius};

fn written<S: Serializer>(serializer: &S, packet: &S::Sent) -> Vec<u8> {
    let mut datagram = BytesMut::new();
    serializer.serialize(packet, &mut datagram).unwrap();
    datagram.to_vec()
}

/// Whatever a stranger makes of a datagram is read as something, or as an error.
fn is_read_without_a_panic<S: Serializer>(serializer: &S, datagram: &[u8]) {
    for length in 0..datagram.len() {
        let _ = serializer.deserialize(&datagram[..length]);
        for byte in [0, 1, 0x7f, 0xc0, 0xff] {
            let mut changed = datagram.to_vec();
            changed[length] = byte;
            let _ = serializer.deserialize(&changed);
        }
    }
}

#[test]
fn a_dns_reply_is_known_by_its_id_and_question() {
    let mut query = dns::query(&7);
    query.id = 0x1234;
    let mut datagram = written(&dns::DnsSerializer, &query);
    assert!(
        dns::DnsSerializer.deserialize(&datagram).is_err(),
        "a query"
    );
    datagram[2] |= 0x80;
    datagram[7] = 1; // an answer: a pointer to the name, A, IN, an hour, 10.0.0.7
    datagram.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\x0a\0\0\x07");
    let reply = dns::DnsSerializer.deserialize(&datagram).unwrap();
    assert_eq!((reply.id, &reply.question), (0x1234, &query.question));
    assert_eq!(reply.addresses, [Ipv4Addr::new(10, 0, 0, 7)]);
    is_read_without_a_panic(&dns::DnsSerializer, &datagram);
}

#[test]
fn an_ntp_answer_repeats_poll_and_timestamp() {
    let (poll, transmit) = (9, 0x0102_0304_0506_0708);
    let question = written(&ntp::Ntp, &ntp::Question { poll, transmit });
    assert_eq!(question.len(), 48);
    assert!(ntp::Ntp.deserialize(&question).is_err(), "a question");
    let mut answer = vec![0; 48];
    answer[..3].copy_from_slice(&[0x24, 10, question[2]]);
    answer[24..32].copy_from_slice(&question[40..]);
    answer[39] = 5;
    answer[47] = 6;
    let read = ntp::Ntp.deserialize(&answer).unwrap();
    assert_eq!(
        (read.stratum, read.poll, read.originate),
        (10, poll, transmit)
    );
    assert_eq!((read.receive, read.transmit), (5, 6));
    is_read_without_a_panic(&ntp::Ntp, &answer);
}

#[test]
fn a_coap_response_is_known_by_its_whole_token() {
    let mut request = coap::request(RequestType::Get, 3);
    request.set_token(258_u64.to_be_bytes().into());
    let datagram = written(&coap::CoapSerializer, &request);
    assert_eq!(&datagram[..12], b"\x48\x01\0\0\0\0\0\0\0\0\x01\x02");
    let mut response = coap_lite::Packet::new();
    response.header.set_type(MessageType::Acknowledgement);
    response.header.code = MessageClass::Response(ResponseType::Content);
    assert_eq!(coap::number_of(&response), None);
    response.set_token(vec![1, 2]);
    assert_eq!(coap::number_of(&response), None);
    response.set_token(258_u64.to_be_bytes().into());
    response.payload = b"something".into();
    let datagram = written(&coap::CoapSerializer, &response);
    let read = coap::CoapSerializer.deserialize(&datagram).unwrap();
    assert_eq!(coap::number_of(&read), Some(258));
    is_read_without_a_panic(&coap::CoapSerializer, &datagram);
}

/// As a server that knows the secret writes it.
fn radius_reply(request: &radius::Request) -> Vec<u8> {
    let mut reply = Packet::new(ACCESS_ACCEPT, request.identifier, &request.authenticator);
    reply.push(MESSAGE_AUTHENTICATOR, &[0; 16]);
    reply.push(
        REPLY_MESSAGE,
        format!("for user{}", request.user).as_bytes(),
    );
    reply.push(PROXY_STATE, &request.user.to_be_bytes());
    let mut bytes = written(&RadiusSerializer, &reply);
    let mac = radius::mac(&bytes);
    bytes[22..38].copy_from_slice(&mac);
    let digest = Md5::new()
        .chain_update(&bytes)
        .chain_update(radius::SECRET)
        .finalize();
    bytes[AUTHENTICATOR].copy_from_slice(&digest);
    bytes
}

#[test]
fn a_radius_reply_is_that_of_its_request() {
    let request = radius::request(7);
    let datagram = written(&radius::RadiusClient, &request);
    assert_eq!(datagram, written(&radius::RadiusClient, &request));
    let datagram = radius_reply(&request);
    let read = radius::RadiusClient.deserialize(&datagram).unwrap();
    radius::is_own(&request, &read).unwrap();
    let mut another = radius::request(7);
    assert_ne!(another.authenticator, request.authenticator);
    radius::is_own(&another, &read).unwrap_err();
    another = request.clone();
    another.user = 8;
    radius::is_own(&another, &read).unwrap_err();
    for at in 20..datagram.len() {
        let mut changed = datagram.clone();
        changed[at] ^= 1;
        if let Ok(read) = radius::RadiusClient.deserialize(&changed) {
            radius::is_own(&request, &read).unwrap_err();
        }
    }
    is_read_without_a_panic(&radius::RadiusClient, &datagram);
}
