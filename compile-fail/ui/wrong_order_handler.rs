//! The same with a handler that is a type.

use postbox::Handler;
use postbox_compile_fail::*;

struct Greeter;

impl Handler for Greeter {
    type Request = u8;
    type Response = String;

    async fn handle(
        &self,
        client: Client<String>,
        mut requests: Requests<u8>,
    ) -> Result<(), BoxError> {
        client.send(requests.recv().await?.to_string()).await?;
        Ok(())
    }
}

fn main() {
    let protocol = DatagramProtocol::new(JsonSerializer::<u8, String>::new());
    let _ = Server::builder(protocol, Greeter);
}
