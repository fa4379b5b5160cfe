//! The three parts of a handler: before its receive, after it, and its end.
//!
//! ```text
//! $ cargo run -p postbox-examples --example minimum_requirements
//! run 1: a datagram is there
//! run 1: it says "first"
//! run 1: ends
//! the client hears "FIRST"
//! run 2: a datagram is there
//! run 2: it says "second"
//! run 2: ends
//! the client hears "SECOND"
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol};
use postbox_server::{Client, Handler, Requests, Server};

#[derive(Default)]
struct Shouter {
    runs: AtomicU32,
}

impl Handler for Shouter {
    type Request = String;
    type Response = String;

    async fn handle(
        &self,
        client: Client<String>,
        mut requests: Requests<String>,
    ) -> Result<(), BoxError> {
        // Before the receive. A datagram has arrived from a client that has no handler running, and
        // so this run has begun. Nobody has looked into the datagram yet.
        let run = 1 + self.runs.fetch_add(1, Ordering::Relaxed);
        println!("run {run}: a datagram is there");

        // The receive parses it.
        let request = requests.recv().await?;

        // After the receive. Answer once, several times, or not at all.
        println!("run {run}: it says {request:?}");
        client.send(request.to_uppercase()).await?;

        // The end. The client's next datagram begins a new run.
        println!("run {run}: ends");
        Ok(())
    }
}

/// Both sides send strings, so both use the same object.
fn protocol() -> DatagramProtocol<JsonSerializer<String>> {
    DatagramProtocol::new(JsonSerializer::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    let server = Server::builder(protocol(), Shouter::default());
    let server = server.bind("127.0.0.1:0").await?;
    let address = server.handle().addresses()[0];

    // Serves until the client has talked. A signal has no result: the talk's is kept beside it.
    let mut talked = Ok(());
    server
        .serve_until(async { talked = talk(address).await })
        .await?;
    Ok(talked?)
}

async fn talk(server: SocketAddr) -> Result<(), BoxError> {
    let client = UdpClient::connect(server, protocol()).await?;
    for word in ["first", "second"] {
        client.send(word.to_owned()).await?;
        let answer = client.recv_timeout(Duration::from_secs(10)).await?;
        println!("the client hears {answer:?}");
    }
    Ok(())
}
