//! An echo server for load generators: any codec, any number of workers, either runtime.
//!
//! ```text
//! cargo run --release -p postbox-bench --bin bench-server -- --addr 127.0.0.1:9000 --codec json
//! ```
//!
//! Prints one line when it is up, and ends on SIGTERM or Ctrl-C.

use clap::{Parser, ValueEnum};
use postbox_bench::echo::{self, Codec, Style};
use postbox_server::BoxError;

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
enum Runtime {
    Current,
    Multi,
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
    let mut builder = echo::server(args.codec, args.style)
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
