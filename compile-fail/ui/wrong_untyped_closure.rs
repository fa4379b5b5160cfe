//! `handler_fn` cannot know the types of a closure's parameters.

use postbox::handler_fn;
use postbox_compile_fail::*;

fn main() {
    let greet = handler_fn(|client, mut asks| async move {
        let greeting = asks.recv().await?.name;
        client.send(Reply { greeting }).await?;
        Ok(())
    });
    let _ = Server::builder(protocol(), greet);
}
