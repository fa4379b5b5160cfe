//! One handler on three ports: JSON on one, MessagePack on another, protobuf on the third.
//!
//! ```text
//! $ cargo run -p postbox-examples --example three_codecs
//! JSON asks in 19 bytes and is answered 42
//! MessagePack asks in 12 bytes and is answered 42
//! protobuf asks in 4 bytes and is answered 42
//! The one handler has answered 3 requests
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol, Flip, Protocol, TryFromConverter};
use postbox_server::{Client, Handler, Requests, ServeError, Server};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// What clients ask. JSON and MessagePack know it by serde's derives.
#[derive(Serialize, Deserialize)]
struct Numbers {
    numbers: Vec<u32>,
}

/// What they are answered.
#[derive(Serialize, Deserialize)]
struct Sum {
    sum: u64,
}

/// Knows its request and its response, and no format.
#[derive(Default)]
struct Adder {
    answered: AtomicU64,
}

impl Handler for Adder {
    type Request = Numbers;
    type Response = Sum;

    async fn handle(
        &self,
        client: Client<Sum>,
        mut requests: Requests<Numbers>,
    ) -> Result<(), BoxError> {
        let request = requests.recv().await?;
        let sum = request.numbers.into_iter().map(u64::from).sum();
        client.send(Sum { sum }).await?;
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The server's side in JSON: it sends a `Sum` and receives `Numbers`.
fn json() -> DatagramProtocol<JsonSerializer<Sum, Numbers>> {
    DatagramProtocol::new(JsonSerializer::new())
}

/// Another format is another line.
fn message_pack() -> DatagramProtocol<MessagePackSerializer<Sum, Numbers>> {
    DatagramProtocol::new(MessagePackSerializer::new())
}

/// The messages of a schema are types of their own, made by `proto/build.rs`.
#[expect(unreachable_pub, reason = "they are not reached from elsewhere")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/postbox.examples.rs"));
}

/// So they are converted, by the conversions below.
type SumConverter = TryFromConverter<Sum, proto::Sum, Numbers, proto::Numbers>;

fn protobuf() -> DatagramProtocol<ProtobufSerializer<proto::Sum, proto::Numbers>, SumConverter> {
    DatagramProtocol::new(ProtobufSerializer::new()).with_converter(SumConverter::new())
}

// The server's direction. A request that makes no sense would be the error of a `TryFrom`.
impl From<Sum> for proto::Sum {
    fn from(Sum { sum }: Sum) -> Self {
        Self { sum }
    }
}

impl From<proto::Numbers> for Numbers {
    fn from(proto::Numbers { numbers }: proto::Numbers) -> Self {
        Self { numbers }
    }
}

// The client's direction.
impl From<Numbers> for proto::Numbers {
    fn from(Numbers { numbers }: Numbers) -> Self {
        Self { numbers }
    }
}

impl From<proto::Sum> for Sum {
    fn from(proto::Sum { sum }: proto::Sum) -> Self {
        Self { sum }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    let adder = Arc::new(Adder::default());
    let mut serving = JoinSet::new();
    let servers = [
        start(json(), &adder, &mut serving).await?,
        start(message_pack(), &adder, &mut serving).await?,
        start(protobuf(), &adder, &mut serving).await?,
    ];

    ask("JSON", &servers[0], json().flip()).await?;
    ask("MessagePack", &servers[1], message_pack().flip()).await?;
    ask("protobuf", &servers[2], protobuf().flip()).await?;

    for server in &servers {
        server.handle().shutdown().await;
    }
    while let Some(served) = serving.join_next().await {
        served??;
    }
    let answered = adder.answered.load(Ordering::Relaxed);
    println!("The one handler has answered {answered} requests");
    Ok(())
}

/// Serves the handler on a port of its own.
async fn start<P>(
    protocol: P,
    adder: &Arc<Adder>,
    serving: &mut JoinSet<Result<(), ServeError>>,
) -> Result<Server, BoxError>
where
    P: Protocol<Sent = Sum, Received = Numbers>,
{
    let server = Server::builder(protocol, Arc::clone(adder));
    let server = server.bind("127.0.0.1:0").await?;
    serving.spawn(server.serve_forever());
    server.handle().started().await?;
    Ok(server) // which closes when it is dropped
}

/// Asks a server with the client's side of its protocol.
async fn ask<P>(format: &str, server: &Server, protocol: P) -> Result<(), BoxError>
where
    P: Protocol<Sent = Numbers, Received = Sum>,
{
    let request = || Numbers {
        numbers: vec![20, 22],
    };
    let mut datagram = BytesMut::new();
    protocol.make_datagram(request(), &mut datagram)?;

    let address = server.handle().addresses()[0];
    let client = UdpClient::connect(address, protocol).await?;
    client.send(request()).await?;
    let answer = client.recv_timeout(Duration::from_secs(10)).await?;
    println!(
        "{format} asks in {} bytes and is answered {}",
        datagram.len(),
        answer.sum
    );
    Ok(())
}
