//! Errors as values: what clients send wrong, and what is wrong in the server itself.
//!
//! ```text
//! $ cargo run -p postbox-examples --example error_handling
//! {"total": 12, "people": 4}
//!   each gets 3
//! {"total": 12,
//!   bad request: received a malformed datagram: EOF while parsing a value at line 1 column 13
//! {"total": 1000001, "people": 4}
//!   bad request: received a well-formed datagram that is not a valid packet: too much
//! {"total": 12, "people": 0}
//!   (in the server: the protocol panicked while decoding: attempt to divide by zero)
//!   internal error
//! {"total": 12, "people": 3}
//!   each gets 4
//! ```
//!
//! On standard error it says besides where that panic was, with a backtrace if `RUST_BACKTRACE` is
//! set.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol, RawSerializer, TryFromConverter};
use postbox_server::{Client, Handler, RecvError, Requests, Server};
use serde::{Deserialize, Serialize};

/// A request as it is written.
#[derive(Deserialize)]
struct ShareDto {
    total: u32,
    people: u32,
}

/// A request that makes sense.
struct Share {
    each: u32,
}

impl TryFrom<ShareDto> for Share {
    type Error = &'static str;

    fn try_from(dto: ShareDto) -> Result<Self, &'static str> {
        if dto.total > 1_000_000 {
            return Err("too much");
        }
        // Here is a bug: nobody has thought of zero people.
        let each = dto.total / dto.people;
        Ok(Self { each })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Each(u32),
    BadRequest(String),
    InternalError,
}

struct Divider;

impl Handler for Divider {
    type Request = Share;
    type Response = Answer;

    async fn handle(
        &self,
        client: Client<Answer>,
        mut requests: Requests<Share>,
    ) -> Result<(), BoxError> {
        let answer = match requests.recv().await {
            Ok(share) => Answer::Each(share.each),

            // The client's fault. The error says which step failed: reading the format, or making
            // sense of what it says.
            Err(RecvError::Parse(error)) => Answer::BadRequest(with_causes(&error)),

            // Our fault. Whoever catches it should say so: an error that is neither answered nor
            // returned is lost.
            Err(error @ RecvError::Crashed { .. }) => {
                println!("  (in the server: {error})");
                Answer::InternalError
            }

            // Whatever else a handler returns the server logs, with the client's address and the
            // causes.
            Err(error) => return Err(error.into()),
        };
        client.send(answer).await?;
        Ok(())
    }
}

fn with_causes(error: &dyn Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(cause) => format!("{error}: {}", with_causes(cause)),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    // Answers go out as they are, and a `Share` is made of a `ShareDto`.
    let converter = TryFromConverter::<Answer, Answer, Share, ShareDto>::new();
    let protocol = DatagramProtocol::new(JsonSerializer::new()).with_converter(converter);
    let server = Server::builder(protocol, Divider)
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
    // A client of bytes as they are can send what is no request.
    let client = UdpClient::connect(server, DatagramProtocol::new(RawSerializer)).await?;
    for request in [
        r#"{"total": 12, "people": 4}"#,
        r#"{"total": 12,"#,
        r#"{"total": 1000001, "people": 4}"#,
        r#"{"total": 12, "people": 0}"#,
        r#"{"total": 12, "people": 3}"#,
    ] {
        println!("{request}");
        client.send(Bytes::from(request)).await?;
        let answer = client.recv_timeout(Duration::from_secs(10)).await?;
        match serde_json::from_slice(&answer)? {
            Answer::Each(amount) => println!("  each gets {amount}"),
            Answer::BadRequest(reason) => println!("  bad request: {reason}"),
            Answer::InternalError => println!("  internal error"),
        }
    }
    Ok(())
}
