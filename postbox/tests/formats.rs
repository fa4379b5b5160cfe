//! A program that names `postbox`, beside tokio, and serde or prost: its server and its client, in
//! every format.

use postbox::{
    BoxError, Client, DatagramProtocol, Flip, JsonSerializer, MessagePackSerializer,
    ProtobufSerializer, Protocol, Requests, Server, UdpClient,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct Ask {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct Reply {
    #[prost(string, tag = "1")]
    greeting: String,
}

async fn greet(client: Client<Reply>, mut asks: Requests<Ask>) -> Result<(), BoxError> {
    let greeting = format!("Hello, {}!", asks.recv().await?.name);
    client.send(Reply { greeting }).await?;
    Ok(())
}

async fn ann_is_greeted<P>(protocol: P) -> Result<(), BoxError>
where
    P: Protocol<Sent = Reply, Received = Ask> + Flip + Clone,
    P::Flipped: Protocol<Sent = Ask, Received = Reply>,
{
    let other_side = protocol.clone().flip();
    let server = Server::builder_fn(protocol, greet)
        .bind("127.0.0.1:0")
        .await?;
    let handle = server.handle();
    let address = handle.addresses()[0];
    let serving = tokio::spawn(async move { server.serve_forever().await });

    let client = UdpClient::connect(address, other_side).await?;
    let name = "Ann".to_owned();
    client.send(Ask { name }).await?;
    assert_eq!(client.recv().await?.greeting, "Hello, Ann!");

    handle.shutdown().await;
    serving.await??;
    Ok(())
}

#[tokio::test]
async fn json() -> Result<(), BoxError> {
    ann_is_greeted(DatagramProtocol::new(JsonSerializer::<Reply, Ask>::new())).await
}

#[tokio::test]
async fn msgpack() -> Result<(), BoxError> {
    ann_is_greeted(DatagramProtocol::new(
        MessagePackSerializer::<Reply, Ask>::new(),
    ))
    .await
}

#[tokio::test]
async fn protobuf() -> Result<(), BoxError> {
    ann_is_greeted(DatagramProtocol::new(
        ProtobufSerializer::<Reply, Ask>::new(),
    ))
    .await
}
