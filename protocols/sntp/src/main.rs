//! An SNTP server: RFC 4330, and the server's side of RFC 5905.
//!
//! ```text
//! sntp ADDRESS...
//! ```

use std::time::{Duration, SystemTime};
use std::{env, io};

use postbox::{BoxError, DatagramProtocol, Server, ServerBuilder, stop_signal};

mod wire;

#[cfg(test)]
mod tests;

use wire::{Answer, Ntp};

fn sntp() -> ServerBuilder {
    let builder = Server::builder_question_fn(DatagramProtocol::new(Ntp), async |asked| {
        let transmitted = SystemTime::now(); // it is encoded at once, and leaves with the batch
        let received = asked.arrival().kernel_time();
        Answer {
            received: received.unwrap_or(transmitted), // where the system cannot tell it
            transmitted,
            question: asked.into_packet(),
        }
    });
    builder.recv_kernel_time(true)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let addresses: Vec<_> = env::args().skip(1).collect();
    let server = sntp().bind(addresses).await?;
    let handle = server.handle();

    let addresses: Vec<_> = handle.addresses().iter().map(ToString::to_string).collect();
    println!("serving on {}", addresses.join(" "));
    server
        .serve_until_drained(stop_signal(), Duration::from_secs(5))
        .await?;

    println!("{}", handle.stats());
    Ok(())
}
