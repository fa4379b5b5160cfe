//! The handler keeps what belongs to one thread while it waits.

use std::rc::Rc;

use postbox_compile_fail::*;

async fn count(client: Client<Reply>, mut asks: Requests<Ask>) -> Result<(), BoxError> {
    let asked = Rc::new(asks.recv().await?);
    client
        .send(Reply {
            greeting: asked.name.clone(),
        })
        .await?;
    drop(asked);
    Ok(())
}

fn main() {
    let _ = Server::builder_fn(protocol(), count);
}
