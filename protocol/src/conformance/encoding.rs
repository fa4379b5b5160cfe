//! The rules of sending.

use std::fmt;

use bytes::BytesMut;

use crate::Serializer;
use crate::conformance::Conformance;

const KEPT: &[u8] = b"what stands in the buffer";

impl<Near, Far> Conformance<Near, Far>
where
    Near: Serializer<Sent: PartialEq + fmt::Debug>,
    Far: Serializer<Sent = Near::Received, Received = Near::Sent>,
{
    pub(super) fn comes_back(&self) {
        let rule = "comes back";
        for packet in &self.packets {
            self.says(rule, &self.datagram(rule, packet), packet);
        }
    }

    pub(super) fn appends(&self) {
        let rule = "appends";
        for packet in &self.packets {
            let mut buffer = BytesMut::from(KEPT);
            if let Err(error) = self.serialize(rule, packet, &mut buffer) {
                panic!("{rule}: serializing {packet:?} after other bytes failed: {error}");
            }
            let Some(datagram) = buffer.strip_prefix(KEPT) else {
                panic!("{rule}: serializing {packet:?} changed what stood in the buffer");
            };
            self.says(rule, datagram, packet);
        }
    }

    pub(super) fn refuses_and_goes_on(&self) {
        let rule = "refuses and goes on";
        for refused in &self.refused_packets {
            let mut buffer = BytesMut::from(KEPT);
            assert!(
                self.serialize(rule, refused, &mut buffer).is_err(),
                "{rule}: {refused:?} was serialized",
            );
            assert!(
                buffer.starts_with(KEPT),
                "{rule}: refusing {refused:?} changed what stood in the buffer",
            );
            // The engine clears its buffer and takes it for the next packet.
            for packet in &self.packets {
                buffer.clear();
                if let Err(error) = self.serialize(rule, packet, &mut buffer) {
                    panic!("{rule}: after {refused:?}, serializing {packet:?} failed: {error}");
                }
                self.says(rule, &buffer, packet);
            }
        }
        for refused in &self.refused_datagrams {
            self.refuses(rule, refused);
            for packet in &self.packets {
                self.says(rule, &self.datagram(rule, packet), packet);
            }
        }
    }
}
