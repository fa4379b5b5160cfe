use std::sync::Arc;

/// Gives the other side's object: what this end sends, that one receives.
///
/// A server's protocol sends answers and receives requests; its clients' protocol is the same
/// pieces with the types in the other order. Codecs, converters, staples, shared and boxed ones,
/// and [`DatagramProtocol`](crate::DatagramProtocol) flip when all their parts do. Flipping twice
/// gives the first type again.
///
/// A part that works in one direction only has no other side, and does not implement this trait.
/// Where the compiler finds no `flip`, this trait is not imported, or a type lacks one of serde's
/// two derives. A converter that checks what is received, by a `TryFrom` of the DTO, flips into one
/// that sends it, which needs the way back: where there is none, the other side does without a
/// converter, and speaks in DTOs.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use postbox_protocol::{BoxError, DatagramProtocol, Flip, Protocol, Serializer};
/// # use std::marker::PhantomData;
/// # trait Text: ToString + std::str::FromStr<Err: Into<BoxError>> + 'static {}
/// # impl Text for u8 {}
/// # impl Text for bool {}
/// # struct TextSerializer<Sent, Received = Sent>(PhantomData<fn(Sent) -> Received>);
/// # impl<Sent, Received> TextSerializer<Sent, Received> {
/// #     fn new() -> Self { Self(PhantomData) }
/// # }
/// # impl<Sent: Text, Received: Text> Serializer for TextSerializer<Sent, Received> {
/// #     type Sent = Sent;
/// #     type Received = Received;
/// #     fn serialize(&self, packet: &Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
/// #         datagram.extend_from_slice(packet.to_string().as_bytes());
/// #         Ok(())
/// #     }
/// #     fn deserialize(&self, datagram: &[u8]) -> Result<Received, BoxError> {
/// #         std::str::from_utf8(datagram)?.parse().map_err(Into::into)
/// #     }
/// # }
///
/// impl<Sent, Received> Flip for TextSerializer<Sent, Received> {
///     type Flipped = TextSerializer<Received, Sent>;
///
///     fn flip(self) -> Self::Flipped {
///         TextSerializer::new()
///     }
/// }
///
/// // The server sends a bool and receives a number.
/// let server = DatagramProtocol::new(TextSerializer::<bool, u8>::new());
/// let client = DatagramProtocol::new(TextSerializer::<bool, u8>::new()).flip();
///
/// let mut request = BytesMut::new();
/// client.make_datagram(7, &mut request)?;
/// assert_eq!(server.build_packet(&request)?, 7);
/// # Ok::<(), BoxError>(())
/// ```
///
/// Two closures of different types go one way each, so they have no other side:
///
/// ```compile_fail,E0599
/// use postbox_protocol::{Flip, FnConverter};
///
/// let converter = FnConverter::new(|sent: u8| Ok(sent.to_string()), |dto: bool| Ok(!dto));
/// converter.flip();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no other side",
    label = "cannot be flipped",
    note = "a part flips when it works in both directions: see `Flip`"
)]
pub trait Flip {
    /// The other side's type.
    type Flipped;

    /// Returns the other side's object.
    #[must_use = "flipping returns the other side's object and changes nothing else"]
    fn flip(self) -> Self::Flipped;
}

impl<T: Flip> Flip for Box<T> {
    type Flipped = Box<T::Flipped>;

    fn flip(self) -> Self::Flipped {
        Box::new((*self).flip())
    }
}

impl<T: Flip + Clone> Flip for Arc<T> {
    type Flipped = Arc<T::Flipped>;

    /// Flips the object, or a copy of it if it is shared.
    fn flip(self) -> Self::Flipped {
        Arc::new(Self::unwrap_or_clone(self).flip())
    }
}
