use std::fmt;
use std::marker::PhantomData;

use bytes::{BufMut, BytesMut};
use postbox_protocol::{BoxError, Flip, Serializer};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// JSON documents, by serde.
pub struct JsonSerializer<Sent, Received = Sent> {
    // A function pointer, so that `Send` and `Sync` do not depend on the types.
    types: PhantomData<fn(Sent) -> Received>,
}

impl<Sent, Received> JsonSerializer<Sent, Received> {
    /// Returns the serializer of these types.
    pub const fn new() -> Self {
        Self { types: PhantomData }
    }
}

impl<Sent, Received> Serializer for JsonSerializer<Sent, Received>
where
    Sent: Serialize + 'static,
    Received: DeserializeOwned + 'static,
{
    type Sent = Sent;
    type Received = Received;

    fn serialize(&self, packet: &Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        Ok(serde_json::to_writer(datagram.writer(), packet)?)
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Received, BoxError> {
        Ok(serde_json::from_str(std::str::from_utf8(datagram)?)?)
    }
}

impl<Sent, Received> Flip for JsonSerializer<Sent, Received> {
    type Flipped = JsonSerializer<Received, Sent>;

    fn flip(self) -> Self::Flipped {
        JsonSerializer::new()
    }
}

impl<Sent, Received> Clone for JsonSerializer<Sent, Received> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Sent, Received> Copy for JsonSerializer<Sent, Received> {}

impl<Sent, Received> Default for JsonSerializer<Sent, Received> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Sent, Received> fmt::Debug for JsonSerializer<Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonSerializer")
    }
}
