//! The life of a server object: bound, serving, shut down, serving again, closed.
//!
//! ```text
//! $ cargo run -p postbox-examples --example server_object
//! bound: listening
//! started: serving
//! the client hears "one"
//! a second serve_forever: already running
//! shut down: listening
//! sent meanwhile: answered by the next serving, "two"
//! stopped by its signal: listening
//! closed: neither, at 0 addresses
//! serving after close: the server is closed
//! ```
//!
//! A program that only serves needs no more than the first lines of `main` and
//! `server.serve_until(tokio::signal::ctrl_c()).await?`.

use std::time::Duration;

use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol};
use postbox_server::{Server, ServerHandle};

fn protocol() -> DatagramProtocol<JsonSerializer<String>> {
    DatagramProtocol::new(JsonSerializer::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    // A closure does for a handler without state. Its types are the protocol's.
    let server = Server::builder_fn(protocol(), |client, mut requests| async move {
        client.send(requests.recv().await?).await?;
        Ok(())
    })
    .bind("127.0.0.1:0")
    .await?;

    // Whoever holds a handle can ask and control, from any task or thread.
    let handle = server.handle();
    println!("bound: {}", state(&handle));

    // `server` is needed again below. Where it is not, move it into the task:
    // `async move { server.serve_forever().await }`. A server that is dropped is closed.
    let serving = tokio::spawn(server.serve_forever());
    handle.started().await?;
    println!("started: {}", state(&handle));

    let client = UdpClient::connect(handle.addresses()[0], protocol()).await?;
    client.send("one".to_owned()).await?;
    println!("the client hears {:?}", hear(&client).await?);

    if let Err(error) = server.serve_forever().await {
        println!("a second serve_forever: {error}");
    }

    // A shutdown keeps the sockets open. What arrives until the next serving, that one handles.
    handle.shutdown().await;
    serving.await??;
    println!("shut down: {}", state(&handle));
    client.send("two".to_owned()).await?;

    // Most programs wait for `tokio::signal::ctrl_c()` here. A signal has no result: what the
    // client heard is kept beside it.
    let mut heard = Ok(String::new());
    server
        .serve_until(async { heard = hear(&client).await })
        .await?;
    println!("sent meanwhile: answered by the next serving, {:?}", heard?);
    println!("stopped by its signal: {}", state(&handle));

    // Dropping the server would do as well.
    server.close().await;
    let addresses = handle.addresses().len();
    println!("closed: {}, at {addresses} addresses", state(&handle));
    if let Err(error) = server.serve_forever().await {
        println!("serving after close: {error}");
    }
    Ok(())
}

fn state(handle: &ServerHandle) -> &'static str {
    match (handle.is_listening(), handle.is_serving()) {
        (_, true) => "serving",
        (true, false) => "listening",
        (false, false) => "neither",
    }
}

async fn hear(client: &UdpClient<String>) -> Result<String, BoxError> {
    Ok(client.recv_timeout(Duration::from_secs(10)).await?)
}
