//! RADIUS (RFC 2865): whether users may come in. The wire format is that of the server in
//! `../radius`, what is done with the secret is written a second time, as a client does it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::BytesMut;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use postbox::{BoxError, DatagramProtocol, Serializer, UdpClient, matching};

use super::{Tally, times};

#[path = "../../radius/src/wire.rs"]
pub mod wire;

use wire::*;

/// As `check.sh` tells the server.
pub const SECRET: &str = "testing123";

/// How many questions are open at once: an identifier has 8 bits, and as many as are left are not
/// used again at once.
const AT_ONCE: usize = 200;

const STRAYS: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub struct Request {
    pub identifier: u8,
    /// Random: no other request has had it (section 3).
    pub authenticator: [u8; 16],
    pub user: u32,
}

/// Every tenth user is wrong about the password.
fn may_come_in(user: u32) -> bool {
    !user.is_multiple_of(10)
}

pub fn request(user: u32) -> Request {
    // Each hasher has a secret of its own.
    let halves = [
        RandomState::new().hash_one(0),
        RandomState::new().hash_one(1),
    ];
    let mut authenticator = [0; 16];
    authenticator[..8].copy_from_slice(&halves[0].to_be_bytes());
    authenticator[8..].copy_from_slice(&halves[1].to_be_bytes());
    Request {
        identifier: 0,
        authenticator,
        user,
    }
}

/// The packet: all of it is decided by the request, so a repetition is the same to the last byte.
pub fn packet(request: &Request) -> Packet {
    let mut packet = Packet::new(ACCESS_REQUEST, request.identifier, &request.authenticator);
    // First, where no other attribute can be made to look like it.
    packet.push(MESSAGE_AUTHENTICATOR, &[0; 16]);
    packet.push(USER_NAME, format!("user{}", request.user).as_bytes());
    let password = match may_come_in(request.user) {
        true => format!("password of user{}", request.user),
        false => "wrong".to_owned(),
    };
    packet.push(USER_PASSWORD, &hidden(&password, &request.authenticator));
    packet.push(PROXY_STATE, &request.user.to_be_bytes());
    let mac = mac(&packet.bytes);
    if let Some(at) = packet.find(MESSAGE_AUTHENTICATOR) {
        packet.bytes[at].copy_from_slice(&mac);
    }
    packet
}

/// RFC 2865 section 5.2.
fn hidden(password: &str, authenticator: &[u8]) -> Vec<u8> {
    let mut hidden = password.as_bytes().to_vec();
    hidden.resize(password.len().next_multiple_of(16).max(16), 0);
    let mut before = authenticator.to_vec();
    for block in hidden.chunks_mut(16) {
        let pad = Md5::new()
            .chain_update(SECRET)
            .chain_update(&before)
            .finalize();
        for (byte, pad) in block.iter_mut().zip(pad) {
            *byte ^= pad;
        }
        before = block.to_vec();
    }
    hidden
}

pub fn mac(bytes: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Md5>::new_from_slice(SECRET.as_bytes()).expect("a key may have any length");
    mac.chain_update(bytes).finalize().into_bytes().to_vec()
}

/// Whether the reply is of somebody who knows the secret, and to this request: sections 3 and 5.33,
/// and RFC 3579 section 3.2.
pub fn is_own(request: &Request, reply: &Packet) -> Result<(), BoxError> {
    let mut bytes = reply.bytes.clone();
    bytes[AUTHENTICATOR].copy_from_slice(&request.authenticator);
    let digest = Md5::new()
        .chain_update(&bytes)
        .chain_update(SECRET)
        .finalize();
    if reply.authenticator() != &digest[..] {
        return Err("its authenticator is not of this request".into());
    }
    let at = reply
        .find(MESSAGE_AUTHENTICATOR)
        .filter(|at| at.len() == 16)
        .ok_or("it has no Message-Authenticator")?;
    bytes[at.clone()].fill(0);
    if reply.bytes[at] != mac(&bytes)[..] {
        return Err("its Message-Authenticator is wrong".into());
    }
    let value = |kind| reply.find(kind).map(|at| &reply.bytes[at]);
    let code = match may_come_in(request.user) {
        true => ACCESS_ACCEPT,
        false => ACCESS_REJECT,
    };
    let message = format!("for user{}", request.user);
    match reply.code() == code
        && value(PROXY_STATE) == Some(&request.user.to_be_bytes())
        && value(REPLY_MESSAGE) == Some(message.as_bytes())
    {
        true => Ok(()),
        false => Err(format!("that is not what user{} is told", request.user).into()),
    }
}

pub struct RadiusClient;

impl Serializer for RadiusClient {
    type Sent = Request;
    type Received = Packet;

    fn serialize(&self, request: &Request, datagram: &mut BytesMut) -> Result<(), BoxError> {
        RadiusSerializer.serialize(&packet(request), datagram)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Packet, BoxError> {
        RadiusSerializer.deserialize(datagram)
    }
}

pub async fn ask(server: &str, users: u32) -> Result<Tally, BoxError> {
    let client = UdpClient::connect(server, DatagramProtocol::new(RadiusClient)).await?;
    let client = client.asking(matching(
        |request: &mut Request, fresh| {
            request.identifier = fresh as u8;
            request.identifier.into()
        },
        |reply: &Packet| Some(reply.identifier().into()),
    ));
    let client = client.with_times(times());
    let mut tally = Tally::default();
    let users: Vec<_> = (1..=users).collect();
    for some in users.chunks(AT_ONCE) {
        let requests = some.iter().copied().map(request);
        tally.ask(&client, requests, Request::clone, is_own).await;
        // What is answered twice comes before its identifier is used again.
        let _ = client.recv_timeout(STRAYS).await;
    }
    Ok(tally)
}
