//! What is set up before the first datagram, and what runs when serving stops.
//!
//! ```text
//! $ cargo run -p postbox-examples --example service_initialization
//! service started
//! the client hears "ticked at least 3 times"
//! the client hears "your cake is in the oven"
//! the client hears "your cake is ready"
//! background tasks stopped
//! service stopped
//! ```

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postbox_client::UdpClient;
use postbox_codec_json::JsonSerializer;
use postbox_examples::Report;
use postbox_protocol::{BoxError, DatagramProtocol};
use postbox_server::{Client, Handler, Requests, Server, ServiceScope, Spawner};
use tokio::sync::watch;
use tokio::time::{interval, sleep};

struct Bakery {
    ticks: watch::Sender<u32>,
    /// Of the present serving.
    spawner: Mutex<Option<Spawner>>,
}

impl Handler for Bakery {
    type Request = String;
    type Response = String;

    /// Runs once per serving. Whatever is started here ends with it.
    async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
        // Exit actions run in reverse order, after the last handler has ended.
        service.on_exit(|| println!("service stopped"));
        service.on_exit_async(|| async { println!("background tasks stopped") });

        // Background tasks are stopped at this place in that order. If one fails, serving ends with
        // its error.
        let ticks = self.ticks.clone();
        service.spawn(async move {
            let mut clock = interval(Duration::from_millis(10));
            loop {
                clock.tick().await;
                ticks.send_modify(|ticks| *ticks += 1);
            }
        });

        // For the handlers, to start tasks of their own.
        let spawner = service.spawner();
        *self.spawner.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawner);

        println!("service started");
        Ok(())
    }

    async fn handle(
        &self,
        client: Client<String>,
        mut requests: Requests<String>,
    ) -> Result<(), BoxError> {
        let answer = match &*requests.recv().await? {
            "tick" => {
                let mut ticks = self.ticks.subscribe();
                ticks.wait_for(|ticks| *ticks >= 3).await?;
                "ticked at least 3 times"
            }
            "cake" => {
                // The handler ends, and its task answers later.
                let to = client.clone();
                self.spawn(async move {
                    sleep(Duration::from_millis(20)).await;
                    to.send("your cake is ready".to_owned()).await
                });
                "your cake is in the oven"
            }
            _ => "we have no such thing",
        };
        client.send(answer.to_owned()).await?;
        Ok(())
    }
}

impl Bakery {
    fn new() -> Self {
        Self {
            ticks: watch::Sender::new(0),
            spawner: Mutex::new(None),
        }
    }

    fn spawn<E: Into<BoxError> + 'static>(
        &self,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let spawner = self.spawner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spawner) = &*spawner {
            // A cake that cannot be delivered is logged, and is no reason to stop serving.
            spawner.keep_serving().spawn(task);
        }
    }
}

fn protocol() -> DatagramProtocol<JsonSerializer<String>> {
    DatagramProtocol::new(JsonSerializer::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Report> {
    let server = Server::builder(protocol(), Bakery::new())
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
    let client = UdpClient::connect(server, protocol()).await?;
    for (request, answers) in [("tick", 1), ("cake", 2)] {
        client.send(request.to_owned()).await?;
        for _ in 0..answers {
            let answer = client.recv_timeout(Duration::from_secs(10)).await?;
            println!("the client hears {answer:?}");
        }
    }
    Ok(())
}
