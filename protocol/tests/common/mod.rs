//! Parts that the tests are made of.

use std::fmt::{self, Debug, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use postbox_protocol::{BoxError, Converter, Flip, Serializer};

/// A codec: text, by the types' `Display` and `FromStr`.
pub(crate) struct Text<Sent, Received = Sent> {
    types: PhantomData<fn(Sent) -> Received>,
}

impl<Sent, Received> Text<Sent, Received> {
    pub(crate) fn new() -> Self {
        Self { types: PhantomData }
    }
}

impl<Sent, Received> Clone for Text<Sent, Received> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<Sent, Received> Debug for Text<Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text")
    }
}

impl<Sent, Received> Serializer for Text<Sent, Received>
where
    Sent: Display + 'static,
    Received: FromStr<Err: Into<BoxError>> + 'static,
{
    type Sent = Sent;
    type Received = Received;

    fn serialize(&self, packet: &Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        datagram.extend_from_slice(packet.to_string().as_bytes());
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Received, BoxError> {
        std::str::from_utf8(datagram)?.parse().map_err(Into::into)
    }
}

impl<Sent, Received> Flip for Text<Sent, Received> {
    type Flipped = Text<Received, Sent>;

    fn flip(self) -> Self::Flipped {
        Text::new()
    }
}

/// A converter between text and bytes, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextConverter;

impl Converter for TextConverter {
    type Sent = String;
    type Received = String;
    type SentDto = Bytes;
    type ReceivedDto = Bytes;

    fn convert_to_dto(&self, packet: String) -> Result<Bytes, BoxError> {
        Ok(packet.into())
    }

    fn create_from_dto(&self, dto: Bytes) -> Result<String, BoxError> {
        Ok(String::from_utf8(dto.into())?)
    }
}

impl Flip for TextConverter {
    type Flipped = Self;

    fn flip(self) -> Self {
        self
    }
}

/// A wrapper that a user could write: a serializer with a converter inside, of cloned packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapped<S, C> {
    serializer: S,
    converter: C,
}

impl<S, C> Wrapped<S, C> {
    pub(crate) fn new(serializer: S, converter: C) -> Self {
        Self {
            serializer,
            converter,
        }
    }
}

impl<S, C> Serializer for Wrapped<S, C>
where
    S: Serializer,
    C: Converter<SentDto = S::Sent, ReceivedDto = S::Received, Sent: Clone>,
{
    type Sent = C::Sent;
    type Received = C::Received;

    fn serialize(&self, packet: &C::Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        self.serializer
            .serialize(&self.converter.convert_to_dto(packet.clone())?, datagram)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<C::Received, BoxError> {
        self.converter
            .create_from_dto(self.serializer.deserialize(datagram)?)
    }
}

impl<S: Flip, C: Flip> Flip for Wrapped<S, C> {
    type Flipped = Wrapped<S::Flipped, C::Flipped>;

    fn flip(self) -> Self::Flipped {
        Wrapped::new(self.serializer.flip(), self.converter.flip())
    }
}
