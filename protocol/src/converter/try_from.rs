use std::fmt;
use std::marker::PhantomData;

use crate::{BoxError, Converter, Flip};

/// Converts with the types' own `From` and `TryFrom`: no converter to write.
///
/// Sending needs `SentDto: From<Sent>` (or `TryFrom`), receiving `Received: TryFrom<ReceivedDto>`
/// (or `From`). The error of a `TryFrom` is the cause of the conversion error; a string will do.
///
/// There are two pairs of types, the packet first and what the format knows of it second:
/// `TryFromConverter<Sent, SentDto, Received, ReceivedDto>`. A direction that needs no conversion
/// names its type twice. With two parameters alone both directions have the same pair: that is for
/// a protocol which sends what it receives, and needs the conversions both ways.
///
/// # Examples
///
/// A server that checks its requests. Its answers go out as they are:
///
/// ```
/// use postbox_protocol::{Converter, TryFromConverter};
///
/// /// What the handler is given.
/// struct Person { name: String, age: u8 }
///
/// /// What the format knows: this one derives `Deserialize`, and `Person` nothing.
/// struct PersonDto { name: String, age: i64 }
///
/// /// What the handler sends: this one derives `Serialize`.
/// struct Greeting(String);
///
/// impl TryFrom<PersonDto> for Person {
///     type Error = &'static str;
///
///     fn try_from(dto: PersonDto) -> Result<Self, &'static str> {
///         let age = dto.age.try_into().map_err(|_| "that is no age")?;
///         Ok(Self { name: dto.name, age })
///     }
/// }
///
/// type Checked = TryFromConverter<Greeting, Greeting, Person, PersonDto>;
/// // `DatagramProtocol::new(JsonSerializer::<Greeting, PersonDto>::new())
/// //     .with_converter(Checked::new())` sends a `Greeting` and receives a `Person`.
///
/// let nobody = PersonDto { name: "Nobody".to_owned(), age: -1 };
/// let refused = Checked::new().create_from_dto(nobody).err().unwrap();
/// assert_eq!(refused.to_string(), "that is no age");
/// # let ann = PersonDto { name: "Ann".to_owned(), age: 36 };
/// # let ann = Checked::new().create_from_dto(ann)?;
/// # assert_eq!((&*ann.name, ann.age), ("Ann", 36));
/// # assert_eq!(Checked::new().convert_to_dto(Greeting("hi".to_owned()))?.0, "hi");
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
///
/// `TryFromConverter<Person, PersonDto>` would not do there: it stands for a protocol that also
/// *sends* a `Person`.
///
/// Both directions with one pair:
///
/// ```
/// use postbox_protocol::{Converter, TryFromConverter};
///
/// #[derive(Debug, PartialEq)]
/// struct Even(u32);
///
/// impl From<Even> for u32 {
///     fn from(even: Even) -> u32 {
///         even.0
///     }
/// }
///
/// impl TryFrom<u32> for Even {
///     type Error = String;
///
///     fn try_from(number: u32) -> Result<Self, String> {
///         if number % 2 == 0 { Ok(Self(number)) } else { Err(format!("{number} is odd")) }
///     }
/// }
///
/// let converter = TryFromConverter::<Even, u32>::new();
/// assert_eq!(converter.convert_to_dto(Even(2))?, 2);
/// assert_eq!(converter.create_from_dto(4)?, Even(4));
/// assert_eq!(converter.create_from_dto(5).unwrap_err().to_string(), "5 is odd");
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
pub struct TryFromConverter<Sent, SentDto, Received = Sent, ReceivedDto = SentDto> {
    sending: PhantomData<fn(Sent) -> SentDto>,
    receiving: PhantomData<fn(ReceivedDto) -> Received>,
}

impl<Sent, SentDto, Received, ReceivedDto> TryFromConverter<Sent, SentDto, Received, ReceivedDto> {
    /// Returns the converter between these types.
    pub const fn new() -> Self {
        Self {
            sending: PhantomData,
            receiving: PhantomData,
        }
    }
}

impl<Sent, SentDto, Received, ReceivedDto> Converter
    for TryFromConverter<Sent, SentDto, Received, ReceivedDto>
where
    Sent: 'static,
    SentDto: TryFrom<Sent, Error: Into<BoxError>> + 'static,
    Received: TryFrom<ReceivedDto, Error: Into<BoxError>> + 'static,
    ReceivedDto: 'static,
{
    type Sent = Sent;
    type Received = Received;
    type SentDto = SentDto;
    type ReceivedDto = ReceivedDto;

    fn convert_to_dto(&self, packet: Sent) -> Result<SentDto, BoxError> {
        SentDto::try_from(packet).map_err(Into::into)
    }

    fn create_from_dto(&self, dto: ReceivedDto) -> Result<Received, BoxError> {
        Received::try_from(dto).map_err(Into::into)
    }
}

impl<Sent, SentDto, Received, ReceivedDto> Flip
    for TryFromConverter<Sent, SentDto, Received, ReceivedDto>
{
    type Flipped = TryFromConverter<Received, ReceivedDto, Sent, SentDto>;

    fn flip(self) -> Self::Flipped {
        TryFromConverter::new()
    }
}

impl<Sent, SentDto, Received, ReceivedDto> Clone
    for TryFromConverter<Sent, SentDto, Received, ReceivedDto>
{
    fn clone(&self) -> Self {
        *self
    }
}

impl<Sent, SentDto, Received, ReceivedDto> Copy
    for TryFromConverter<Sent, SentDto, Received, ReceivedDto>
{
}

impl<Sent, SentDto, Received, ReceivedDto> Default
    for TryFromConverter<Sent, SentDto, Received, ReceivedDto>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<Sent, SentDto, Received, ReceivedDto> fmt::Debug
    for TryFromConverter<Sent, SentDto, Received, ReceivedDto>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TryFromConverter")
    }
}
