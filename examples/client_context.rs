//! Variables with a value for each client, seen without being passed along.
//!
//! ```text
//! $ cargo run -p postbox-examples --example client_context
//! [counter 7, nobody] a client came
//! [counter 7, Ada] said hello
//! [counter 7, nobody] a client came
//! [counter 7, Bob] said hello
//! [counter 7, Ada] wants 3 stamps
//! [counter 7, Bob] wants 1 stamp
//! [counter 7, Bob] a task of the handler: receipt printed
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol, Flip};
use postbox_server::{
    Client, ContextVar, Handler, RecvError, Requests, Server, ServiceScope, inherit_context,
};
use serde::{Deserialize, Serialize};

static COUNTER: ContextVar<u32> = ContextVar::new("counter");
static NAME: ContextVar<String> = ContextVar::new("name");

/// Says for whom it was called, though nobody tells it.
fn log(message: &str) {
    let counter = COUNTER.get().unwrap_or_default();
    let name = NAME.get().unwrap_or_else(|| "nobody".to_owned());
    println!("[counter {counter}, {name}] {message}");
}

#[derive(Serialize, Deserialize)]
enum Ask {
    Hello { name: String },
    Stamp,
    Stamps(u32),
}

struct PostOffice;

impl Handler for PostOffice {
    type Request = Ask;
    type Response = ();

    async fn service_init(&self, _: &mut ServiceScope) -> Result<(), BoxError> {
        // Each new handler begins with a copy of this.
        COUNTER.set(7);
        Ok(())
    }

    async fn handle(
        &self,
        client: Client<()>,
        mut requests: Requests<Ask>,
    ) -> Result<(), BoxError> {
        log("a client came");
        loop {
            match requests.recv_timeout(Duration::from_secs(30)).await {
                Ok(Ask::Hello { name }) => {
                    // From here on, for this client.
                    NAME.set(name);
                    log("said hello");
                }
                Ok(Ask::Stamps(count)) => log(&format!("wants {count} stamps")),
                Ok(Ask::Stamp) => {
                    log("wants 1 stamp");
                    print_receipt().await?;
                }
                // The client fell silent, or the server shuts down.
                Err(RecvError::TimedOut | RecvError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            client.send(()).await?;
        }
    }
}

async fn print_receipt() -> Result<(), BoxError> {
    // A task sees nothing of its maker's variables, unless it is told to.
    let printing = inherit_context(async { log("a task of the handler: receipt printed") });
    Ok(tokio::spawn(printing).await?)
}

fn protocol() -> DatagramProtocol<JsonSerializer<(), Ask>> {
    DatagramProtocol::new(JsonSerializer::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    let server = Server::builder(protocol(), PostOffice)
        .bind("127.0.0.1:0")
        .await?;
    let address = server.handle().addresses()[0];

    // Serves until the clients have talked. A signal has no result: the talk's is kept beside it.
    let mut talked = Ok(());
    server
        .serve_until(async { talked = talk(address).await })
        .await?;
    Ok(talked?)
}

async fn talk(server: SocketAddr) -> Result<(), BoxError> {
    let ada = UdpClient::connect(server, protocol().flip()).await?;
    let bob = UdpClient::connect(server, protocol().flip()).await?;
    for (client, name) in [(&ada, "Ada"), (&bob, "Bob")] {
        let name = name.to_owned();
        ask(client, Ask::Hello { name }).await?;
    }
    ask(&ada, Ask::Stamps(3)).await?;
    ask(&bob, Ask::Stamp).await
}

async fn ask(client: &UdpClient<Ask, ()>, ask: Ask) -> Result<(), BoxError> {
    client.send(ask).await?;
    Ok(client.recv_timeout(Duration::from_secs(10)).await?)
}
