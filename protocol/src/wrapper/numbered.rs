use bytes::{BufMut, BytesMut};

use crate::{BoxError, Converter, Flip, Serializer};

/// The version of the wire form, the first byte of every datagram.
const VERSION: u8 = 1;

/// A packet and the number of the question that it belongs to: what a
/// [`NumberedSerializer`] sends and receives.
///
/// An answer has the number of its question, so that the client finds out which one it answers. The
/// number 0 belongs to no question: a packet that nobody asked for, which [`From`] gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Numbered<P> {
    /// The question's number, or 0.
    pub number: u64,
    /// What is said.
    pub packet: P,
}

impl<P> Numbered<P> {
    /// Returns a packet with a number.
    pub const fn new(number: u64, packet: P) -> Self {
        Self { number, packet }
    }

    /// Returns the packet alone.
    pub fn into_packet(self) -> P {
        self.packet
    }

    /// Returns `packet` with the number of this question, so that its client takes it for the
    /// answer.
    pub const fn answer<A>(&self, packet: A) -> Numbered<A> {
        Numbered::new(self.number, packet)
    }

    /// Changes the packet and keeps the number.
    pub fn map<A>(self, change: impl FnOnce(P) -> A) -> Numbered<A> {
        Numbered::new(self.number, change(self.packet))
    }
}

/// A packet that belongs to no question. Where it is to become one, the client that asks it puts a
/// number in.
impl<P> From<P> for Numbered<P> {
    fn from(packet: P) -> Self {
        Self::new(0, packet)
    }
}

/// Puts a number before every packet, so that an answer can be told from another: for protocols
/// that have no number of their own.
///
/// Its packets are [`Numbered`]. A client that asks puts a fresh number into its question, and the
/// server copies it into the answer, with [`Numbered::answer`] or a handler that does so.
///
/// # The datagram
///
/// | bytes | content |
/// |---|---|
/// | 0 | the version of this form: 1 |
/// | 1 to 8 | the number, unsigned, big-endian; 0 if the packet belongs to no question |
/// | from 9 on | the datagram of the serializer within |
///
/// Both directions have this form. A datagram of another version is an error, so a later form can
/// be told from this one. It has no end mark of its own: that is for the serializer within.
///
/// The number is as safe as what is around it: without a signature or encryption **around** this
/// wrapper, whoever can read a question can forge its answer.
///
/// **Overhead:** [9 bytes](Self::OVERHEAD). Nothing is allocated.
///
/// # Examples
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use postbox_protocol::{Numbered, NumberedSerializer, RawSerializer, Serializer};
///
/// let serializer = NumberedSerializer::new(RawSerializer);
///
/// let mut datagram = BytesMut::new();
/// let question = Numbered::new(258, Bytes::from_static(b"time?"));
/// serializer.serialize(&question, &mut datagram)?;
/// assert_eq!(&datagram[..], b"\x01\0\0\0\0\0\0\x01\x02time?");
///
/// let question = serializer.deserialize(&datagram)?;
/// let answer = question.answer(Bytes::from_static(b"noon"));
/// assert_eq!(answer, Numbered::new(258, Bytes::from_static(b"noon")));
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberedSerializer<S> {
    serializer: S,
}

impl<S> NumberedSerializer<S> {
    /// How many bytes a datagram gets longer.
    pub const OVERHEAD: usize = 9;

    /// Puts a number before the datagrams of `serializer`.
    pub const fn new(serializer: S) -> Self {
        Self { serializer }
    }
}

impl NumberedSerializer<()> {
    /// Returns the number of a datagram without reading its packet, for what looks at datagrams
    /// before they are parsed. `None` if it does not have this form, or belongs to no question.
    ///
    /// ```
    /// use postbox_protocol::NumberedSerializer;
    ///
    /// assert_eq!(NumberedSerializer::number_of(b"\x01\0\0\0\0\0\0\0\x07time?"), Some(7));
    /// assert_eq!(NumberedSerializer::number_of(b"\x01\0\0\0\0\0\0\0\0time?"), None);
    /// assert_eq!(NumberedSerializer::number_of(b"another's"), None);
    /// ```
    pub fn number_of(datagram: &[u8]) -> Option<u64> {
        let (number, _) = split(datagram).ok()?;
        (number != 0).then_some(number)
    }
}

