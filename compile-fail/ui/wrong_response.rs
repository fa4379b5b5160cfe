//! The handler's `Response` is not what the protocol sends.

use postbox::Handler;
use postbox_compile_fail::*;

struct Greeter;

impl Handler for Greeter {
    type Request = Ask;
    type Response = String;

    async fn handle(
        &self,
        client: Client<String>,
        mut asks: Requests<Ask>,
    ) -> Result<(), BoxError> {
        client.send(asks.recv().await?.name).await?;
        Ok(())
    }
}

fn main() {
    let _ = Server::builder(protocol(), Greeter);
}
