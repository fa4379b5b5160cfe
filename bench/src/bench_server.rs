//! An echo server for load generators: any codec, any number of workers, either runtime.
//!
//! ```text
//! cargo run --release -p postbox-bench --bin bench-server -- --addr 127.0.0.1:9000 --codec json
//! ```
//!
//! Prints one line when it is up, and ends on SIGTERM or Ctrl-C.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use postbox_codec_json::JsonSerializer;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use postbox_server::{BoxError, Client, RecvError, Requests, Server, ServerBuilder};
use serde::{Deserialize, Serialize};

#[derive(Debug, Parser)]
struct Args {
    /// Where to serve.
    #[arg(long, default_value = "127.0.0.1:9000")]
    addr: String,
    #[arg(long, value_enum, default_value_t = Codec::Raw)]
    codec: Codec,
    #[arg(long, value_enum, default_value_t = Style::Oneshot)]
    style: Style,
    /// Sockets, each with a worker of its own.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    #[arg(long, value_enum, default_value_t = Runtime::Current)]
    runtime: Runtime,
    /// Bytes of receive buffer to ask for; 0 leaves the server's default.
    #[arg(long, default_value_t = 0)]
    rcvbuf: usize,
    /// One datagram at a time, through tokio.
    #[arg(long)]
    plain: bool,
    /// No segmentation offloads.
    #[arg(long)]
    no_offloads: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Codec {
    /// The datagram's bytes as they are
    Raw,
    /// JSON of a typed struct
    Json,
    /// Any JSON document
    JsonValue,
    /// MessagePack of the same struct, as a map from its fields' names
    Msgpack,
    /// MessagePack of the same struct, as an array
    MsgpackCompact,
    /// Protobuf of the same struct
    Protobuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Style {
    /// A handler answers once and returns
    Oneshot,
    /// A handler answers until 30 seconds pass without a request
    Session,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Runtime {
    Current,
    Multi,
}

/// The documents that the load generators send; in protobuf with the numbers of the tags.
#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
struct Document {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(uint64, tag = "2")]
    id: u64,
    #[prost(string, tag = "3")]
    player: String,
    #[prost(double, tag = "4")]
    x: f64,
    #[prost(double, tag = "5")]
    y: f64,
    #[prost(uint32, tag = "6")]
    hp: u32,
    #[prost(string, repeated, tag = "7")]
    flags: Vec<String>,
    #[prost(string, tag = "8")]
    text: String,
    // It is the last one, so that an array may end without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[prost(message, repeated, tag = "9")]
    items: Vec<Item>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
struct Item {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    slot: u32,
    #[prost(uint32, tag = "3")]
    count: u32,
    #[prost(double, tag = "4")]
    weight: f64,
    #[prost(bool, tag = "5")]
    bound: bool,
}

fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    let mut runtime = match args.runtime {
        Runtime::Current => tokio::runtime::Builder::new_current_thread(),
        Runtime::Multi => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> Result<(), BoxError> {
    let builder = match args.codec {
        Codec::Raw => echo(RawSerializer, args.style),
        Codec::Json => echo(JsonSerializer::<Document>::new(), args.style),
        Codec::JsonValue => echo(JsonSerializer::<serde_json::Value>::new(), args.style),
        Codec::Msgpack => echo(MessagePackSerializer::<Document>::new(), args.style),
        Codec::MsgpackCompact => echo(MessagePackSerializer::<Document>::compact(), args.style),
        Codec::Protobuf => echo(ProtobufSerializer::<Document>::new(), args.style),
    };
    let mut builder = builder
        .workers(args.workers)
        .plain_transport(args.plain)
        .offloads(!args.no_offloads);
    if args.rcvbuf > 0 {
        builder = builder.recv_buffer(args.rcvbuf);
    }
    let server = builder.bind(&args.addr).await?;
    println!(
        "{:?} {:?} on {:?}",
        args.codec,
        args.style,
        server.handle().addresses()
    );
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    server
        .serve_until(async { terminated.recv().await })
        .await?;
    let stats = server.handle().stats();
    println!("received {}, sent {}", stats.received, stats.sent);
    Ok(())
}

fn echo<S, Packet>(serializer: S, style: Style) -> ServerBuilder
where
    S: postbox_protocol::Serializer<Sent = Packet, Received = Packet>,
    Packet: Send + 'static,
{
    let protocol = DatagramProtocol::new(serializer);
    match style {
        Style::Oneshot => Server::builder_fn(protocol, answer_once::<Packet>),
        Style::Session => Server::builder_fn(protocol, answer_on::<Packet>),
    }
}

async fn answer_once<Packet>(
    client: Client<Packet>,
    mut requests: Requests<Packet>,
) -> Result<(), BoxError> {
    client.send(requests.recv().await?).await?;
    Ok(())
}

async fn answer_on<Packet>(
    client: Client<Packet>,
    mut requests: Requests<Packet>,
) -> Result<(), BoxError> {
    loop {
        match requests.recv_timeout(Duration::from_secs(30)).await {
            Ok(request) => client.send(request).await?,
            Err(RecvError::TimedOut) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
