//! Protocol objects as codecs of tokio-util.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_sink::Sink;
use postbox_protocol::{
    DatagramProtocol, Protocol, ProtocolCodec, ProtocolCodecError, RawSerializer,
};
use proptest::prelude::*;
use tokio::net::UdpSocket;
use tokio_util::codec::{Decoder, Encoder};
use tokio_util::udp::UdpFramed;

use crate::common::Text;

type Codec<P> = UdpFramed<ProtocolCodec<P>>;

async fn framed<P: Protocol>(protocol: P) -> (Codec<P>, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    (UdpFramed::new(socket, ProtocolCodec::new(protocol)), addr)
}

async fn next<P: Protocol>(
    framed: &mut Codec<P>,
) -> Result<(P::Received, SocketAddr), ProtocolCodecError> {
    poll_fn(|cx| Pin::new(&mut *framed).poll_next(cx))
        .await
        .unwrap()
}

async fn send<P: Protocol>(
    framed: &mut Codec<P>,
    packet: P::Sent,
    to: SocketAddr,
) -> Result<(), ProtocolCodecError> {
    poll_fn(|cx| Sink::<(P::Sent, _)>::poll_ready(Pin::new(&mut *framed), cx)).await?;
    Pin::new(&mut *framed).start_send((packet, to))?;
    poll_fn(|cx| Sink::<(P::Sent, _)>::poll_flush(Pin::new(&mut *framed), cx)).await
}

#[tokio::test]
async fn p8_over_udp_framed_the_empty_datagram_is_delivered_once() {
    let (mut near, near_addr) = framed(DatagramProtocol::new(RawSerializer)).await;
    let (mut far, far_addr) = framed(DatagramProtocol::new(RawSerializer)).await;
    for packet in ["", "", "one", "", "two"] {
        send(&mut near, Bytes::from(packet), far_addr)
            .await
            .unwrap();
    }
    for packet in ["", "", "one", "", "two"] {
        let (received, from) = next(&mut far).await.unwrap();
        assert_eq!(received, packet);
        assert_eq!(from, near_addr);
    }
}

#[tokio::test]
async fn p5_over_udp_framed_what_is_no_packet_is_one_error_and_the_next_is_read() {
    let (mut far, far_addr) = framed(DatagramProtocol::new(Text::<u8>::new())).await;
    let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for datagram in ["300", "7", "", "x", "8"] {
        near.send_to(datagram.as_bytes(), far_addr).await.unwrap();
    }
    for packet in [None, Some(7), None, None, Some(8)] {
        match (next(&mut far).await, packet) {
            (Ok((received, _)), Some(packet)) => assert_eq!(received, packet),
            (Err(ProtocolCodecError::Parse(error)), None) => assert!(error.is_deserialize()),
            (result, packet) => panic!("{result:?} instead of {packet:?}"),
        }
    }
}

#[tokio::test]
async fn p6_over_udp_framed_a_packet_that_cannot_be_sent_harms_no_other() {
    use postbox_protocol::FnConverter;

    let converter = FnConverter::new(
        |packet: u8| {
            if packet == 0 {
                Err("zero".into())
            } else {
                Ok(packet)
            }
        },
        |dto: u8| Ok(dto),
    );
    let protocol = DatagramProtocol::new(Text::<u8>::new()).with_converter(converter);
    let (mut near, _) = framed(protocol).await;
    let (mut far, far_addr) = framed(DatagramProtocol::new(Text::<u8>::new())).await;
    let error = send(&mut near, 0, far_addr).await.unwrap_err();
    assert!(matches!(error, ProtocolCodecError::Make(error) if error.is_convert()));
    send(&mut near, 7, far_addr).await.unwrap();
    assert_eq!(next(&mut far).await.unwrap().0, 7);
}

#[test]
fn a_stream_is_one_packet_at_its_end() {
    let mut codec = ProtocolCodec::new(DatagramProtocol::new(Text::<u16>::new()));
    let mut stream = BytesMut::new();
    codec.encode(1, &mut stream).unwrap();
    assert_eq!(codec.decode(&mut stream).unwrap(), None);
    codec.encode(2, &mut stream).unwrap();
    assert_eq!(codec.decode(&mut stream).unwrap(), None);
    assert_eq!(codec.decode_eof(&mut stream).unwrap(), Some(12));
    assert_eq!(codec.decode_eof(&mut stream).unwrap(), None);
}

proptest! {
    #[test]
    fn a_codec_reads_what_its_protocol_reads_one_datagram_after_the_other(
        datagrams in prop::collection::vec("[0-9x]{0,3}", 1..6),
    ) {
        let protocol = DatagramProtocol::new(Text::<u8>::new());
        let mut codec = ProtocolCodec::new(protocol.clone());
        for datagram in datagrams {
            let mut buffer = BytesMut::from(&*datagram);
            let decoded = codec.decode_eof(&mut buffer).ok();
            let built = protocol.build_packet(datagram.as_bytes()).ok();
            prop_assert_eq!(decoded, built.map(Some));
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(codec.decode_eof(&mut buffer).unwrap(), None);
        }
    }
}
