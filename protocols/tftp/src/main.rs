//! A TFTP server: RFC 1350, with the options of RFC 2347, 2348, 2349 and 7440.
//!
//!     tftp DIRECTORY ADDRESS [SECONDS]
//!
//! Serves the files of the directory, and takes new ones. At SIGTERM transfers have so many seconds
//! to end.

mod files;
#[cfg(test)]
mod tests;
mod transfer;
mod wire;

use std::time::Duration;

use postbox::{
    BoxError, Client, ClientFault, DatagramProtocol, Handler, Requests, Server, ServerBuilder,
    stop_signal,
};

use crate::files::Directory;
use crate::transfer::{Stop, Transfer};
use crate::wire::{Code, Packet, Tftp};

struct Transfers {
    directory: Directory,
}

impl Handler for Transfers {
    type Request = Packet;
    type Response = Packet;

    async fn handle(
        &self,
        client: Client<Packet>,
        mut packets: Requests<Packet>,
    ) -> Result<(), BoxError> {
        let Packet::Request(mut request) = packets.recv().await? else {
            return Ok(()); // of a transfer that is over
        };
        loop {
            let mut transfer = Transfer::new(&client, &mut packets, request);
            match transfer.run(&self.directory).await {
                Ok(()) => return Ok(()),
                Err(Stop::Next(next)) => request = next,
                Err(Stop::Refuse(code, message)) => {
                    client.send(Packet::Error(code, message.clone())).await?;
                    return Err(ClientFault::new(message).into());
                }
                Err(Stop::Over(message)) => return Err(ClientFault::new(message).into()),
                Err(Stop::Ended(error)) => {
                    let message = "the server has no time left".to_owned();
                    client.send(Packet::Error(Code::OTHER, message)).await?;
                    return Err(error.into());
                }
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }
}

fn server(directory: Directory) -> ServerBuilder {
    Server::builder(DatagramProtocol::new(Tftp), Transfers { directory })
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    log.init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, address, seconds) = match &arguments[..] {
        [directory, address] => (directory, address, 30),
        [directory, address, seconds] => (directory, address, seconds.parse()?),
        _ => return Err("usage: tftp DIRECTORY ADDRESS [SECONDS]".into()),
    };
    let server = server(Directory::open(directory)?)
        .bind(address.as_str())
        .await?;
    let handle = server.handle();
    println!("serving on {}", handle.addresses()[0]);
    server
        .serve_until_drained(stop_signal(), Duration::from_secs(seconds))
        .await?;

    let stats = handle.stats();
    println!(
        "received {}, sent {}, dropped {}, newcomers {}, transfers {}, failed {}",
        stats.received,
        stats.sent,
        stats.dropped(),
        stats.dropped_shutdown,
        stats.handlers_returned,
        stats.handlers_failed,
    );
    Ok(())
}
