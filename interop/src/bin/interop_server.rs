//! A server built with Postbox, for clients of EasyNetwork to talk to.
//!
//! ```text
//! interop_server FORMAT ADDRESS...        (each HOST:PORT or [HOST]:PORT; port 0 picks one)
//! ```
//!
//! FORMAT is one of `json`, `msgpack`, `msgpack.base64`, `msgpack.zlib`, `protobuf`; or `numbered`,
//! JSON with numbers, where each question is handled at most once.
//! Prints `listening on ADDRESS` for each address in the order given, then `ready`. Ends when its
//! standard input is closed, and on SIGTERM.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use postbox_codec_json::JsonSerializer;
use postbox_interop::{Answer, Ask, Format, GARBAGE, Reply};
use postbox_protocol::{DatagramProtocol, NumberedSerializer};
use postbox_server::{
    BoxError, Client, Handler, RecvError, Requests, Server, ServerBuilder, Session, answer_fn_with,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

#[derive(Debug)]
struct Peer;

impl Handler for Peer {
    type Request = Ask;
    type Response = Answer;

    async fn handle(
        &self,
        client: Client<Answer>,
        mut requests: Requests<Ask>,
    ) -> Result<(), BoxError> {
        match requests.recv().await {
            Ok(Ask::Echo { text }) => client.send(Reply::Echo { text }.into()).await?,
            Ok(Ask::Half { number }) => {
                let number = number / 2.0;
                client.send(Reply::Half { number }.into()).await?;
            }
            Ok(Ask::Garble {}) => {
                client.send_datagram(Bytes::from_static(GARBAGE)).await?;
                client.send(Reply::Garbled {}.into()).await?;
            }
            Ok(Ask::Conversation { timeout_ms }) => {
                client.send(Reply::GoOn {}.into()).await?;
                let last = converse(&client, &mut requests, Duration::from_millis(timeout_ms));
                client.send(last.await?.into()).await?;
            }
            Err(RecvError::Parse(error)) => client.send(Answer::unparsed(&error)).await?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Waits for the echo that ends the conversation and returns what to say to it.
async fn converse(
    client: &Client<Answer>,
    requests: &mut Requests<Ask>,
    timeout: Duration,
) -> Result<Reply, BoxError> {
    loop {
        let refusal = match requests.recv_timeout(timeout).await {
            Ok(Ask::Echo { text }) => return Ok(Reply::Heard { text }),
            Ok(_) => Answer::bad_request("a conversation goes on with an echo"),
            Err(RecvError::TimedOut) => return Ok(Reply::TimedOut {}),
            Err(RecvError::Parse(error)) => Answer::unparsed(&error),
            Err(error) => return Err(error.into()),
        };
        client.send(refusal).await?;
    }
}

/// A server that says in which run of its handler an echo is answered, and answers a conversation
/// when its time is over.
fn numbered() -> ServerBuilder {
    let runs = Arc::new(AtomicU64::new(1));
    let answering = answer_fn_with(runs, async |runs: Arc<AtomicU64>, ask: Ask| {
        let run = runs.fetch_add(1, Relaxed);
        Answer::from(match ask {
            Ask::Echo { text } => Reply::Echo {
                text: format!("{text} (run {run})"),
            },
            Ask::Half { number } => Reply::Half {
                number: number / 2.0,
            },
            Ask::Conversation { timeout_ms } => {
                sleep(Duration::from_millis(timeout_ms)).await;
                Reply::GoOn {}
            }
            Ask::Garble {} => Reply::Garbled {},
        })
    });
    let protocol = DatagramProtocol::new(NumberedSerializer::new(JsonSerializer::new()));
    Server::builder(protocol, answering.numbered()).at_most_once(Session::numbered())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (at_end_of_input, end_of_input) = oneshot::channel();
    // A thread of its own, since a blocked read of the runtime's would hold the end of the program.
    std::thread::spawn(move || {
        let mut ignored = [0; 1024];
        while std::io::stdin().read(&mut ignored).is_ok_and(|n| n > 0) {}
        let _ = at_end_of_input.send(());
    });

    let mut arguments = std::env::args().skip(1);
    let builder = match arguments.next().ok_or("FORMAT ADDRESS...")?.as_str() {
        "numbered" => numbered(),
        format => Server::builder(format.parse::<Format>()?.server(), Peer),
    };
    let addresses: Vec<String> = arguments.collect();
    let server = builder.bind(addresses).await?;
    let handle = server.handle();
    for address in handle.addresses() {
        println!("listening on {address}");
    }
    tokio::spawn(async move {
        if handle.started().await.is_ok() {
            println!("ready");
        }
    });
    server
        .serve_until(async {
            tokio::select! {
                _ = end_of_input => {}
                () = terminated() => {}
            }
        })
        .await?;
    server.close().await;
    Ok(())
}

/// Waits for SIGTERM.
#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(error) => {
            eprintln!("SIGTERM will not be heard: {error}");
            std::future::pending::<()>().await;
        }
    }
}

/// Waits for ever: there is no SIGTERM here.
#[cfg(not(unix))]
async fn terminated() {
    std::future::pending::<()>().await;
}
