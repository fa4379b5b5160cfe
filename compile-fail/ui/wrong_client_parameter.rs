//! The parameter of `handle` is not the `Response` beside it.

use postbox::Handler;
use postbox_compile_fail::*;

struct Greeter;

impl Handler for Greeter {
    type Request = Ask;
    type Response = Reply;

    async fn handle(&self, client: Client<Ask>, mut asks: Requests<Ask>) -> Result<(), BoxError> {
        client.send(asks.recv().await?).await?;
        Ok(())
    }
}

fn main() {}
