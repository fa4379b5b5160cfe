//! The server that is restarted, in a process of its own.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use postbox_server::{BoxError, Server, stop_signal};

/// How long its stop may take.
const WITHIN: Duration = Duration::from_secs(10);

/// What a server is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// Binds this address, in place of sockets that it is given.
    #[arg(long)]
    pub(super) bind: Option<SocketAddr>,
    /// Others may bind it too.
    #[arg(long)]
    pub(super) reuse_port: bool,
    /// How long each answer takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub(super) look_up: u64,
}

/// Answers each question with itself until it is asked to stop, and tells the supervisor how it
/// goes.
///
/// # Errors
///
/// Whatever keeps it from serving, and datagrams that are not accounted for.
#[tokio::main(flavor = "current_thread")]
pub async fn serve(target: &Target) -> Result<(), BoxError> {
    let protocol = DatagramProtocol::new(RawSerializer);
    let look_up = Duration::from_millis(target.look_up);
    let builder = Server::builder_answer_fn(protocol, move |question: Bytes| async move {
        if !look_up.is_zero() {
            tokio::time::sleep(look_up).await;
        }
        question
    });
    let server = match target.bind {
        Some(addr) => builder.reuse_port(target.reuse_port).bind(addr).await?,
        None => builder.bind_from_env()?,
    };
    server.serve_with_systemd(stop_signal(), WITHIN).await?;
    let stats = server.handle().stats();
    match stats.received == stats.accounted() {
        true => Ok(()),
        false => Err(format!("the counters do not add up: {stats:?}").into()),
    }
}
