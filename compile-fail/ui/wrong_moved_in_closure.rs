//! The first run takes away what the second needs.

use postbox_compile_fail::*;

fn main() {
    let greeting = String::from("Hello");
    let _ = Server::builder_fn(protocol(), move |client, mut asks| async move {
        asks.recv().await?;
        client.send(Reply { greeting }).await?;
        Ok(())
    });
}
