//! Limits on how long a handler waits: by the receive itself, or around anything that waits.
//!
//! ```text
//! $ cargo run -p postbox-examples --example timeouts
//! limit on the receive:
//!   in time: "Ada, 36 years old"
//!   too late: "timed out"
//! limit around the receive:
//!   in time: "Ada, 36 years old"
//!   too late: "timed out"
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol, Flip};
use postbox_server::{Client, Handler, RecvError, Requests, Server};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// The client sets the limit here, so that the example need not wait for long.
#[derive(Clone, Serialize, Deserialize)]
enum Ask {
    Name {
        name: String,
        limit: Duration,
        way: Way,
    },
    Age(u32),
}

/// The two ways to set it.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Way {
    OnTheReceive,
    AroundIt,
}

struct Registry;

impl Handler for Registry {
    type Request = Ask;
    type Response = String;

    async fn handle(
        &self,
        client: Client<String>,
        mut requests: Requests<Ask>,
    ) -> Result<(), BoxError> {
        // A limit on the first receive is of no use: its datagram is there already.
        let Ask::Name { name, limit, way } = requests.recv().await? else {
            return Ok(());
        };
        client.send("and your age?".to_owned()).await?;

        let next = match way {
            // The cheapest way: the server's own clock, no timer of the runtime.
            Way::OnTheReceive => requests.recv_timeout(limit).await,

            // The way that works around anything. A receive that is dropped loses no datagram.
            Way::AroundIt => match timeout(limit, requests.recv()).await {
                Ok(received) => received,
                Err(_) => Err(RecvError::TimedOut),
            },
        };
        let answer = match next {
            Ok(Ask::Age(age)) => format!("{name}, {age} years old"),
            Ok(Ask::Name { .. }) => "that is a name".to_owned(),
            Err(RecvError::TimedOut) => "timed out".to_owned(),
            Err(error) => return Err(error.into()),
        };
        client.send(answer).await?;
        Ok(())
    }
}

fn protocol() -> DatagramProtocol<JsonSerializer<String, Ask>> {
    DatagramProtocol::new(JsonSerializer::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    let server = Server::builder(protocol(), Registry)
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
    let client = UdpClient::connect(server, protocol().flip()).await?;
    for way in [Way::OnTheReceive, Way::AroundIt] {
        match way {
            Way::OnTheReceive => println!("limit on the receive:"),
            Way::AroundIt => println!("limit around the receive:"),
        }
        let name = "Ada".to_owned();

        let limit = Duration::from_secs(30);
        ask(
            &client,
            Ask::Name {
                name: name.clone(),
                limit,
                way,
            },
        )
        .await?;
        println!("  in time: {:?}", ask(&client, Ask::Age(36)).await?);

        let limit = Duration::from_millis(50);
        ask(&client, Ask::Name { name, limit, way }).await?;
        println!("  too late: {:?}", answer(&client).await?);
    }
    Ok(())
}

async fn ask(client: &UdpClient<Ask, String>, ask: Ask) -> Result<String, BoxError> {
    client.send(ask).await?;
    answer(client).await
}

async fn answer(client: &UdpClient<Ask, String>) -> Result<String, BoxError> {
    Ok(client.recv_timeout(Duration::from_secs(10)).await?)
}
