use std::fmt;
use std::marker::PhantomData;

use crate::{BoxError, Converter, Flip};

/// Converts nothing: the packets are the DTOs.
///
/// It is what [`DatagramProtocol::new`](crate::DatagramProtocol::new) starts with, and the half of
/// a [`StapledConverter`](crate::StapledConverter) where only the other direction needs one.
///
/// # Examples
///
/// ```
/// use postbox_protocol::{Converter, IdentityConverter};
///
/// let converter = IdentityConverter::<u8, &str>::new();
/// assert_eq!(converter.convert_to_dto(7)?, 7);
/// assert_eq!(converter.create_from_dto("seven")?, "seven");
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
pub struct IdentityConverter<Sent, Received = Sent> {
    // A function pointer, so that `Send` and `Sync` do not depend on the types.
    types: PhantomData<fn(Sent) -> Received>,
}

impl<Sent, Received> IdentityConverter<Sent, Received> {
    /// Returns the converter that changes nothing.
    pub const fn new() -> Self {
        Self { types: PhantomData }
    }
}

impl<Sent: 'static, Received: 'static> Converter for IdentityConverter<Sent, Received> {
    type Sent = Sent;
    type Received = Received;
    type SentDto = Sent;
    type ReceivedDto = Received;

    fn convert_to_dto(&self, packet: Sent) -> Result<Sent, BoxError> {
        Ok(packet)
    }

    fn create_from_dto(&self, dto: Received) -> Result<Received, BoxError> {
        Ok(dto)
    }
}

impl<Sent, Received> Flip for IdentityConverter<Sent, Received> {
    type Flipped = IdentityConverter<Received, Sent>;

    fn flip(self) -> Self::Flipped {
        IdentityConverter::new()
    }
}

impl<Sent, Received> Clone for IdentityConverter<Sent, Received> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Sent, Received> Copy for IdentityConverter<Sent, Received> {}

impl<Sent, Received> Default for IdentityConverter<Sent, Received> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Sent, Received> fmt::Debug for IdentityConverter<Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityConverter")
    }
}
