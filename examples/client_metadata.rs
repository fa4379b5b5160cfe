//! What a handler knows of its client: who sent, where to, and the socket in between.
//!
//! ```text
//! $ cargo run -p postbox-examples --example client_metadata
//! it saw me at my own address
//! it was asked at the address that I sent to
//! its answers may take 32 hops
//! my next question came from the client before
//! a question of another socket came from another client
//! ```

use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol, Flip};
use postbox_server::{Client, Handler, Requests, Server, ServerHandle, ServiceScope};
use serde::{Deserialize, Serialize};

/// What the server says about whoever asks.
#[derive(Serialize, Deserialize)]
struct Seen {
    from: SocketAddr,
    asked_at: Option<SocketAddr>,
    hops: u32,
    same_as_before: bool,
}

#[derive(Default)]
struct Mirror {
    server: OnceLock<ServerHandle>,
    last: Mutex<Option<Client<Seen>>>,
}

impl Handler for Mirror {
    type Request = ();
    type Response = Seen;

    async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
        self.server.get_or_init(|| service.handle());
        Ok(())
    }

    async fn handle(
        &self,
        client: Client<Seen>,
        mut requests: Requests<()>,
    ) -> Result<(), BoxError> {
        requests.recv().await?;
        let sockets = self.server.get().ok_or("not initialized")?.sockets();
        // A client object can be kept: to send to it later, or to know it again.
        let last = self.remember(&client);
        let seen = Seen {
            from: client.remote_addr(),
            // The server is bound to every address of the machine, and this is the one that the
            // client used. Answers leave from it. (`None` where the system cannot tell.)
            asked_at: client.local_addr(),
            // The options of the sockets can be read and set. Receiving and closing is the
            // server's.
            hops: sockets.first().ok_or("closed")?.ttl()?,
            same_as_before: last.as_ref() == Some(&client),
        };
        client.send(seen).await?;
        Ok(())
    }
}

impl Mirror {
    /// Keeps this client, and returns the one before.
    fn remember(&self, client: &Client<Seen>) -> Option<Client<Seen>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.replace(client.clone())
    }
}

fn protocol() -> DatagramProtocol<JsonSerializer<Seen, ()>> {
    DatagramProtocol::new(JsonSerializer::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    let server = Server::builder(protocol(), Mirror::default()).ttl(32);
    let server = server.bind("0.0.0.0:0").await?;
    let port = server.handle().addresses()[0].port();

    // Serves until the clients have talked. A signal has no result: the talk's is kept beside it.
    let mut talked = Ok(());
    let talking = async { talked = talk(SocketAddr::from(([127, 0, 0, 1], port))).await };
    server.serve_until(talking).await?;
    Ok(talked?)
}

async fn talk(server: SocketAddr) -> Result<(), BoxError> {
    let client = UdpClient::connect(server, protocol().flip()).await?;
    let seen = look(&client).await?;
    if seen.from == client.local_addr() {
        println!("it saw me at my own address");
    }
    if seen.asked_at == Some(server) {
        println!("it was asked at the address that I sent to");
    }
    println!("its answers may take {} hops", seen.hops);
    if look(&client).await?.same_as_before {
        println!("my next question came from the client before");
    }
    let another = UdpClient::connect(server, protocol().flip()).await?;
    if !look(&another).await?.same_as_before {
        println!("a question of another socket came from another client");
    }
    Ok(())
}

async fn look(client: &UdpClient<(), Seen>) -> Result<Seen, BoxError> {
    client.send(()).await?;
    Ok(client.recv_timeout(Duration::from_secs(10)).await?)
}
