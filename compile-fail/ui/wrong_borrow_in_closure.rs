//! The run of a closure borrows from the closure.

use postbox_compile_fail::*;

fn main() {
    let greeting = String::from("Hello");
    let _ = Server::builder_fn(protocol(), move |client, mut asks| async {
        asks.recv().await?;
        client
            .send(Reply {
                greeting: greeting.clone(),
            })
            .await?;
        Ok(())
    });
}
