//! The message format (RFC 7252 section 3), by coap-lite, and what that leaves to its user.

use bytes::BytesMut;
use coap_lite::{CoapOption, Header, HeaderRaw, MessageClass, MessageType, Packet, ResponseType};
use postbox::{BoxError, Serializer};

/// What a datagram is to a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    Request(Packet),
    /// Neither a request nor an answer to anything of ours: a ping, a response, or what cannot be
    /// read after its header. A reset with the same Message ID says so (sections 4.2 and 4.3).
    Reject(u16),
    /// What a client says of our message with this Message ID.
    Reply(u16, Reply),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Acknowledged,
    /// It does not know what the message is for.
    Reset,
}

/// The longest message that is read: section 4.6 has 1,152 bytes as the usual bound.
const LONGEST: usize = 2048;

pub struct CoapSerializer;

impl Serializer for CoapSerializer {
    type Sent = Packet;
    type Received = Received;

    fn serialize(&self, packet: &Packet, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let message = packet.to_bytes().map_err(|error| error.to_string())?;
        datagram.extend_from_slice(&message);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Received, BoxError> {
        let header = HeaderRaw::try_from(datagram).map_err(|error| error.to_string())?;
        let header = Header::from_raw(&header);
        let id = header.message_id;
        if header.get_version() != 1 {
            return Err("another version of CoAP".into());
        }
        match header.get_type() {
            MessageType::Acknowledgement if is_empty(datagram) => {
                Ok(Received::Reply(id, Reply::Acknowledged))
            }
            MessageType::Reset if is_empty(datagram) => Ok(Received::Reply(id, Reply::Reset)),
            // Never answered, or two servers would answer each other for ever.
            MessageType::Acknowledgement | MessageType::Reset => Err("it answers nothing".into()),
            MessageType::Confirmable | MessageType::NonConfirmable => Ok(match request(datagram) {
                Some(request) => Received::Request(request),
                None => Received::Reject(id),
            }),
        }
    }
}

fn is_empty(datagram: &[u8]) -> bool {
    datagram.len() == 4 && datagram[0] & 0x0f == 0 && datagram[1] == 0
}

fn request(datagram: &[u8]) -> Option<Packet> {
    if !matches!(datagram[1], 0x01..=0x1f) || datagram.len() > LONGEST {
        return None;
    }
    let packet = Packet::from_bytes(datagram).ok()?;
    // A marker with no payload after it is an error, which coap-lite lets pass.
    let marked = packet.payload.is_empty() && datagram.ends_with(&[0xff]);
    let whole = !marked || packet.to_bytes_unlimited().ok()?.len() == datagram.len();
    whole.then_some(packet)
}

/// The token of a request, where the datagram has one.
pub fn token(datagram: &[u8]) -> Option<&[u8]> {
    // Version 1, confirmable or not; a code of class 0 that is not 0.00.
    let ([0x40..=0x58, 0x01..=0x1f, _, _], rest) = datagram.split_first_chunk()? else {
        return None;
    };
    rest.get(..usize::from(datagram[0] & 0x0f))
}

/// Whether a request with a token changes something: PUT or DELETE.
pub fn is_change(datagram: &[u8]) -> bool {
    matches!(datagram.get(1), Some(0x03 | 0x04))
}

pub fn reset(message_id: u16) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Reset);
    packet.header.code = MessageClass::Empty;
    packet.header.message_id = message_id;
    packet
}

/// A response in the acknowledgement where the request wants one, else in a message of its own,
/// whose Message ID is still to be set (section 5.2).
pub fn response(request: &Packet, code: ResponseType) -> Packet {
    let mut packet = Packet::new();
    if request.header.get_type() == MessageType::Confirmable {
        packet.header.set_type(MessageType::Acknowledgement);
        packet.header.message_id = request.header.message_id;
    } else {
        packet.header.set_type(MessageType::NonConfirmable);
    }
    packet.header.code = MessageClass::Response(code);
    packet.set_token(request.get_token().to_vec());
    packet
}

/// The path that a request names, as a URI writes it.
pub fn path(request: &Packet) -> String {
    let mut path = String::new();
    for segment in request
        .get_option(CoapOption::UriPath)
        .into_iter()
        .flatten()
    {
        path.push('/');
        for byte in segment {
            match byte {
                b'-' | b'.' | b'_' | b'~' => path.push(char::from(*byte)),
                byte if byte.is_ascii_alphanumeric() => path.push(char::from(*byte)),
                byte => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    if path.is_empty() {
        "/".to_owned()
    } else {
        path
    }
}

/// Whether a critical option is one that this server does not know, or in no form that it has
/// (sections 5.4.1, 5.4.3 and 5.4.5).
pub fn has_bad_option(request: &Packet) -> bool {
    request.options().any(|(number, values)| {
        let once_of = |longest| values.len() == 1 && values.iter().all(|one| one.len() <= longest);
        let critical = number % 2 == 1;
        critical
            && !match CoapOption::from(*number) {
                CoapOption::UriPath | CoapOption::UriQuery => {
                    values.iter().all(|one| one.len() <= 255)
                }
                CoapOption::UriHost => once_of(255),
                CoapOption::UriPort | CoapOption::Accept => once_of(2),
                CoapOption::Block1 | CoapOption::Block2 => once_of(3),
                CoapOption::ProxyUri | CoapOption::ProxyScheme => true, // has an answer of its own
                _ => false,
            }
    })
}

/// An option's number, where the message has it, and it has no more than four bytes.
pub fn number(packet: &Packet, option: CoapOption) -> Option<u32> {
    let value = packet.get_first_option(option)?;
    (value.len() <= 4).then(|| {
        value
            .iter()
            .fold(0, |number, byte| (number << 8) | u32::from(*byte))
    })
}

/// Adds an option that is a number, in as few bytes as it needs.
pub fn add_number(packet: &mut Packet, option: CoapOption, number: u32) {
    let bytes = number.to_be_bytes();
    let zeros = number.leading_zeros() as usize / 8;
    packet.add_option(option, bytes[zeros..].to_vec());
}

/// Which block of a body a message has, or wants (RFC 7959 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Which one, from 0. 20 bits.
    pub number: u32,
    pub more: bool,
    /// Of 2, from 4 to 10.
    exponent: u8,
}

impl Block {
    /// Where nobody asked for others: 1,024 bytes.
    pub const FIRST: Self = Self {
        number: 0,
        more: false,
        exponent: 10,
    };

    /// The block that an option names: an error if it has the size that is reserved.
    pub fn of(packet: &Packet, option: CoapOption) -> Result<Option<Self>, ResponseType> {
        let Some(value) = number(packet, option) else {
            return Ok(None);
        };
        if value & 7 == 7 {
            return Err(ResponseType::BadRequest);
        }
        Ok(Some(Self {
            number: value >> 4,
            more: value & 8 != 0,
            exponent: (value & 7) as u8 + 4,
        }))
    }

    pub fn add(self, packet: &mut Packet, option: CoapOption) {
        let value = self.number << 4 | u32::from(self.more) << 3 | u32::from(self.exponent - 4);
        add_number(packet, option, value);
    }

    pub fn size(self) -> usize {
        1 << self.exponent
    }

    /// Where it stands in the body.
    pub fn begin(self) -> usize {
        self.number as usize * self.size()
    }
}
