//! The wire format (RFC 2865 sections 3 and 5): what can be read and written without a secret.

use std::ops::Range;

use bytes::BytesMut;
use postbox::{BoxError, Serializer};

/// The types of packets that this server knows.
pub const ACCESS_REQUEST: u8 = 1;
pub const ACCESS_ACCEPT: u8 = 2;
pub const ACCESS_REJECT: u8 = 3;

/// The types of attributes that it knows.
pub const USER_NAME: u8 = 1;
pub const USER_PASSWORD: u8 = 2;
pub const REPLY_MESSAGE: u8 = 18;
pub const PROXY_STATE: u8 = 33;
pub const MESSAGE_AUTHENTICATOR: u8 = 80;

/// A packet, as its bytes: a header, then attributes, each a type, its length and a value. Its
/// authenticators may be right or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub(super) bytes: Vec<u8>,
}

const HEADER: usize = 20;
const LONGEST: usize = 4096;
/// Where its length stands.
const LENGTH: Range<usize> = 2..4;
/// Where its authenticator stands: of a request, or of a reply.
pub const AUTHENTICATOR: Range<usize> = 4..HEADER;

impl Packet {
    pub fn new(code: u8, identifier: u8, authenticator: &[u8]) -> Self {
        let mut bytes = vec![code, identifier, 0, HEADER as u8];
        bytes.extend_from_slice(authenticator);
        Self { bytes }
    }

    pub fn code(&self) -> u8 {
        self.bytes[0]
    }

    pub fn identifier(&self) -> u8 {
        self.bytes[1]
    }

    pub fn authenticator(&self) -> &[u8] {
        &self.bytes[AUTHENTICATOR]
    }

    /// The attributes in their order: type, and where the value stands.
    pub fn attributes(&self) -> impl Iterator<Item = (u8, Range<usize>)> {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let (kind, length) = (*self.bytes.get(at)?, *self.bytes.get(at + 1)?);
            let value = at + 2..at + usize::from(length);
            at = value.end;
            Some((kind, value))
        })
    }

    /// Where the value of the first attribute of this type stands.
    pub fn find(&self, kind: u8) -> Option<Range<usize>> {
        self.attributes()
            .find(|(found, _)| *found == kind)
            .map(|(_, value)| value)
    }

    /// Appends an attribute. An attribute has room for 253 bytes, a packet for 4,096: what is over
    /// that is left out.
    pub fn push(&mut self, kind: u8, value: &[u8]) {
        let value = &value[..value.len().min(253)];
        let length = self.bytes.len() + 2 + value.len();
        if length <= LONGEST {
            self.bytes.extend([kind, value.len() as u8 + 2]);
            self.bytes.extend_from_slice(value);
            self.bytes[LENGTH].copy_from_slice(&(length as u16).to_be_bytes());
        }
    }
}

pub struct RadiusSerializer;

impl Serializer for RadiusSerializer {
    type Sent = Packet;
    type Received = Packet;

    fn serialize(&self, packet: &Packet, datagram: &mut BytesMut) -> Result<(), BoxError> {
        datagram.extend_from_slice(&packet.bytes);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Packet, BoxError> {
        let header = datagram
            .first_chunk::<HEADER>()
            .ok_or("less than a header")?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if !(HEADER..=LONGEST).contains(&length) {
            return Err("no length of a packet".into());
        }
        // What is after that is padding (RFC 2865 section 3).
        let bytes = datagram.get(..length).ok_or("cut short")?;
        let mut attributes = &bytes[HEADER..];
        while !attributes.is_empty() {
            let length = attributes.get(1).ok_or("half an attribute")?;
            let length = usize::from(*length);
            if length < 2 {
                return Err("an attribute shorter than its header".into());
            }
            attributes = attributes.get(length..).ok_or("an attribute cut short")?;
        }
        Ok(Packet {
            bytes: bytes.to_vec(),
        })
    }
}
