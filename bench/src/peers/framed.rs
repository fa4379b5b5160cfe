//! UdpFramed of tokio-util: typed datagrams in one loop, nothing for each client.

use std::io;

use bytes::{BufMut, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::net::UdpSocket;
use tokio_util::codec::{BytesCodec, Decoder, Encoder};
use tokio_util::udp::UdpFramed;

use crate::document::Document;

struct Json;

impl Decoder for Json {
    type Item = Document;
    type Error = io::Error;

    fn decode(&mut self, datagram: &mut BytesMut) -> io::Result<Option<Document>> {
        if datagram.is_empty() {
            return Ok(None);
        }
        let document = serde_json::from_slice(datagram);
        datagram.clear();
        Ok(Some(document?))
    }
}

impl Encoder<Document> for Json {
    type Error = io::Error;

    fn encode(&mut self, document: Document, datagram: &mut BytesMut) -> io::Result<()> {
        Ok(serde_json::to_writer(datagram.writer(), &document)?)
    }
}

pub(super) async fn serve_raw(socket: UdpSocket) -> io::Result<()> {
    let mut framed = UdpFramed::new(socket, BytesCodec::new());
    while let Some(received) = framed.next().await {
        if let Ok((request, client)) = received {
            let _ = framed.send((request.freeze(), client)).await;
        }
    }
    Ok(())
}

pub(super) async fn serve_json(socket: UdpSocket) -> io::Result<()> {
    let mut framed = UdpFramed::new(socket, Json);
    while let Some(received) = framed.next().await {
        if let Ok((request, client)) = received {
            let _ = framed.send((request, client)).await;
        }
    }
    Ok(())
}
