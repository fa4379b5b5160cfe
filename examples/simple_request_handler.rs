//! One handler for the whole service: it answers each request.
//!
//! ```text
//! $ cargo run -p postbox-examples --example simple_request_handler
//! [1, 2, 3] make 6
//! [20, 22] make 42
//! [] make 0
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol, Flip};
use postbox_server::{Client, Handler, Requests, Server};
use serde::{Deserialize, Serialize};

/// What clients ask.
#[derive(Serialize, Deserialize)]
struct Numbers {
    numbers: Vec<u32>,
}

/// What they are answered.
#[derive(Serialize, Deserialize)]
struct Sum {
    sum: u64,
}

/// There is one `Adder`, however many clients there are. It knows nothing of JSON.
struct Adder;

impl Handler for Adder {
    type Request = Numbers;
    type Response = Sum;

    async fn handle(
        &self,
        client: Client<Sum>,
        mut requests: Requests<Numbers>,
    ) -> Result<(), BoxError> {
        // `requests` is all that this one client sends. The first datagram is there already.
        let request = requests.recv().await?;

        let sum = request.numbers.into_iter().map(u64::from).sum();

        // Goes to the address that the request came from.
        client.send(Sum { sum }).await?;
        Ok(())
    }
}

/// The server's side: it sends a `Sum` and receives `Numbers`.
fn protocol() -> DatagramProtocol<JsonSerializer<Sum, Numbers>> {
    DatagramProtocol::new(JsonSerializer::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    let server = Server::builder(protocol(), Adder)
        .bind("127.0.0.1:0")
        .await?;
    let address = server.handle().addresses()[0];

    // Serves until the client has talked. A signal has no result: the talk's is kept beside it.
    let mut talked = Ok(());
    server
        .serve_until(async { talked = talk(address).await })
        .await?;
    Ok(talked?)
}

async fn talk(server: SocketAddr) -> Result<(), BoxError> {
    // The client's side of the same protocol.
    let client = UdpClient::connect(server, protocol().flip()).await?;
    for numbers in [vec![1, 2, 3], vec![20, 22], vec![]] {
        let question = format!("{numbers:?}");
        client.send(Numbers { numbers }).await?;
        let answer = client.recv_timeout(Duration::from_secs(10)).await?;
        println!("{question} make {}", answer.sum);
    }
    Ok(())
}
