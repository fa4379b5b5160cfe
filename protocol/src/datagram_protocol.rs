use bytes::BytesMut;

use crate::{
    Converter, DatagramMakeError, DatagramParseError, Flip, IdentityConverter, Protocol, Serializer,
};

/// A serializer and, optionally, a converter, as one [`Protocol`].
///
/// This is the only place that orders the steps: packets are converted, then serialized; datagrams
/// are deserialized, then converted.
///
/// # Examples
///
/// A business object that has rules, on a format that knows none of them:
///
/// ```
/// use bytes::Bytes;
/// use postbox_protocol::{
///     BoxError, Converter, DatagramProtocol, Protocol, RawSerializer,
/// };
///
/// #[derive(Debug, PartialEq)]
/// struct Age(u8);
///
/// struct AgeConverter;
///
/// impl Converter for AgeConverter {
///     type Sent = Age;
///     type Received = Age;
///     type SentDto = Bytes;
///     type ReceivedDto = Bytes;
///
///     fn convert_to_dto(&self, age: Age) -> Result<Bytes, BoxError> {
///         Ok(Bytes::copy_from_slice(&[age.0]))
///     }
///
///     fn create_from_dto(&self, dto: Bytes) -> Result<Age, BoxError> {
///         match *dto {
///             [age @ 0..=130] => Ok(Age(age)),
///             _ => Err("not an age".into()),
///         }
///     }
/// }
///
/// let protocol = DatagramProtocol::new(RawSerializer).with_converter(AgeConverter);
///
/// assert_eq!(protocol.build_packet(&[42])?, Age(42));
/// assert!(protocol.build_packet(&[200]).unwrap_err().is_convert());
/// # Ok::<(), BoxError>(())
/// ```
// The bound stands on the struct because the default of `C` needs the serializer's types.
#[derive(Clone, Copy, Debug)]
pub struct DatagramProtocol<
    S: Serializer,
    C = IdentityConverter<<S as Serializer>::Sent, <S as Serializer>::Received>,
> {
    serializer: S,
    converter: C,
}

impl<S: Serializer> DatagramProtocol<S> {
    /// Returns the protocol whose packets are what `serializer` sends and receives.
    pub fn new(serializer: S) -> Self {
        Self {
            serializer,
            converter: IdentityConverter::new(),
        }
    }

    /// Puts `converter` between the packets and the serializer.
    pub fn with_converter<C>(self, converter: C) -> DatagramProtocol<S, C>
    where
        C: Converter<SentDto = S::Sent, ReceivedDto = S::Received>,
    {
        DatagramProtocol {
            serializer: self.serializer,
            converter,
        }
    }
}

impl<S, C> Protocol for DatagramProtocol<S, C>
where
    S: Serializer,
    C: Converter<SentDto = S::Sent, ReceivedDto = S::Received>,
{
    type Sent = C::Sent;
    type Received = C::Received;

    fn make_datagram(
        &self,
        packet: Self::Sent,
        datagram: &mut BytesMut,
    ) -> Result<(), DatagramMakeError> {
        let dto = self
            .converter
            .convert_to_dto(packet)
            .map_err(DatagramMakeError::Convert)?;
        let before = datagram.len();
        self.serializer.serialize(&dto, datagram).map_err(|cause| {
            // What a serializer wrote before it failed is no datagram.
            datagram.truncate(before);
            DatagramMakeError::Serialize(cause)
        })
    }

    fn build_packet(&self, datagram: &[u8]) -> Result<Self::Received, DatagramParseError> {
        let dto = self
            .serializer
            .deserialize(datagram)
            .map_err(DatagramParseError::Deserialize)?;
        self.converter
            .create_from_dto(dto)
            .map_err(DatagramParseError::Convert)
    }
}

impl<S, C> Flip for DatagramProtocol<S, C>
where
    S: Serializer + Flip<Flipped: Serializer>,
    C: Flip,
{
    type Flipped = DatagramProtocol<S::Flipped, C::Flipped>;

    fn flip(self) -> Self::Flipped {
        DatagramProtocol {
            serializer: self.serializer.flip(),
            converter: self.converter.flip(),
        }
    }
}