impl<S: Serializer> Serializer for NumberedSerializer<S> {
    type Sent = Numbered<S::Sent>;
    type Received = Numbered<S::Received>;

    fn serialize(&self, packet: &Self::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        datagram.put_u8(VERSION);
        datagram.put_u64(packet.number);
        self.serializer.serialize(&packet.packet, datagram)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Self::Received, BoxError> {
        let (number, rest) = split(datagram)?;
        Ok(Numbered::new(number, self.serializer.deserialize(rest)?))
    }
}

/// The number, and the datagram of the serializer within.
fn split(datagram: &[u8]) -> Result<(u64, &[u8]), NumberedError> {
    match datagram.split_first() {
        Some((&VERSION, rest)) => match rest.split_first_chunk() {
            Some((number, rest)) => Ok((u64::from_be_bytes(*number), rest)),
            None => Err(NumberedError::TooShort {
                len: datagram.len(),
            }),
        },
        Some((&version, _)) => Err(NumberedError::UnknownVersion { version }),
        None => Err(NumberedError::TooShort { len: 0 }),
    }
}

impl<S: Flip> Flip for NumberedSerializer<S> {
    type Flipped = NumberedSerializer<S::Flipped>;

    fn flip(self) -> Self::Flipped {
        NumberedSerializer::new(self.serializer.flip())
    }
}

/// A datagram does not begin with a number as the [`NumberedSerializer`] writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberedError {
    /// There is no room for a number.
    #[error("the datagram has {len} bytes, and a number takes {}", NumberedSerializer::<()>::OVERHEAD)]
    TooShort {
        /// The length of the datagram in bytes.
        len: usize,
    },

    /// It is of another version of this form, or another program's.
    #[error("the datagram's numbers are of version {version}, not {VERSION}")]
    UnknownVersion {
        /// The first byte.
        version: u8,
    },
}

/// Converts the packets within [`Numbered`] ones: any converter on a [`NumberedSerializer`].
///
/// ```
/// use postbox_protocol::{Converter, FnConverter, Numbered, NumberedConverter};
///
/// let converter = NumberedConverter::new(FnConverter::new(
///     |packet: u32| Ok(packet.to_string()),
///     |dto: String| Ok(dto.parse::<u32>()?),
/// ));
/// assert_eq!(converter.create_from_dto(Numbered::new(7, "42".to_owned()))?, Numbered::new(7, 42));
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberedConverter<C> {
    converter: C,
}

impl<C> NumberedConverter<C> {
    /// Converts what has a number with `converter`.
    pub const fn new(converter: C) -> Self {
        Self { converter }
    }
}

impl<C: Converter> Converter for NumberedConverter<C> {
    type Sent = Numbered<C::Sent>;
    type Received = Numbered<C::Received>;
    type SentDto = Numbered<C::SentDto>;
    type ReceivedDto = Numbered<C::ReceivedDto>;

    fn convert_to_dto(&self, packet: Self::Sent) -> Result<Self::SentDto, BoxError> {
        let dto = self.converter.convert_to_dto(packet.packet)?;
        Ok(Numbered::new(packet.number, dto))
    }

    fn create_from_dto(&self, dto: Self::ReceivedDto) -> Result<Self::Received, BoxError> {
        let packet = self.converter.create_from_dto(dto.packet)?;
        Ok(Numbered::new(dto.number, packet))
    }
}

impl<C: Flip> Flip for NumberedConverter<C> {
    type Flipped = NumberedConverter<C::Flipped>;

    fn flip(self) -> Self::Flipped {
        NumberedConverter::new(self.converter.flip())
    }
}
