//! An authoritative DNS server of one zone.
//!
//! ```text
//! dns ZONE_FILE ADDRESS...
//! ```

use std::env;
use std::fs::File;
use std::future::ready;
use std::io;
use std::time::Duration;

use postbox::{BoxError, DatagramProtocol, Server, ServerBuilder, stop_signal};

mod wire;
mod zone;

#[cfg(test)]
mod tests;

use wire::DnsSerializer;
use zone::Zone;

fn dns(zone: Zone) -> ServerBuilder {
    let protocol = DatagramProtocol::new(DnsSerializer);
    // Nothing is waited for: a reply is there at once.
    Server::builder_answer_fn(protocol, move |query| ready(zone.reply(query)))
        // No answer is too long for one packet, and fragments are easily forged (RFC 9715).
        .dont_fragment(cfg!(target_os = "linux"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or("usage: dns ZONE_FILE ADDRESS...")?;
    let zone = Zone::load(&mut File::open(file)?)?;
    let server = dns(zone).bind(arguments.collect::<Vec<_>>()).await?;
    let handle = server.handle();

    let addresses: Vec<_> = handle.addresses().iter().map(ToString::to_string).collect();
    println!("serving on {}", addresses.join(" "));
    server
        .serve_until_drained(stop_signal(), Duration::from_secs(5))
        .await?;

    println!("{}", handle.stats());
    Ok(())
}
