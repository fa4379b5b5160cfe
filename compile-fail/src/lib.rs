//! The service of the programs in `ui`, which each make one mistake with it: somebody asks with an
//! [`Ask`], and is answered with a [`Reply`].

use serde::{Deserialize, Serialize};

pub use postbox::{BoxError, Client, DatagramProtocol, JsonSerializer, Requests, Server};

/// What a client asks.
#[derive(Debug, Deserialize)]
pub struct Ask {
    /// Of whoever is to be greeted.
    pub name: String,
}

/// What it is answered.
#[derive(Debug, Serialize)]
pub struct Reply {
    /// To whoever asked.
    pub greeting: String,
}

/// The server's side: it sends replies and receives asks.
pub fn protocol() -> DatagramProtocol<JsonSerializer<Reply, Ask>> {
    DatagramProtocol::new(JsonSerializer::new())
}

/// Handles a client.
pub async fn greet(client: Client<Reply>, mut asks: Requests<Ask>) -> Result<(), BoxError> {
    let greeting = format!("Hello, {}!", asks.recv().await?.name);
    client.send(Reply { greeting }).await?;
    Ok(())
}
