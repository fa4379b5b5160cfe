use std::fmt;
use std::marker::PhantomData;

use crate::{BoxError, Converter, Flip};

/// Converts with two closures (or functions), one for each direction.
///
/// They fail with [`BoxError`], so `?` works on any error. It [flips](Flip) where both directions
/// have the same two types, and returns itself: the closures have to undo each other, since the
/// other side calls them too.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use postbox_protocol::{Converter, FnConverter};
///
/// let seconds = FnConverter::new(
///     |pause: Duration| Ok(pause.as_secs_f64()),
///     |seconds: f64| Ok(Duration::try_from_secs_f64(seconds)?),
/// );
/// assert_eq!(seconds.convert_to_dto(Duration::from_millis(1500))?, 1.5);
/// assert!(seconds.create_from_dto(-1.0).is_err());
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
pub struct FnConverter<ToDto, FromDto, Sent, ReceivedDto> {
    to_dto: ToDto,
    from_dto: FromDto,
    inputs: PhantomData<fn(Sent, ReceivedDto)>,
}

impl<ToDto, FromDto, Sent, ReceivedDto> FnConverter<ToDto, FromDto, Sent, ReceivedDto> {
    /// Returns the converter that calls `to_dto` to send and `from_dto` to receive.
    pub fn new<SentDto, Received>(to_dto: ToDto, from_dto: FromDto) -> Self
    where
        ToDto: Fn(Sent) -> Result<SentDto, BoxError>,
        FromDto: Fn(ReceivedDto) -> Result<Received, BoxError>,
    {
        Self {
            to_dto,
            from_dto,
            inputs: PhantomData,
        }
    }
}

impl<ToDto, FromDto, Sent, SentDto, Received, ReceivedDto> Converter
    for FnConverter<ToDto, FromDto, Sent, ReceivedDto>
where
    ToDto: Fn(Sent) -> Result<SentDto, BoxError> + Send + Sync + 'static,
    FromDto: Fn(ReceivedDto) -> Result<Received, BoxError> + Send + Sync + 'static,
    Sent: 'static,
    ReceivedDto: 'static,
{
    type Sent = Sent;
    type Received = Received;
    type SentDto = SentDto;
    type ReceivedDto = ReceivedDto;

    fn convert_to_dto(&self, packet: Sent) -> Result<SentDto, BoxError> {
        (self.to_dto)(packet)
    }

    fn create_from_dto(&self, dto: ReceivedDto) -> Result<Received, BoxError> {
        (self.from_dto)(dto)
    }
}

impl<ToDto, FromDto, Packet, Dto> Flip for FnConverter<ToDto, FromDto, Packet, Dto>
where
    ToDto: Fn(Packet) -> Result<Dto, BoxError>,
    FromDto: Fn(Dto) -> Result<Packet, BoxError>,
{
    type Flipped = Self;

    fn flip(self) -> Self {
        self
    }
}

impl<ToDto, FromDto, Sent, ReceivedDto> Clone for FnConverter<ToDto, FromDto, Sent, ReceivedDto>
where
    ToDto: Clone,
    FromDto: Clone,
{
    fn clone(&self) -> Self {
        Self {
            to_dto: self.to_dto.clone(),
            from_dto: self.from_dto.clone(),
            inputs: PhantomData,
        }
    }
}

impl<ToDto, FromDto, Sent, ReceivedDto> Copy for FnConverter<ToDto, FromDto, Sent, ReceivedDto>
where
    ToDto: Copy,
    FromDto: Copy,
{
}

impl<ToDto, FromDto, Sent, ReceivedDto> fmt::Debug
    for FnConverter<ToDto, FromDto, Sent, ReceivedDto>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnConverter").finish_non_exhaustive()
    }
}
