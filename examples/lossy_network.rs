//! Testing a handler where datagrams are lost: it sends each part of a download until the client
//! acknowledges it. The network is simulated and the clock is paused, so this takes no time; it is
//! what a test of yours would do under `#[tokio::test(start_paused = true)]`.
//!
//! ```text
//! $ cargo run -p postbox-examples --example lossy_network
//! 100 downloads where 20 % of all datagrams are lost: all complete
//! the same seed again: the same are lost, and it takes the same time
//! ```

use std::time::Duration;

use bytes::Bytes;
use postbox_client::{UdpClient, UdpRecvError};
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol, RawSerializer};
use postbox_server::{
    Client, Conditions, MemoryNetwork, NetworkStats, RecvError, Requests, Server,
};
use tokio::time::Instant;

const PARTS: u8 = 10;

/// More than a datagram and its acknowledgement take together.
const SEND_AGAIN: Duration = Duration::from_millis(150);

/// The probability that ten times in a row one of the two is lost is 0.36^10, one in 27,000.
const TRIES: usize = 10;

/// The handler that is tested.
async fn send_parts(client: Client<Bytes>, mut requests: Requests<Bytes>) -> Result<(), BoxError> {
    if requests.recv().await? != "get" {
        return Ok(()); // an acknowledgement that came when all was over
    }
    for part in 1..=PARTS {
        send_part(part, &client, &mut requests).await?;
    }
    Ok(())
}

/// Sends a part until it is acknowledged.
async fn send_part(
    part: u8,
    client: &Client<Bytes>,
    requests: &mut Requests<Bytes>,
) -> Result<(), BoxError> {
    for _ in 0..TRIES {
        client.send(Bytes::from(vec![part])).await?;
        let again = Instant::now() + SEND_AGAIN;
        loop {
            let left = again.saturating_duration_since(Instant::now());
            match requests.recv_timeout(left).await {
                Ok(acknowledged) if acknowledged[..] == [part] => return Ok(()),
                Ok(_) => {} // an earlier part, once more: that must not put off the next try
                Err(RecvError::TimedOut) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(format!("part {part} is never acknowledged").into())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Report> {
    for seed in 1..=100 {
        if let Err(error) = test(seed).await {
            return Err(format!("seed {seed}: {error}").into());
        }
    }
    println!("100 downloads where 20 % of all datagrams are lost: all complete");

    assert_eq!(test(7).await?, test(7).await?);
    println!("the same seed again: the same are lost, and it takes the same time");
    Ok(())
}

/// One download on a network of its own.
async fn test(seed: u64) -> Result<(NetworkStats, Duration), BoxError> {
    let network = MemoryNetwork::seeded(seed);
    let conditions = Conditions::default()
        .loss(0.2)
        .delay(Duration::from_millis(10))
        .jitter(Duration::from_millis(40));
    network.set_conditions(conditions);

    let protocol = DatagramProtocol::new(RawSerializer);
    let address = "127.0.0.1:9000".parse()?;
    let server = Server::builder_fn(protocol, send_parts).bind_memory(&network, address)?;
    let client = UdpClient::connect_memory(&network, address, protocol)?;

    let begin = Instant::now();
    let mut parts = Ok(Vec::new());
    server
        .serve_until(async { parts = download(&client).await })
        .await?;
    if parts? != Vec::from_iter(1..=PARTS) {
        return Err("some parts are missing".into());
    }
    if server.handle().stats().handlers_failed > 0 {
        return Err("the server does not know that all have arrived".into());
    }
    Ok((network.stats(), begin.elapsed()))
}

/// The client acknowledges all that comes, since its acknowledgements may be lost too. After two
/// seconds of silence the server does not try any more.
async fn download(client: &UdpClient<Bytes>) -> Result<Vec<u8>, BoxError> {
    const GET: Bytes = Bytes::from_static(b"get");
    let mut parts = Vec::new();
    client.send(GET).await?;
    loop {
        match client.recv_timeout(Duration::from_secs(2)).await {
            Ok(part) => {
                client.send(part.clone()).await?;
                if part.first() > parts.last() {
                    parts.extend(part);
                }
            }
            Err(UdpRecvError::TimedOut) if parts.is_empty() => client.send(GET).await?,
            Err(UdpRecvError::TimedOut) => return Ok(parts),
            Err(error) => return Err(error.into()),
        }
    }
}
