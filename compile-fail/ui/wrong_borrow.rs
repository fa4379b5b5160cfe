//! The handler borrows from the function that makes the server.

use postbox::Handler;
use postbox_compile_fail::*;

struct Greeter<'a> {
    greeting: &'a str,
}

impl Handler for Greeter<'_> {
    type Request = Ask;
    type Response = Reply;

    async fn handle(&self, client: Client<Reply>, mut asks: Requests<Ask>) -> Result<(), BoxError> {
        let greeting = format!("{}, {}!", self.greeting, asks.recv().await?.name);
        client.send(Reply { greeting }).await?;
        Ok(())
    }
}

fn main() {
    let greeting = String::from("Hello");
    let _ = Server::builder(
        protocol(),
        Greeter {
            greeting: &greeting,
        },
    );
}
