//! Serializers and converters that panic.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use bytes::{Bytes, BytesMut};
use postbox_client::{UdpClient, UdpRecvError, UdpSendError};
use postbox_protocol::{BoxError, DatagramProtocol, FnConverter, RawSerializer, Serializer};

use crate::common::*;
use crate::contract;

/// Panics on the packet `bomb`, half-way.
struct Fragile;

impl Serializer for Fragile {
    type Sent = Bytes;
    type Received = Bytes;

    fn serialize(&self, packet: &Bytes, datagram: &mut BytesMut) -> Result<(), BoxError> {
        datagram.extend_from_slice(b"half of it");
        assert_ne!(packet, "bomb", "the serializer panics");
        datagram.clear();
        datagram.extend_from_slice(packet);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Bytes, BoxError> {
        assert_ne!(datagram, b"bomb", "the deserializer panics");
        Ok(Bytes::copy_from_slice(datagram))
    }
}

async fn fragile_client(server: &Server) -> UdpClient<Bytes> {
    server.client(DatagramProtocol::new(Fragile)).await
}

contract! {
    async fn a_panic_in_serialize_is_the_answer_of_send_and_later_sends_work(world: World) {
        let server = world.server();
        let client = fragile_client(&server).await;

        match client.send(Bytes::from_static(b"bomb")).await {
            Err(UdpSendError::Crashed { message }) => {
                assert!(message.contains("the serializer panics"))
            }
            other => panic!("{other:?}"),
        }
        client.send(Bytes::from_static(b"fine")).await.unwrap();
        assert_eq!(server.hear(), b"fine", "and nothing before it");
    }

    async fn a_panic_in_deserialize_is_the_answer_of_that_receive_and_receiving_goes_on(world: World) {
        let server = world.server();
        let client = fragile_client(&server).await;
        server.tell(client.local_addr(), "bomb");
        server.tell(client.local_addr(), "fine");

        match in_time(client.recv()).await {
            Err(UdpRecvError::Crashed { message }) => {
                assert!(message.contains("the deserializer panics"))
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(in_time(client.recv()).await.unwrap(), "fine");
    }
}

/// What a panic may carry: its destructor panics too, so many times.
struct Rude(u32);

impl Drop for Rude {
    fn drop(&mut self) {
        if self.0 > 0 {
            std::panic::panic_any(Self(self.0 - 1));
        }
    }
}

contract! {
    async fn a_payload_that_panics_when_dropped_and_what_that_carries_too_are_caught(world: World) {
        let server = world.server();
        let converter = FnConverter::new(
            |_: ()| -> Result<Bytes, BoxError> { std::panic::panic_any(Rude(2)) },
            |_: Bytes| -> Result<(), BoxError> { std::panic::panic_any(Rude(1)) },
        );
        let protocol = DatagramProtocol::new(RawSerializer).with_converter(converter);
        let client = server.client(protocol).await;

        let sent = client.send(()).await;
        assert!(
            matches!(sent, Err(UdpSendError::Crashed { .. })),
            "{sent:?}"
        );
        server.tell(client.local_addr(), "");
        let received = in_time(client.recv()).await;
        assert!(
            matches!(received, Err(UdpRecvError::Crashed { .. })),
            "{received:?}"
        );
    }

    async fn a_panic_in_a_converter_is_caught_too_whatever_it_carries(world: World) {
        let server = world.server();
        let converter = FnConverter::new(
            |_: ()| -> Result<Bytes, BoxError> { std::panic::panic_any(7) },
            |_: Bytes| -> Result<(), BoxError> { panic!("the converter panics") },
        );
        let protocol = DatagramProtocol::new(RawSerializer).with_converter(converter);
        let client = server.client(protocol).await;

        match client.send(()).await {
            Err(UdpSendError::Crashed { message }) => assert_eq!(message, "a panic without a message"),
            other => panic!("{other:?}"),
        }
        server.tell(client.local_addr(), "");
        match in_time(client.recv()).await {
            Err(UdpRecvError::Crashed { message }) => assert_eq!(message, "the converter panics"),
            other => panic!("{other:?}"),
        }
    }
}
