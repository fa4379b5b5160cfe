//! A syslog server: RFC 5424 and RFC 3164 over UDP (RFC 5426), into a file.
//!
//! ```text
//! syslog FILE ADDRESS...
//! ```

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::time::Duration;
use std::{env, io};

use postbox::{
    BoxError, Client, DatagramProtocol, Requests, Server, ServerBuilder, handler_fn_with,
    stop_signal,
};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

mod lines;
mod wire;

#[cfg(test)]
mod tests;

use lines::Line;
use wire::{Message, Syslog};

/// So many lines are under way to the file. Those behind them wait where Postbox bounds and counts
/// them: in the queues of their clients.
const LINES: usize = 1024;

fn syslog(lines: mpsc::Sender<Line>) -> ServerBuilder {
    let handler = handler_fn_with(
        lines,
        async |lines: mpsc::Sender<Line>,
               client: Client<Infallible>,
               mut messages: Requests<Message>| {
            let room = lines.reserve().await?; // before it is received: till then Postbox keeps it
            let message = messages.recv().await?;
            let client = client.remote_addr();
            room.send(Line { client, message });
            Ok(())
        },
    );
    Server::builder(DatagramProtocol::new(Syslog), handler)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or("usage: syslog FILE ADDRESS...")?;
    let file = OpenOptions::new().append(true).create(true).open(file)?;
    let (lines, to_write) = mpsc::channel(LINES);
    let write_fails = lines.clone();
    let server = syslog(lines).bind(arguments.collect::<Vec<_>>()).await?;
    let handle = server.handle();
    let writing = spawn_blocking(move || lines::write(to_write, file));

    let addresses: Vec<_> = handle.addresses().iter().map(ToString::to_string).collect();
    println!("serving on {}", addresses.join(" "));
    let stop = async move {
        tokio::select! {
            _ = stop_signal() => {}
            () = write_fails.closed() => {}
        }
    };
    server
        .serve_until_drained(stop, Duration::from_secs(5))
        .await?;

    let stats = handle.stats();
    drop(server); // and with it the handler: nobody sends lines any more
    let written = writing.await??;
    println!(
        "received {}, malformed {}, dropped {}, discarded {}, kernel_drops {}, written {written}",
        stats.received,
        stats.malformed,
        stats.dropped(),
        stats.discarded,
        stats.kernel_drops.unwrap_or(0),
    );
    Ok(())
}
