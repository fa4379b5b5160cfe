//! The handler sends back what it was asked.

use postbox_compile_fail::*;

fn main() {
    let _ = Server::builder_fn(protocol(), |client, mut asks| async move {
        client.send(asks.recv().await?).await?;
        Ok(())
    });
}
