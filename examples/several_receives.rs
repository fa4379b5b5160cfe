//! A conversation: one handler receives several times, and keeps what it learnt in between.
//!
//! ```text
//! $ cargo run -p postbox-examples --example several_receives
//! a letter: accepted, letter 1
//! a parcel: where to?
//!   (meanwhile another client) a letter: accepted, letter 2
//!   to Lyon: accepted, parcel to Lyon
//! a letter: accepted, letter 3
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol, Flip};
use postbox_server::{Client, Handler, RecvError, Requests, Server};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Ask {
    Letter,
    Parcel,
    To(String),
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Accepted(String),
    WhereTo,
    NotNow,
}

/// How long a client may take over its second datagram. It may never come: a handler that receives
/// more than once should always set a limit.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct PostOffice {
    letters: AtomicU32,
}

impl Handler for PostOffice {
    type Request = Ask;
    type Response = Answer;

    async fn handle(
        &self,
        client: Client<Answer>,
        mut requests: Requests<Ask>,
    ) -> Result<(), BoxError> {
        let answer = match requests.recv().await? {
            Ask::Letter => {
                let number = 1 + self.letters.fetch_add(1, Ordering::Relaxed);
                Answer::Accepted(format!("letter {number}"))
            }
            Ask::Parcel => {
                client.send(Answer::WhereTo).await?;
                // This client's next datagram comes here. Other clients have handlers of their own.
                match requests.recv_timeout(PATIENCE).await {
                    Ok(Ask::To(town)) => Answer::Accepted(format!("parcel to {town}")),
                    // UDP keeps no order: something else may come first.
                    Ok(Ask::Letter | Ask::Parcel) => Answer::NotNow,
                    // The client fell silent, which is no error.
                    Err(RecvError::TimedOut) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            Ask::To(_) => Answer::NotNow,
        };
        client.send(answer).await?;
        Ok(())
    }
}

fn protocol() -> DatagramProtocol<JsonSerializer<Answer, Ask>> {
    DatagramProtocol::new(JsonSerializer::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    let server = Server::builder(protocol(), PostOffice::default());
    let server = server.bind("127.0.0.1:0").await?;
    let address = server.handle().addresses()[0];

    // Serves until the clients have talked. A signal has no result: the talk's is kept beside it.
    let mut talked = Ok(());
    server
        .serve_until(async { talked = talk(address).await })
        .await?;
    Ok(talked?)
}

async fn talk(server: SocketAddr) -> Result<(), BoxError> {
    let one = UdpClient::connect(server, protocol().flip()).await?;
    let another = UdpClient::connect(server, protocol().flip()).await?;

    println!("a letter: {}", ask(&one, Ask::Letter).await?);
    println!("a parcel: {}", ask(&one, Ask::Parcel).await?);
    let answer = ask(&another, Ask::Letter).await?;
    println!("  (meanwhile another client) a letter: {answer}");
    println!(
        "  to Lyon: {}",
        ask(&one, Ask::To("Lyon".to_owned())).await?
    );
    println!("a letter: {}", ask(&one, Ask::Letter).await?);
    Ok(())
}

async fn ask(client: &UdpClient<Ask, Answer>, ask: Ask) -> Result<String, BoxError> {
    client.send(ask).await?;
    Ok(match client.recv_timeout(Duration::from_secs(10)).await? {
        Answer::Accepted(what) => format!("accepted, {what}"),
        Answer::WhereTo => "where to?".to_owned(),
        Answer::NotNow => "not now".to_owned(),
    })
}
