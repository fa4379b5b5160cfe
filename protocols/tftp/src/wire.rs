//! The datagrams of TFTP: RFC 1350, with the options of RFC 2347.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postbox::{BoxError, Serializer};

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    Request(Request),
    /// A block of the file. One that is shorter than the others is the last.
    Data(u16, Bytes),
    Ack(u16),
    Error(Code, String),
    /// The options that the server takes, with its values.
    OptionAck(Vec<(Name, u64)>),
}

/// A read or write request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub writes: bool,
    pub file: String,
    pub mode: Mode,
    /// Those that are known here, in the order of the request.
    pub options: Vec<(Name, u64)>,
}

impl Request {
    pub fn option(&self, name: Name) -> Option<u64> {
        let mut options = self.options.iter();
        options.find_map(|&(known, value)| (known == name).then_some(value))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Bytes as they are.
    Octet,
    /// Text, whose lines end with CR LF on the way.
    Netascii,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Bytes in a block (RFC 2348).
    BlockSize,
    /// Seconds until a packet is sent again (RFC 2349).
    Timeout,
    /// Bytes of the file (RFC 2349).
    TransferSize,
    /// Blocks before an acknowledgement (RFC 7440).
    WindowSize,
}

const NAMES: [(Name, &str); 4] = [
    (Name::BlockSize, "blksize"),
    (Name::Timeout, "timeout"),
    (Name::TransferSize, "tsize"),
    (Name::WindowSize, "windowsize"),
];

/// Why an error was sent. What is not known here is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u16);

impl Code {
    pub const OTHER: Self = Self(0);
    pub const NOT_FOUND: Self = Self(1);
    pub const ACCESS: Self = Self(2);
    pub const FULL: Self = Self(3);
    pub const EXISTS: Self = Self(6);
}

/// Both sides of the protocol send the same packets.
#[derive(Debug)]
pub struct Tftp;

impl Serializer for Tftp {
    type Sent = Packet;
    type Received = Packet;

    fn serialize(&self, packet: &Packet, datagram: &mut BytesMut) -> Result<(), BoxError> {
        match packet {
            Packet::Request(request) => {
                datagram.put_u16(if request.writes { 2 } else { 1 });
                put_text(datagram, &request.file)?;
                put_text(datagram, &request.mode)?;
                put_options(datagram, &request.options)?;
            }
            Packet::Data(block, data) => {
                datagram.put_u16(3);
                datagram.put_u16(*block);
                datagram.put_slice(data);
            }
            Packet::Ack(block) => {
                datagram.put_u16(4);
                datagram.put_u16(*block);
            }
            Packet::Error(code, message) => {
                datagram.put_u16(5);
                datagram.put_u16(code.0);
                put_text(datagram, message)?;
            }
            Packet::OptionAck(options) => {
                datagram.put_u16(6);
                put_options(datagram, options)?;
            }
        }
        Ok(())
    }

    fn deserialize(&self, mut datagram: &[u8]) -> Result<Packet, BoxError> {
        let datagram = &mut datagram;
        match datagram.try_get_u16()? {
            opcode @ (1 | 2) => Ok(Packet::Request(Request {
                writes: opcode == 2,
                file: text(datagram)?.to_owned(),
                mode: mode(text(datagram)?)?,
                options: options(datagram)?,
            })),
            3 => {
                let block = datagram.try_get_u16()?;
                Ok(Packet::Data(block, Bytes::copy_from_slice(datagram)))
            }
            4 => {
                let block = datagram.try_get_u16()?;
                end(datagram)?;
                Ok(Packet::Ack(block))
            }
            5 => {
                let code = Code(datagram.try_get_u16()?);
                let message = text(datagram)?.to_owned();
                end(datagram)?;
                Ok(Packet::Error(code, message))
            }
            6 => Ok(Packet::OptionAck(options(datagram)?)),
            opcode => Err(format!("no packet has the opcode {opcode}").into()),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Octet => "octet",
            Self::Netascii => "netascii",
        })
    }
}

fn mode(text: &str) -> Result<Mode, BoxError> {
    let modes = [Mode::Octet, Mode::Netascii];
    let mode = modes
        .into_iter()
        .find(|mode| text.eq_ignore_ascii_case(&mode.to_string()));
    mode.ok_or_else(|| "neither octet nor netascii".into())
}

/// Reads up to a zero, and over it.
fn text<'a>(datagram: &mut &'a [u8]) -> Result<&'a str, BoxError> {
    let zero = datagram.iter().position(|byte| *byte == 0);
    let (text, rest) = datagram.split_at(zero.ok_or("a text has no end")?);
    *datagram = &rest[1..];
    Ok(std::str::from_utf8(text)?)
}

fn put_text(datagram: &mut BytesMut, text: &(impl ToString + ?Sized)) -> Result<(), BoxError> {
    let text = text.to_string();
    if text.contains('\0') {
        return Err("a text with a zero in it".into());
    }
    datagram.put_slice(text.as_bytes());
    datagram.put_u8(0);
    Ok(())
}

/// Names and values, to the end. An option that is not known, or has a value that makes no sense,
/// is left out: a server ignores it (RFC 2347).
fn options(datagram: &mut &[u8]) -> Result<Vec<(Name, u64)>, BoxError> {
    let mut options = Vec::new();
    while !datagram.is_empty() {
        let (name, value) = (text(datagram)?, text(datagram)?);
        let known = NAMES
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name));
        if let (Some((name, _)), Ok(value)) = (known, value.parse()) {
            options.push((*name, value));
        }
    }
    Ok(options)
}

fn put_options(datagram: &mut BytesMut, options: &[(Name, u64)]) -> Result<(), BoxError> {
    for (option, value) in options {
        let (_, name) = NAMES
            .iter()
            .find(|(known, _)| known == option)
            .ok_or("no name")?;
        put_text(datagram, name)?;
        put_text(datagram, value)?;
    }
    Ok(())
}

fn end(datagram: &[u8]) -> Result<(), BoxError> {
    match datagram {
        [] => Ok(()),
        more => Err(format!("{} bytes after the end", more.len()).into()),
    }
}
