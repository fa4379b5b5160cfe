//! The servers that are compared, each in a process of its own.

mod framed;
mod mmsg;
mod per_client;
mod tokio_loop;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, UdpSocket};

use clap::{Args, ValueEnum};
use postbox_protocol::BoxError;
use postbox_server::Limits;

use crate::document::Document;
use crate::echo::{self, Codec, Style};
use crate::load::BUFFER;

/// A server to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// Postbox
    Postbox,
    /// recvmmsg and sendmmsg in a blocking loop, nothing else: what one core can do
    Mmsg,
    /// recv_from and send_to of tokio's socket in a loop
    Tokio,
    /// UdpFramed of tokio-util in a loop
    Framed,
    /// A task for each client, written by hand on tokio
    PerClient,
    /// EasyNetwork on asyncio
    EasynetworkAsyncio,
    /// EasyNetwork on uvloop
    EasynetworkUvloop,
}

/// What a peer is told.
#[derive(Debug, Clone, Args)]
pub struct Order {
    /// Which one it is.
    #[arg(long, value_enum)]
    pub peer: Peer,
    /// How it reads and writes: raw, or json of the one document.
    #[arg(long, value_enum)]
    pub codec: Codec,
    /// How long a handler lives, where there are handlers.
    #[arg(long, value_enum)]
    pub style: Style,
    /// Tokio's multi-thread runtime in place of the current-thread one.
    #[arg(long)]
    pub multi: bool,
    /// How many clients may wait.
    #[arg(long, default_value_t = 65_536)]
    pub clients: usize,
    /// The largest datagram of the batched loop. (Larger buffers than needed make it slower.)
    #[arg(long, default_value_t = 2048)]
    pub largest: usize,
    /// Has the batched loop use segmentation offloads. (Postbox does so by itself.)
    #[arg(long)]
    pub offloads: bool,
    /// Has Postbox use none.
    #[arg(long)]
    pub no_offloads: bool,
}

/// Serves until the standard input is closed. Tells its address on the standard output.
///
/// # Errors
///
/// Whatever keeps it from serving.
pub fn serve(order: &Order) -> Result<(), BoxError> {
    // Whoever has started this process and is gone holds the other end no more.
    std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    if order.peer == Peer::Mmsg {
        let socket = socket()?;
        ready(socket.local_addr()?)?;
        return Ok(mmsg::serve(socket, order)?);
    }
    let mut runtime = if order.multi {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.enable_all().build()?;
    let order = order.clone();
    // In a task, so that on the multi-thread runtime it runs on a worker.
    runtime.block_on(async { tokio::spawn(serve_on_tokio(order)).await? })
}

async fn serve_on_tokio(order: Order) -> Result<(), BoxError> {
    if order.peer == Peer::Postbox {
        let limits = Limits::default().clients(order.clients);
        let server = echo::server(order.codec, order.style)
            .limits(limits)
            .offloads(!order.no_offloads);
        let server = server.bind("127.0.0.1:0").await?;
        ready(server.handle().addresses()[0])?;
        return Ok(server.serve_forever().await?);
    }
    let socket = socket()?;
    socket.set_nonblocking(true)?;
    ready(socket.local_addr()?)?;
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    match (order.peer, order.codec) {
        (Peer::Tokio, codec) => tokio_loop::serve(socket, codec).await?,
        (Peer::Framed, Codec::Raw) => framed::serve_raw(socket).await?,
        (Peer::Framed, _) => framed::serve_json(socket).await?,
        (Peer::PerClient, codec) => per_client::serve(socket, codec).await?,
        (peer, _) => return Err(format!("{peer:?} is another program").into()),
    }
    Ok(())
}

/// A socket with as large a buffer as Postbox asks for.
fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(BUFFER)?;
    Ok(socket)
}

fn ready(addr: SocketAddr) -> io::Result<()> {
    println!("{addr}");
    io::stdout().flush()
}

/// Reads a request and writes the answer, as the peers without a framework do.
fn answer(codec: Codec, request: &[u8]) -> Result<Vec<u8>, BoxError> {
    if codec == Codec::Raw {
        return Ok(request.to_vec());
    }
    let document: Document = serde_json::from_slice(request)?;
    Ok(serde_json::to_vec(&document)?)
}
