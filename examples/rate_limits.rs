//! 200 datagrams a second from each /24, in single answers and in conversations; and a network that
//! is denied while the server runs.
//!
//! ```text
//! $ cargo run -p postbox-examples --example rate_limits
//! one answer each:
//!   a flood of 2000: the first 200 are answered, more than 1000 are refused
//!   a neighbour, in another /24, is answered
//! a conversation:
//!   a flood of 2000: the first 200 are answered, more than 1000 are refused
//!   a neighbour, in another /24, is answered
//! once the flood's network is denied:
//!   it is refused by its network, not by its rate
//!   a neighbour, in another /24, is answered
//! ```

use std::sync::Arc;

use postbox_client::UdpClient;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol, RawSerializer};
use postbox_server::{
    Admission, MemoryNetwork, Networks, RatePerPrefix, Server, ServerBuilder, ServerHandle,
};

/// Answers one datagram, and is done.
fn one_answer() -> ServerBuilder {
    let protocol = DatagramProtocol::new(RawSerializer);
    Server::builder_fn(protocol, |client, mut requests| async move {
        client.send(requests.recv().await?).await?;
        Ok(())
    })
}

/// Answers one datagram after the other. The admission check is asked about each of them, too.
fn conversation() -> ServerBuilder {
    let protocol = DatagramProtocol::new(RawSerializer);
    Server::builder_fn(protocol, |client, mut requests| async move {
        loop {
            client.send(requests.recv().await?).await?;
        }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    println!("one answer each:");
    serve(one_answer(), false).await?;
    println!("a conversation:");
    serve(conversation(), false).await?;
    println!("once the flood's network is denied:");
    Ok(serve(one_answer(), true).await?)
}

async fn serve(builder: ServerBuilder, denies: bool) -> Result<(), BoxError> {
    // 200 a second; and 200 at once, from a prefix that was quiet for a second. It is shared with
    // the check that comes later, so that its buckets go on.
    let rate = Arc::new(RatePerPrefix::new(200, 200).ipv4_prefix(24));
    let builder = builder.admission(Arc::clone(&rate));

    // In memory, where a client has the address that it likes.
    let network = MemoryNetwork::new();
    let server = builder.bind_memory(&network, "192.0.2.1:9000".parse()?)?;
    let handle = server.handle();
    let mut talked = Ok(());
    let talking = async {
        if denies {
            let denied = Networks::new().deny(["198.51.100.0/24".parse().expect("a network")]);
            handle.set_admission(Some(Arc::new(denied.and(rate))));
        }
        talked = talk(&network, &handle).await;
    };
    server.serve_until(talking).await?;
    talked
}

async fn talk(network: &MemoryNetwork, handle: &ServerHandle) -> Result<(), BoxError> {
    let server = handle.addresses()[0];
    let flood = network.socket("198.51.100.7:7".parse()?)?;
    for number in 0..2000_u16 {
        flood.send_to(&number.to_be_bytes(), server)?;
    }
    let neighbour = network.socket("203.0.113.7:7".parse()?)?;
    neighbour.connect(server);
    let protocol = DatagramProtocol::new(RawSerializer);
    let neighbour = UdpClient::from_memory_socket(neighbour, protocol)?;
    neighbour.send("hello".into()).await?;
    let answered = neighbour.recv().await? == "hello";

    // The flood came first: by now its answers are here.
    let answers = std::iter::from_fn(|| flood.try_recv_from().ok());
    let in_order = (0..2000_u16).zip(answers);
    let first = in_order.take_while(|(number, (answer, _))| *answer == number.to_be_bytes());
    match (&handle.refusals()[..], first.count()) {
        // A few more than the 200 may be answered: tokens come back while they are sent.
        ([("rate", 1001..)], 200..) => {
            println!("  a flood of 2000: the first 200 are answered, more than 1000 are refused");
        }
        ([("networks", 2000)], 0) => println!("  it is refused by its network, not by its rate"),
        (refused, first) => println!("  the first {first} are answered, refused: {refused:?}"),
    }
    if answered {
        println!("  a neighbour, in another /24, is answered");
    }
    Ok(())
}
