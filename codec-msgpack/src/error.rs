use rmp_serde::{decode, encode};

use crate::check::Malformed;

/// Why a datagram is not the MessagePack that was expected, or a packet cannot be written.
///
/// It is the [`source`](std::error::Error::source) of the protocol's errors. The message says what
/// was found and what was expected. It can quote what the peer sent, at any length and with any
/// character: cut and escape it before it goes where that matters.
///
/// # Examples
///
/// ```
/// use std::error::Error;
///
/// use postbox_codec_msgpack::{MessagePackError, MessagePackSerializer};
/// use postbox_protocol::{DatagramProtocol, Protocol};
///
/// let protocol = DatagramProtocol::new(MessagePackSerializer::<Vec<u8>>::new());
///
/// // Two numbers are announced, and one is there.
/// let error = protocol.build_packet(&[0x92, 1]).unwrap_err();
/// let cause: &MessagePackError = error.source().unwrap().downcast_ref().unwrap();
/// assert_eq!(cause.to_string(), "cut short at byte 2");
/// assert!(cause.is_syntax());
/// assert_eq!(cause.position(), Some(2));
///
/// // The second number is 256.
/// let error = protocol.build_packet(&[0x92, 1, 0xcd, 1, 0]).unwrap_err();
/// let cause: &MessagePackError = error.source().unwrap().downcast_ref().unwrap();
/// assert_eq!(cause.to_string(), "invalid value: integer `256`, expected u8");
/// assert!(cause.is_data());
/// ```
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct MessagePackError {
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Malformed(Malformed),

    #[error("invalid type: {0}")]
    Kind(&'static str),

    #[error("invalid length of an array, a map or a byte string")]
    Length,

    #[error(transparent)]
    Read(decode::Error),

    #[error(transparent)]
    Write(encode::Error),
}

impl MessagePackError {
    pub(crate) fn malformed(error: Malformed) -> Self {
        Self {
            cause: Cause::Malformed(error),
        }
    }

    pub(crate) fn read(error: decode::Error) -> Self {
        let cause = match error {
            decode::Error::TypeMismatch(marker) => Cause::Kind(kind(marker.to_u8())),
            // What it holds is the length that was read, or the one that was expected.
            decode::Error::LengthMismatch(_) => Cause::Length,
            other => Cause::Read(other),
        };
        Self { cause }
    }

    pub(crate) fn write(error: encode::Error) -> Self {
        Self {
            cause: Cause::Write(error),
        }
    }

    /// Returns whether the datagram is not exactly one MessagePack value that can be read: it is
    /// cut short, has bytes left over, nests too deep, or has text that is not UTF-8.
    pub fn is_syntax(&self) -> bool {
        matches!(self.cause, Cause::Malformed(_))
    }

    /// Returns whether the datagram is MessagePack, but not of the expected type: a field is
    /// missing or there twice, or a value is of another kind.
    pub fn is_data(&self) -> bool {
        matches!(self.cause, Cause::Kind(_) | Cause::Length | Cause::Read(_))
    }

    /// Returns whether the packet to send cannot be written.
    pub fn is_write(&self) -> bool {
        matches!(self.cause, Cause::Write(_))
    }

    /// Returns the byte of the datagram that is wrong, from 0; its length if it is cut short.
    ///
    /// There is one where the datagram [is no MessagePack](Self::is_syntax), and else none.
    pub fn position(&self) -> Option<usize> {
        match &self.cause {
            Cause::Malformed(error) => Some(error.position),
            Cause::Kind(_) | Cause::Length | Cause::Read(_) | Cause::Write(_) => None,
        }
    }
}

/// Says what begins with this marker.
fn kind(marker: u8) -> &'static str {
    match marker {
        0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff => "integer",
        0x80..=0x8f | 0xde | 0xdf => "map",
        0x90..=0x9f | 0xdc | 0xdd => "array",
        0xa0..=0xbf | 0xd9..=0xdb => "string",
        0xc0 => "nil",
        0xc1 => "nothing",
        0xc2 | 0xc3 => "boolean",
        0xc4..=0xc6 => "byte string",
        0xc7..=0xc9 | 0xd4..=0xd8 => "extension",
        0xca | 0xcb => "floating point",
    }
}
