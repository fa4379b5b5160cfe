use crate::{BoxError, Converter, Flip};

/// Two converters, one for each direction.
///
/// # Examples
///
/// Requests are checked, answers leave as they are:
///
/// ```
/// use postbox_protocol::{Converter, FnConverter, IdentityConverter, StapledConverter};
///
/// let numbers = FnConverter::new(
///     |number: u32| Ok(number.to_string()),
///     |text: String| Ok(text.parse::<u32>()?),
/// );
/// let converter = StapledConverter::new(IdentityConverter::<String>::new(), numbers);
///
/// assert_eq!(converter.create_from_dto("42".to_owned())?, 42);
/// assert_eq!(converter.convert_to_dto("accepted".to_owned())?, "accepted");
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StapledConverter<Sending, Receiving> {
    sending: Sending,
    receiving: Receiving,
}

impl<Sending, Receiving> StapledConverter<Sending, Receiving> {
    /// Returns the converter that sends through `sending` and receives through `receiving`.
    pub fn new(sending: Sending, receiving: Receiving) -> Self {
        Self { sending, receiving }
    }
}

impl<Sending: Converter, Receiving: Converter> Converter for StapledConverter<Sending, Receiving> {
    type Sent = Sending::Sent;
    type Received = Receiving::Received;
    type SentDto = Sending::SentDto;
    type ReceivedDto = Receiving::ReceivedDto;

    fn convert_to_dto(&self, packet: Self::Sent) -> Result<Self::SentDto, BoxError> {
        self.sending.convert_to_dto(packet)
    }

    fn create_from_dto(&self, dto: Self::ReceivedDto) -> Result<Self::Received, BoxError> {
        self.receiving.create_from_dto(dto)
    }
}

impl<Sending: Flip, Receiving: Flip> Flip for StapledConverter<Sending, Receiving> {
    type Flipped = StapledConverter<Receiving::Flipped, Sending::Flipped>;

    fn flip(self) -> Self::Flipped {
        StapledConverter::new(self.receiving.flip(), self.sending.flip())
    }
}
