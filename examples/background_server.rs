//! A server in the background of a program that is its client too.
//!
//! ```text
//! $ cargo run -p postbox-examples --example background_server
//! Server is up, in a task of its own
//! From server: {"run":1,"request":{"message":"Hello world 1"}}
//! From server: {"run":2,"request":{"message":"Hello world 2"}}
//! From server: {"run":3,"request":{"message":"Hello world 3"}}
//! Server is down, after 3 runs
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol, Flip};
use postbox_server::{Client, Handler, Requests, Server};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Request {
    message: String,
}

/// Answers with the request, and with the number of the run that handled it.
#[derive(Serialize, Deserialize)]
struct Response {
    run: u64,
    request: Request,
}

#[derive(Default)]
struct Counting {
    runs: AtomicU64,
}

impl Handler for Counting {
    type Request = Request;
    type Response = Response;

    async fn handle(
        &self,
        client: Client<Response>,
        mut requests: Requests<Request>,
    ) -> Result<(), BoxError> {
        let run = 1 + self.runs.fetch_add(1, Ordering::Relaxed);
        let request = requests.recv().await?;
        client.send(Response { run, request }).await?;
        Ok(())
    }
}

fn protocol() -> DatagramProtocol<JsonSerializer<Response, Request>> {
    DatagramProtocol::new(JsonSerializer::new())
}

#[tokio::main]
async fn main() -> Result<(), Report> {
    let server = Server::builder(protocol(), Counting::default());
    let server = server.bind("127.0.0.1:0").await?;
    let handle = server.handle();

    // The server goes with its task: dropped here, it would be closed.
    let serving = tokio::spawn(async move { server.serve_forever().await });
    handle.started().await?;
    println!("Server is up, in a task of its own");

    let address = handle.addresses()[0];
    for message in ["Hello world 1", "Hello world 2", "Hello world 3"] {
        say(address, message).await?;
    }

    handle.shutdown().await;
    serving.await??;
    let runs = handle.stats().handlers_returned;
    println!("Server is down, after {runs} runs");
    Ok(())
}

async fn say(server: SocketAddr, message: &str) -> Result<(), BoxError> {
    let client = UdpClient::connect(server, protocol().flip()).await?;
    let message = message.to_owned();
    client.send(Request { message }).await?;
    let response = client.recv_timeout(Duration::from_secs(10)).await?;
    println!("From server: {}", serde_json::to_string(&response)?);
    Ok(())
}
