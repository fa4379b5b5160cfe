//! Calls the serializer, and tells its panics with what it was given.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;

use crate::conformance::Conformance;
use crate::{BoxError, Serializer};

impl<Near, Far> Conformance<Near, Far>
where
    Near: Serializer<Sent: PartialEq + fmt::Debug>,
    Far: Serializer<Sent = Near::Received, Received = Near::Sent>,
{
    pub(super) fn serialize(
        &self,
        rule: &str,
        packet: &Near::Sent,
        datagram: &mut BytesMut,
    ) -> Result<(), BoxError> {
        catch_unwind(AssertUnwindSafe(|| self.near.serialize(packet, datagram)))
            .unwrap_or_else(|_| panic!("{rule}: serializing {packet:?} panicked"))
    }

    pub(super) fn deserialize(&self, rule: &str, datagram: &[u8]) -> Result<Near::Sent, BoxError> {
        catch_unwind(AssertUnwindSafe(|| self.far.deserialize(datagram)))
            .unwrap_or_else(|_| panic!("{rule}: deserializing {} panicked", shown(datagram)))
    }

    /// Returns the datagram of a packet that can be sent.
    pub(super) fn datagram(&self, rule: &str, packet: &Near::Sent) -> BytesMut {
        let mut datagram = BytesMut::new();
        if let Err(error) = self.serialize(rule, packet, &mut datagram) {
            panic!("{rule}: serializing {packet:?} failed: {error}");
        }
        datagram
    }

    /// Checks that `datagram` says `packet`.
    pub(super) fn says(&self, rule: &str, datagram: &[u8], packet: &Near::Sent) {
        match self.deserialize(rule, datagram) {
            Ok(received) if received == *packet => {}
            Ok(received) => {
                panic!(
                    "{rule}: {} says {received:?}, not {packet:?}",
                    shown(datagram)
                )
            }
            Err(error) => panic!("{rule}: deserializing {} failed: {error}", shown(datagram)),
        }
    }

    /// Checks that `datagram` says nothing.
    pub(super) fn refuses(&self, rule: &str, datagram: &[u8]) {
        if let Ok(received) = self.deserialize(rule, datagram) {
            panic!("{rule}: {} was taken for {received:?}", shown(datagram));
        }
    }
}

fn shown(datagram: &[u8]) -> String {
    format!("b\"{}\"", datagram.escape_ascii())
}
