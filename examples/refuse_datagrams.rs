//! Refusing clients: in the handler, and before it by an admission check.
//!
//! ```text
//! $ cargo run -p postbox-examples --example refuse_datagrams
//! by the handler:
//!   the member hears "welcome"
//!   the stranger hears nothing
//!   1 datagram discarded by its handler, 0 refused by the admission check
//! by the admission check:
//!   the member hears "welcome"
//!   the stranger hears nothing
//!   0 datagrams discarded by its handler, 1 refused by the admission check
//! ```

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol};
use postbox_server::{Client, Handler, Requests, Server};

/// The addresses that are answered.
#[derive(Clone, Default)]
struct Members(Arc<RwLock<HashSet<SocketAddr>>>);

impl Members {
    fn contains(&self, address: &SocketAddr) -> bool {
        self.0.read().is_ok_and(|members| members.contains(address))
    }

    fn add(&self, address: SocketAddr) {
        if let Ok(mut members) = self.0.write() {
            members.insert(address);
        }
    }
}

struct Club {
    /// `None` lets everybody in.
    members: Option<Members>,
}

impl Handler for Club {
    type Request = String;
    type Response = String;

    async fn handle(
        &self,
        client: Client<String>,
        mut requests: Requests<String>,
    ) -> Result<(), BoxError> {
        if let Some(members) = &self.members
            && !members.contains(&client.remote_addr())
        {
            // Returning before the receive discards the datagram that began this run: no answer, no
            // log, and it is not even parsed.
            return Ok(());
        }
        requests.recv().await?;
        client.send("welcome".to_owned()).await?;
        Ok(())
    }
}

fn protocol() -> DatagramProtocol<JsonSerializer<String>> {
    DatagramProtocol::new(JsonSerializer::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    println!("by the handler:");
    let members = Members::default();
    let club = Club {
        members: Some(members.clone()),
    };
    let server = Server::builder(protocol(), club);
    serve_two_clients(server.bind("127.0.0.1:0").await?, &members).await?;

    // Cheaper still, for what an address alone decides: no handler starts, nothing is allocated.
    println!("by the admission check:");
    let members = Members::default();
    let admitted = members.clone();
    let server = Server::builder(protocol(), Club { members: None })
        .admit(move |incoming| admitted.contains(&incoming.remote_addr()));
    Ok(serve_two_clients(server.bind("127.0.0.1:0").await?, &members).await?)
}

async fn serve_two_clients(server: Server, members: &Members) -> Result<(), BoxError> {
    let address = server.handle().addresses()[0];
    // Serves until both have talked. A signal has no result: the talk's is kept beside it.
    let mut talked = Ok(());
    let talking = async { talked = talk(address, members).await };
    server.serve_until(talking).await?;

    let stats = server.handle().stats();
    println!(
        "  {} {} discarded by its handler, {} refused by the admission check",
        stats.discarded,
        if stats.discarded == 1 {
            "datagram"
        } else {
            "datagrams"
        },
        stats.dropped_refused
    );
    talked
}

async fn talk(server: SocketAddr, members: &Members) -> Result<(), BoxError> {
    let stranger = UdpClient::connect(server, protocol()).await?;
    let member = UdpClient::connect(server, protocol()).await?;
    members.add(member.local_addr());

    stranger.send("let me in".to_owned()).await?;
    member.send("hello".to_owned()).await?;
    let answer = member.recv_timeout(Duration::from_secs(10)).await?;
    println!("  the member hears {answer:?}");

    // The stranger's datagram came first, so its answer would be here by now.
    match stranger.try_recv() {
        None => println!("  the stranger hears nothing"),
        Some(answer) => println!("  the stranger hears {:?}", answer?),
    }
    Ok(())
}
