mod closures;
mod identity;
mod staple;
mod try_from;

pub use closures::FnConverter;
pub use identity::IdentityConverter;
pub use staple::StapledConverter;
pub use try_from::TryFromConverter;

use std::sync::Arc;

use crate::BoxError;

/// Turns packets into plain data (DTOs) for the serializer, and plain data into packets.
///
/// A converter keeps the format out of the business objects, and what breaks their rules out of the
/// handler: the handler only ever sees packets that make sense. Like the serializer it is shared by
/// all and keeps no state.
///
/// Three are ready-made: [`IdentityConverter`], [`TryFromConverter`] for types that have plain Rust
/// conversions (begin there), and [`FnConverter`] made from two closures. [`StapledConverter`]
/// takes one for each direction. A protocol takes it by
/// [`with_converter`](crate::DatagramProtocol::with_converter).
///
/// # Examples
///
/// ```
/// use postbox_protocol::{BoxError, Converter};
///
/// struct Person { name: String, age: u8 }
///
/// /// A person as the format knows it.
/// struct PersonDto { name: String, age: i64 }
///
/// struct PersonConverter;
///
/// impl Converter for PersonConverter {
///     type Sent = Person;
///     type Received = Person;
///     type SentDto = PersonDto;
///     type ReceivedDto = PersonDto;
///
///     fn convert_to_dto(&self, person: Person) -> Result<PersonDto, BoxError> {
///         Ok(PersonDto { name: person.name, age: person.age.into() })
///     }
///
///     fn create_from_dto(&self, dto: PersonDto) -> Result<Person, BoxError> {
///         Ok(Person { name: dto.name, age: dto.age.try_into()? })
///     }
/// }
///
/// let nobody = PersonDto { name: "Nobody".to_owned(), age: -1 };
/// assert!(PersonConverter.create_from_dto(nobody).is_err());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a converter",
    label = "not a `Converter`",
    note = "implement `Converter`, or use `TryFromConverter` (with `TryFrom` impls) or \
            `FnConverter` (with two closures)"
)]
pub trait Converter: Send + Sync + 'static {
    /// The packets that this end sends.
    type Sent;

    /// The packets that this end receives.
    type Received;

    /// What the serializer is given to send.
    type SentDto;

    /// What the serializer gives when it received.
    type ReceivedDto;

    /// Returns the DTO that says `packet`.
    ///
    /// # Errors
    ///
    /// Fails if the packet has no DTO.
    fn convert_to_dto(&self, packet: Self::Sent) -> Result<Self::SentDto, BoxError>;

    /// Returns the packet that `dto` says.
    ///
    /// # Errors
    ///
    /// Fails if the DTO is no valid packet.
    fn create_from_dto(&self, dto: Self::ReceivedDto) -> Result<Self::Received, BoxError>;
}

impl<C: Converter + ?Sized> Converter for Arc<C> {
    type Sent = C::Sent;
    type Received = C::Received;
    type SentDto = C::SentDto;
    type ReceivedDto = C::ReceivedDto;

    fn convert_to_dto(&self, packet: Self::Sent) -> Result<Self::SentDto, BoxError> {
        (**self).convert_to_dto(packet)
    }

    fn create_from_dto(&self, dto: Self::ReceivedDto) -> Result<Self::Received, BoxError> {
        (**self).create_from_dto(dto)
    }
}

impl<C: Converter + ?Sized> Converter for Box<C> {
    type Sent = C::Sent;
    type Received = C::Received;
    type SentDto = C::SentDto;
    type ReceivedDto = C::ReceivedDto;

    fn convert_to_dto(&self, packet: Self::Sent) -> Result<Self::SentDto, BoxError> {
        (**self).convert_to_dto(packet)
    }

    fn create_from_dto(&self, dto: Self::ReceivedDto) -> Result<Self::Received, BoxError> {
        (**self).create_from_dto(dto)
    }
}
