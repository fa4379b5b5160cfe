//! CoAP (RFC 7252), by the library `coap-lite`: something is put at each path, and then got.

use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use bytes::BytesMut;
use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};
use postbox::{BoxError, DatagramProtocol, Serializer, UdpClient, matching};

use super::{Tally, times};

pub struct CoapSerializer;

impl Serializer for CoapSerializer {
    type Sent = Packet;
    type Received = Packet;

    fn serialize(&self, packet: &Packet, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let message = packet.to_bytes().map_err(|error| error.to_string())?;
        datagram.extend_from_slice(&message);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Packet, BoxError> {
        Ok(Packet::from_bytes(datagram).map_err(|error| error.to_string())?)
    }
}

pub fn request(method: RequestType, resource: u32) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Confirmable);
    packet.header.code = MessageClass::Request(method);
    packet.add_option(CoapOption::UriPath, format!("r{resource}").into());
    packet
}

fn put(resource: &u32) -> Packet {
    let mut packet = request(RequestType::Put, *resource);
    packet.payload = content(resource);
    packet
}

fn get(resource: &u32) -> Packet {
    request(RequestType::Get, *resource)
}

fn content(resource: &u32) -> Vec<u8> {
    format!("that of {resource}").into()
}

/// A PUT that was lost on its way back has been done, and is repeated: then 2.04.
fn is_put(resource: &u32, response: &Packet) -> Result<(), BoxError> {
    match response.header.code {
        MessageClass::Response(ResponseType::Created | ResponseType::Changed) => Ok(()),
        code => Err(format!("r{resource} is not put: {code}").into()),
    }
}

fn is_own(resource: &u32, response: &Packet) -> Result<(), BoxError> {
    let code = response.header.code;
    match code == MessageClass::Response(ResponseType::Content)
        && response.payload == content(resource)
    {
        true => Ok(()),
        false => Err(format!("r{resource} is not {code} {:?}", response.payload).into()),
    }
}

/// The number that is the whole token. What has another one, or none, was not asked for.
pub fn number_of(packet: &Packet) -> Option<u64> {
    Some(u64::from_be_bytes(packet.get_token().try_into().ok()?))
}

pub async fn ask(server: &str, resources: u32) -> Result<Tally, BoxError> {
    let client = UdpClient::connect(server, DatagramProtocol::new(CoapSerializer)).await?;
    // By which the server knows a repetition, if it does: 16 bits, so they are counted, not random.
    let message_id = AtomicU16::new(0);
    let client = client.asking(matching(
        move |request: &mut Packet, fresh: u64| {
            request.set_token(fresh.to_be_bytes().into());
            request.header.message_id = message_id.fetch_add(1, Relaxed);
            fresh
        },
        number_of,
    ));
    let client = client.with_times(times());
    let mut tally = Tally::default();
    tally.ask(&client, 1..=resources, put, is_put).await;
    tally.ask(&client, 1..=resources, get, is_own).await;
    Ok(tally)
}
